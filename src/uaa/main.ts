import { join } from 'node:path';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { registerRoutes } from '#bus/route-registrar.ts';
import { listen } from '#http/server.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { UaaConfig } from './config.ts';
import { createUaaServer } from './http.ts';
import { openUaa } from './uaa.ts';
import { UAA_VERSION } from './login/info.ts';

export const MIGRATIONS = join(import.meta.dirname, '../../migrations/uaa');

/**
 * Starts a UAA: database, keys and first accounts, then the HTTP face, then the routes of its two hosts. Any number of them may
 * stand side by side on one database; what one keeps in memory, a client for a second and which secrets fit, is no state.
 */
export async function start(config: UaaConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: `uaa-${config.index}`, log }));
  const uaa = stack.use(await openUaa(config, { log, clock, bus, migrations: MIGRATIONS }));
  const server = stack.adopt(createUaaServer(uaa), async (s) => await s.close());
  const { port } = await listen(server, config.listen);
  const { user, password } = config.status;
  const credentials = { user, password };
  const status = stack.use(
    await StatusServer.start({ host: config.status.host, port: config.status.port, credentials }),
  );
  const announced = { bus, type: 'UAA', index: config.index, version: UAA_VERSION };
  stack.use(announceComponent({ ...announced, host: status.address, credentials }));
  const uris = [...new Set([config.hosts.uaa, config.hosts.login])];
  const route = { host: config.address.ip, port, uris, tags: { component: 'uaa' } };
  stack.use(registerRoutes({ bus, clock, routes: [route] }));
  log.info({ port, uris }, 'uaa started');
  const owned = stack.move();
  return {
    addresses: { http: `http://${config.listen.host}:${port}`, status: `http://${status.address}` },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}
