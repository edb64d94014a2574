import { Counter, Gauge, type Metric, type Registry } from 'prom-client';
import { readdirSync } from 'node:fs';
import type { Core } from './core.ts';
import type { Histogram } from './counters.ts';

const STATUS_GROUPS = ['xxx', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** Shows the router's counters to Prometheus, under gorouter's names. They are read when asked for, not kept twice. */
export function registerMetrics(core: Core, registry: Registry): void {
  const { counters, table } = core;
  const count = (name: string, help: string, read: () => number): void => {
    void new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
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
  count('total_requests', 'requests heard', () => counters.requests);
  count('rejected_requests', 'requests refused before any endpoint', () => counters.rejected);
  count('bad_gateways', 'requests that endpoints failed', () => counters.badGateways);
  count('backend_exhausted_conns', 'requests refused for the connection limit', () => counters.connectionLimit);
  count('backend_invalid_id', 'TLS endpoints with another identity', () => counters.invalidId);
  count('backend_tls_handshake_failed', 'TLS endpoints that could not be met', () => counters.tlsHandshakeFailed);
  count('websocket_upgrades', 'upgraded connections', () => counters.websocketUpgrades);
  count('websocket_failures', 'upgrades that failed', () => counters.websocketFailures);
  count('routes_pruned', 'stale endpoints forgotten', () => counters.routesPruned);
  count('access_log_dropped', 'access log lines lost to a slow disk', () => core.accessLog.dropped);
  gauge('total_routes', 'uris in the table', () => table.size);
  gauge(
    'ms_since_last_registry_update',
    'ms since the table was last told anything',
    () => core.monotonic_ms() - table.lastUpdate_ms,
  );
  gauge('file_descriptors', 'open files of this process', () => readdirSync('/proc/self/fd').length);
  void new Counter({
    name: 'responses',
    help: 'responses by status group',
    labelNames: ['status_group'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [at, status_group] of STATUS_GROUPS.entries()) this.inc({ status_group }, counters.responses[at] ?? 0);
    },
  });
  void new Counter({
    name: 'registry_message',
    help: 'messages about routes',
    labelNames: ['action', 'component'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [key, value] of counters.registryMessages) {
        const [action = '', component = ''] = key.split(' ', 2);
        this.inc({ action, component }, value);
      }
    },
  });
  exposeHistogram(registry, {
    name: 'latency',
    help: 's from request to end of response',
    histogram: counters.latency_s,
  });
  exposeHistogram(registry, {
    name: 'gorouter_time',
    help: 's of it spent in the router',
    histogram: counters.gorouterTime_s,
  });
  exposeHistogram(registry, {
    name: 'route_registration_latency',
    help: 's from update to table',
    histogram: counters.registrationLatency_s,
  });
}

/** prom-client's own histogram keeps objects by label and costs more per value than a request may; ours is shown in its stead. */
function exposeHistogram(registry: Registry, shown: { name: string; help: string; histogram: Histogram }): void {
  const { name, help, histogram } = shown;
  const metric = {
    name,
    help,
    type: 'histogram',
    reset: () => undefined,
    get: async () => {
      let below = 0;
      const buckets = [...histogram.bounds, '+Inf'].map((le, bin) => {
        below += histogram.bins[bin] ?? 0;
        return { metricName: `${name}_bucket`, labels: { le }, value: below };
      });
      const sum = { metricName: `${name}_sum`, labels: {}, value: histogram.sum };
      const count = { metricName: `${name}_count`, labels: {}, value: histogram.count };
      return { name, help, type: 'histogram', values: [...buckets, sum, count], aggregator: 'sum' };
    },
  };
  registry.registerMetric(metric as unknown as Metric);
}
