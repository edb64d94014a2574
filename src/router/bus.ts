import { randomUUID } from 'node:crypto';
import type { Bus } from '#bus/bus.ts';
import { routerGreet, routerRegister, routerStart, routerUnregister, type RouterStart } from '#contracts/router.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { RouterConfig } from './config.ts';
import { type Counters, increment } from './counters.ts';
import type { RouteTable } from './table.ts';
import type { TcpRoutes } from './tcp.ts';

export interface BusEdgeOptions {
  bus: Bus;
  clock: Clock;
  log: Log;
  config: RouterConfig;
  table: RouteTable;
  counters: Counters;
  hosts: readonly string[];
  tcpRoutes: TcpRoutes;
}

/** Keeps the table true to what is said on the bus, and tells registrants when they have to say it again. */
export function followRoutes(options: BusEdgeOptions): Disposable {
  const { bus, clock, config, table, counters, tcpRoutes } = options;
  const hello: RouterStart = {
    id: `${config.index}-${randomUUID()}`,
    hosts: [...options.hosts],
    minimumRegisterIntervalInSeconds: config.minimum_register_interval_s,
    pruneThresholdInSeconds: config.droplet_stale_threshold_s,
  };
  const stack = new DisposableStack();
  stack.use(
    bus.subscribe(routerRegister, (message) => {
      const result = table.register(message);
      if (result !== 'dropped') tcpRoutes.open(message.uris);
      increment(counters.registryMessages, `${result} ${message.tags?.['component'] ?? ''}`);
      if (message.endpoint_updated_at_ns)
        counters.registrationLatency_s.add(Math.max(0, clock.now() / 1000 - message.endpoint_updated_at_ns / 1e9));
    }),
  );
  stack.use(
    bus.subscribe(routerUnregister, (message) => {
      table.unregister(message);
      tcpRoutes.closeUnused();
      increment(counters.unregistryMessages, message.tags?.['component'] ?? '');
    }),
  );
  stack.use(bus.reply(routerGreet, () => hello));
  stack.use(
    bus.onReconnect(() => {
      // Nobody could be heard meanwhile: silence until now says nothing.
      if (config.suspend_pruning_if_nats_unavailable) table.refreshAll();
      bus.publish(routerStart, hello);
    }),
  );
  stack.use(
    clock.every(config.prune_interval_s * 1000, () => {
      if (config.suspend_pruning_if_nats_unavailable && !bus.isConnected) return;
      const pruned = table.prune();
      tcpRoutes.closeUnused();
      counters.routesPruned += pruned;
      if (pruned > 0) options.log.info({ pruned, routes: table.size }, 'stale routes pruned');
    }),
  );
  bus.publish(routerStart, hello);
  return stack;
}
