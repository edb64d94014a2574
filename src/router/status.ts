import { announceComponent } from '#bus/announce.ts';
import type { Bus } from '#bus/bus.ts';
import { StatusServer } from '#http/status-server.ts';
import type { Core } from './core.ts';
import { registerMetrics } from './metrics.ts';
import { routesPage } from './routes-page.ts';
import type { Varz } from './varz.ts';

const VERSION = '0.1.0';

/** `/health` and `/healthz` (open), `/routes`, `/varz`, `/metrics`. */
export async function startStatus(core: Core, varz: Varz): Promise<StatusServer> {
  const { status } = core.config;
  const server = await StatusServer.start({
    host: status.host,
    port: status.port,
    credentials: status,
    isHealthy: () => core.isHealthy,
    varz: () => varz.read(),
    pages: { '/routes': () => routesPage(core.table) },
  });
  registerMetrics(core, server.registry);
  return server;
}

/** Makes the status server known to the collector. */
export function announce(core: Core, bus: Bus, status: StatusServer): Disposable {
  const { index, status: credentials } = core.config;
  return announceComponent({ bus, type: 'Router', index, version: VERSION, host: status.address, credentials });
}
