import { announceComponent } from '#bus/announce.ts';
import type { Bus } from '#bus/bus.ts';
import { StatusServer } from '#http/status-server.ts';
import { API_VERSION, type CloudControllerConfig } from './config.ts';

/** The face that the collector reads, and its announcement. */
export async function openStatus(
  config: NonNullable<CloudControllerConfig['status']>,
  { bus, index }: { bus: Bus; index: number },
): Promise<AsyncDisposable> {
  const { user, password, ...at } = config;
  await using stack = new AsyncDisposableStack();
  const status = stack.use(await StatusServer.start({ ...at, credentials: { user, password } }));
  const { address: host, credentials } = status;
  stack.use(announceComponent({ bus, host, credentials, type: 'CloudController', index, version: API_VERSION }));
  return stack.move();
}
