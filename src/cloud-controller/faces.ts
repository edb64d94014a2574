import type { Bus } from '#bus/bus.ts';
import { registerRoutes } from '#bus/route-registrar.ts';
import { listen } from '#http/server.ts';
import type { Deps } from './deps.ts';
import { createApiServer } from './http.ts';
import { createInternalServer } from './internal/http.ts';

/** Both HTTP faces, listening: the one for other components, then the API, which the router is told of. */
export async function openFaces(deps: Deps, bus: Bus): Promise<{ port: number } & AsyncDisposable> {
  const { config, clock } = deps;
  await using stack = new AsyncDisposableStack();
  const internal = createInternalServer(deps);
  stack.defer(async () => await internal.close());
  await listen(internal, config.internal);
  const external = createApiServer(deps);
  stack.defer(async () => await external.close());
  const { port } = await listen(external, config.external);
  const uris = [new URL(config.urls.api).hostname];
  stack.use(registerRoutes({ bus, clock, routes: [{ host: config.route_host, port, uris }] }));
  const open = stack.move();
  return { port, [Symbol.asyncDispose]: async () => await open.disposeAsync() };
}
