import { announceComponent } from '#bus/announce.ts';
import type { Bus } from '#bus/bus.ts';
import { StatusServer } from '#http/status-server.ts';
import type { RunningComponent } from '#kernel/component.ts';
import type { DeaConfig } from './config.ts';
import { addFigures } from './figures.ts';

/** What the collector reads, and the announcement that brings it here; nothing at all unless it is configured. */
export async function serveStatus(options: {
  config: DeaConfig;
  bus: Bus;
  figures: Parameters<typeof addFigures>[1];
  isHealthy: () => boolean;
}): Promise<RunningComponent> {
  const { config, bus, figures, isHealthy } = options;
  await using stack = new AsyncDisposableStack();
  const addresses: Record<string, string> = {};
  if (config.status) {
    const status = stack.use(await StatusServer.start({ ...config.status, isHealthy }));
    addFigures(status.registry, figures);
    addresses['status'] = status.address;
    const { index, version } = config;
    const { address: host, credentials } = status;
    stack.use(announceComponent({ bus, type: 'DEA', index, version, host, credentials }));
  }
  const owned = stack.move();
  return { addresses, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}
