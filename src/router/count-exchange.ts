import { isTracing } from '#kernel/trace.ts';
import type { Exchange } from './exchange.ts';
import { recordExchange } from './trace.ts';

/** Adds a request that is over to the figures: of all, of its component, of its app and instance. */
export function countExchange(exchange: Exchange): void {
  const { core, endpoint, status, took_ms } = exchange;
  const { counters } = core;
  if (isTracing()) recordExchange(exchange);
  const took_s = took_ms / 1000;
  counters.all.count(status, took_s);
  counters.gorouterTime_s.add(exchange.ownTime_ms / 1000);
  if (exchange.isForService) counters.routeServiceResponses.count(status);
  if (endpoint === undefined) return;
  const component = counters.component(endpoint.component);
  component.requests++;
  component.count(status, took_s);
  if (endpoint.app === '') return;
  counters.perApp.count(endpoint.app);
  core.appTraffic?.count(endpoint, status, took_ms);
}
