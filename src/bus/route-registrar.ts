import { routerRegister, routerStart, routerUnregister, type RouteMessage } from '#contracts/router.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Bus } from './bus.ts';

/** Seconds between repeats, as route_registrar has it; far below the router's 120 s. */
const REGISTER_INTERVAL_MS = 20_000;

/**
 * Keeps the router told of the routes of a component that serves HTTP (the DEA has its own): now, at intervals, when a router
 * starts and when the bus returns. Disposing of it unregisters.
 */
export function registerRoutes(options: { bus: Bus; clock: Clock; routes: readonly RouteMessage[] }): Disposable {
  const { bus, routes } = options;
  const registerAll = (): void => {
    for (const route of routes) bus.publish(routerRegister, route);
  };
  const stack = new DisposableStack();
  stack.defer(() => {
    for (const route of routes) bus.publish(routerUnregister, route);
  });
  stack.use(bus.subscribe(routerStart, registerAll));
  stack.use(bus.onReconnect(registerAll));
  stack.use(options.clock.every(REGISTER_INTERVAL_MS, registerAll));
  registerAll();
  return stack;
}
