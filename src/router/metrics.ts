import { Counter, Gauge, type Metric, type Registry } from 'prom-client';
import { readdirSync } from 'node:fs';
import type { Core } from './core.ts';
import type { Histogram, Responses } from './counters.ts';

const MS_PER_S = 1000;

/** Shows the router's counters to Prometheus, under gorouter's names and in its units. They are read when asked for, not kept twice. */
export function registerMetrics(core: Core, registry: Registry): void {
  const { counters, table } = core;
  const count = (name: string, help: string, read: () => number): void =>
    labelledCounter(registry, { name, help, labels: [], read: () => [[{}, read()]] });
  const gauge = (name: string, help: string, read: () => number): void => {
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  count('rejected_requests', 'requests refused before any endpoint', () => counters.rejected);
  count('bad_gateways', 'requests that endpoints failed', () => counters.badGateways);
  count('backend_exhausted_conns', 'requests refused for the connection limit', () => counters.connectionLimit);
  count('backend_invalid_id', 'TLS endpoints with another identity', () => counters.invalidId);
  count('backend_invalid_tls_cert', 'TLS endpoints with a certificate not trusted', () => counters.invalidTlsCert);
  count('backend_tls_handshake_failed', 'TLS endpoints that could not be met', () => counters.tlsHandshakeFailed);
  count('websocket_upgrades', 'upgraded connections', () => counters.websocketUpgrades);
  count('websocket_failures', 'upgrades that failed', () => counters.websocketFailures);
  count('routes_pruned', 'stale endpoints forgotten', () => counters.routesPruned);
  count('access_log_dropped', 'access log lines lost to a slow or full disk', () => core.accessLog.dropped);
  gauge('total_routes', 'uris in the table', () => table.size);
  gauge(
    'ms_since_last_registry_update',
    'ms since the table was last told anything',
    () => core.monotonic_ms() - table.lastUpdate_ms,
  );
  gauge('file_descriptors', 'open files of this process', () => readdirSync('/proc/self/fd').length);
  labelledCounter(registry, {
    name: 'total_requests',
    help: 'requests heard, by the component they went to; empty for none',
    labels: ['component'],
    read: () => {
      const byComponent = [...counters.components].map(([component, { requests }]) => [component, requests] as const);
      const routed = byComponent.reduce((sum, [, requests]) => sum + requests, 0);
      const none = byComponent.find(([component]) => component === '')?.[1] ?? 0;
      return [
        ...byComponent.filter(([component]) => component !== ''),
        ['', counters.all.requests - routed + none] as const,
      ].map(([component, requests]) => [{ component }, requests]);
    },
  });
  responses(registry, { name: 'responses', help: 'responses by status group', responses: counters.all.responses });
  responses(registry, {
    name: 'responses_route_services',
    help: 'responses of route services by status group',
    responses: counters.routeServiceResponses,
  });
  labelledCounter(registry, {
    name: 'registry_message',
    help: 'registrations by what became of them',
    labels: ['action', 'component'],
    read: () =>
      [...counters.registryMessages].map(([key, value]) => {
        const space = key.indexOf(' ');
        return [{ action: key.slice(0, space), component: key.slice(space + 1) }, value];
      }),
  });
  labelledCounter(registry, {
    name: 'unregistry_message',
    help: 'unregistrations',
    labels: ['component'],
    read: () => [...counters.unregistryMessages].map(([component, value]) => [{ component }, value]),
  });
  histograms(registry, {
    name: 'latency',
    help: 'ms from request to end of response, by the component that answered',
    scale: MS_PER_S,
    read: () => [...counters.components].map(([component, { latency_s }]) => [{ component }, latency_s]),
  });
  const one = (name: string, help: string, histogram: Histogram, scale = 1): void =>
    histograms(registry, { name, help, scale, read: () => [[{}, histogram]] });
  one('gorouter_time', 's of a request spent in the router', counters.gorouterTime_s);
  one('route_registration_latency', 'ms from update to table', counters.registrationLatency_s, MS_PER_S);
  one('route_lookup_time', 'ns of a look-up, measured for one request of sixteen', counters.lookup_ns);
  histograms(registry, {
    name: 'http_latency_seconds',
    help: 's from request to end of response',
    scale: 1,
    read: () => [[{ source_id: 'gorouter' }, counters.all.latency_s]],
  });
}

type Labels = Record<string, string>;

function labelledCounter(
  registry: Registry,
  shown: { name: string; help: string; labels: string[]; read: () => [Labels, number][] },
): void {
  void new Counter({
    name: shown.name,
    help: shown.help,
    labelNames: shown.labels,
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, value] of shown.read()) this.inc(labels, value);
    },
  });
}

function responses(registry: Registry, shown: { name: string; help: string; responses: Responses }): void {
  const read = (): [Labels, number][] =>
    shown.responses.entries().map(([status_group, count]) => [{ status_group }, count]);
  labelledCounter(registry, { name: shown.name, help: shown.help, labels: ['status_group'], read });
}

/** prom-client's own histogram keeps objects by label and costs more per value than a request may; ours is shown in its stead. */
function histograms(
  registry: Registry,
  shown: { name: string; help: string; scale: number; read: () => [Labels, Histogram][] },
): void {
  const { name, help, scale } = shown;
  const valuesOf = ([labels, histogram]: [Labels, Histogram]): object[] => {
    let below = 0;
    const buckets = [...histogram.bounds, undefined].map((bound, bin) => {
      below += histogram.bins[bin] ?? 0;
      const le = bound === undefined ? '+Inf' : bound * scale;
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
    });
    const sum = { metricName: `${name}_sum`, labels, value: histogram.sum * scale };
    const count = { metricName: `${name}_count`, labels, value: histogram.count };
    return [...buckets, sum, count];
  };
  const metric = {
    name,
    help,
    type: 'histogram',
    reset: () => undefined,
    get: async () => ({ name, help, type: 'histogram', values: shown.read().flatMap(valuesOf), aggregator: 'sum' }),
  };
  registry.registerMetric(metric as unknown as Metric);
}
