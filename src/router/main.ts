/**
 * The entry of all traffic, for apps and for the platform's own API. A table from host and path to endpoints is kept true over
 * NATS; requests are read strictly, sent to an endpoint over a kept connection, and logged. Nothing is stored.
 */
import { Bus } from '#bus/bus.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { Backends } from './backends.ts';
import { followRoutes } from './bus.ts';
import type { RouterConfig } from './config.ts';
import type { Core } from './core.ts';
import { countedLog } from './counted-log.ts';
import { Counters } from './counters.ts';
import { Entrance } from './entrance.ts';
import { openLogs } from './logs.ts';
import { ownAddresses } from './own-addresses.ts';
import { RouteServices } from './route-service.ts';
import { announce, startStatus } from './status.ts';
import { Sweeper } from './sweeper.ts';
import { RouteTable } from './table.ts';
import { TcpRoutes } from './tcp.ts';
import { Varz } from './varz.ts';

export async function start(config: RouterConfig, context: ComponentContext): Promise<RunningComponent> {
  const { clock } = context;
  const logCounts = { info: 0, warn: 0, error: 0 };
  const log = countedLog(context.log, logCounts);
  await using stack = new AsyncDisposableStack();
  const sweeper = stack.use(new Sweeper(clock));
  const backends = Backends.create(config, { sweeper, clock, log });
  const table = new RouteTable({
    now_ms: () => clock.monotonic(),
    droplet_stale_threshold_s: config.droplet_stale_threshold_s,
    empty_pool_timeout_s: config.empty_pool_timeout_s,
    onForgotten: (endpoint) => backends.forget(endpoint),
  });
  stack.defer(() => backends.close(table.endpoints()));
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: `router-${config.index}`, log }));
  const { accessLog, appTraffic } = stack.use(openLogs(config, { bus, clock, log }));
  const counters = new Counters();
  const hosts = ownAddresses(config.host);
  const routeServices = config.route_services && new RouteServices(config.route_services);
  stack.defer(() => backends.close(routeServices?.endpoints() ?? []));
  const core: Core = {
    config,
    table,
    backends,
    accessLog,
    counters,
    appTraffic,
    sweeper,
    routeServices,
    log,
    hostAddress: `${hosts[0] ?? config.host}:${config.port}`,
    isHealthy: true,
    isDraining: false,
    now_ms: () => clock.now(),
    monotonic_ms: () => clock.monotonic(),
  };
  const tcpRoutes = stack.use(new TcpRoutes(core));
  stack.use(followRoutes({ bus, clock, log, config, table, counters, hosts, tcpRoutes }));
  // From here on the server has our subscriptions: nothing said is missed.
  await bus.flush();
  const varz = stack.use(new Varz(core, { clock, logCounts }));
  const status = stack.use(await startStatus(core, varz));
  stack.use(announce(core, bus, status));
  // Registrants answer router.start meanwhile: the first request finds a full table.
  await clock.sleep(config.start_response_delay_s * 1000);
  const entrance = stack.use(await Entrance.open(core, clock, tcpRoutes));
  const addresses = { ...entrance.addresses, status: status.address };
  log.info({ addresses, routes: table.size }, 'router serves');
  const running = stack.move();
  return { addresses, [Symbol.asyncDispose]: async () => await running.disposeAsync() };
}
