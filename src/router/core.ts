import type { AccessLog } from './access-log.ts';
import type { AppTraffic } from './app-traffic.ts';
import type { Backends } from './backends.ts';
import type { RouterConfig } from './config.ts';
import type { Counters } from './counters.ts';
import type { RouteServices } from './route-service.ts';
import type { Sweeper } from './sweeper.ts';
import type { RouteTable } from './table.ts';
import type { Log } from '#kernel/log.ts';

/** What every request needs of the router around it. */
export interface Core {
  readonly config: RouterConfig;
  readonly table: RouteTable;
  readonly backends: Backends;
  readonly accessLog: AccessLog;
  readonly counters: Counters;
  /** By instance; undefined while apps are told nothing. */
  readonly appTraffic: AppTraffic | undefined;
  readonly sweeper: Sweeper;
  /** Undefined while they are off. */
  readonly routeServices: RouteServices | undefined;
  readonly log: Log;
  /** `ip:port` that the router is reached at, for X-Vcap-Router. */
  hostAddress: string;
  /** False while draining: the health probe fails, and connections close after their response. */
  isHealthy: boolean;
  isDraining: boolean;
  /** Wall clock and monotonic clock, ms. */
  now_ms: () => number;
  monotonic_ms: () => number;
}
