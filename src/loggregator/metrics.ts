import { Counter, Gauge, type Registry } from 'prom-client';
import { mergeExpositions } from '#http/exposition.ts';
import { StatusServer } from '#http/status-server.ts';
import type { AppMetrics } from './app-metrics.ts';
import type { LoggregatorConfig } from './config.ts';
import type { Drains } from './drains.ts';
import type { Intake } from './intake.ts';
import type { LiveReaders } from './live.ts';
import type { LogStream } from './log-stream.ts';
import type { MetricsEndpoints } from './metrics-endpoints.ts';
import type { LogStore } from './store.ts';

export interface CountedParts {
  store: LogStore;
  intake: Intake;
  live: LiveReaders;
  stream: LogStream;
  drains: Drains;
  apps: AppMetrics;
  endpoints: MetricsEndpoints;
}

/** The status server: the component's own figures, and behind them those of apps. */
export async function startStatus(config: LoggregatorConfig['status'], parts: CountedParts): Promise<StatusServer> {
  const { host, port, user, password } = config;
  const status = await StatusServer.start({
    host,
    port,
    credentials: { user, password },
    isHealthy: () => parts.store.isWritable,
    furtherMetrics: () => mergeExpositions([{ labels: {}, exposition: parts.apps.exposition() }]),
  });
  countFigures(status.registry, parts);
  return status;
}

/** Read when asked for. */
function countFigures(
  registry: Registry,
  { store, intake, live, stream, drains, apps, endpoints }: CountedParts,
): void {
  const registers = [registry];
  const counter = (name: string, help: string, read: () => number): void => {
    let last = 0;
    void new Counter({
      name: `loggregator_${name}_total`,
      help,
      registers,
      collect() {
        const now = read();
        this.inc(now - last);
        last = now;
      },
    });
  };
  const gauge = (name: string, help: string, read: () => number): void => {
    void new Gauge({
      name: `loggregator_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  counter('envelopes_received', 'envelopes that came over the bus', () => intake.figures.taken);
  counter(
    'envelopes_malformed',
    'batches and envelopes that were not as they should be',
    () => intake.figures.malformed,
  );
  counter('envelopes_limited', 'envelopes dropped by the rate limit of their source', () => intake.figures.limited);
  counter('envelopes_missing', 'envelopes that got lost on the message bus', () => intake.figures.missing);
  counter('envelopes_lost', 'envelopes dropped since the store could not write', () => store.figures.lost);
  counter('envelopes_unread', 'envelopes dropped since the reader of a stream was too slow', () => live.dropped);
  counter('drained_messages', 'log lines handed over to drains', () => drains.figures.sent);
  counter('drain_dropped_messages', 'log lines that drains did not take', () => drains.figures.dropped);
  counter('app_series_refused', 'figures of apps that found no room', () => apps.figures.refused);
  gauge('app_series', 'figures of apps that are shown', () => apps.figures.series);
  gauge('metrics_endpoints', 'apps whose own metrics are read', () => endpoints.count);
  gauge('drains', 'syslog drains of apps', () => drains.figures.drains);
  gauge('streams', 'open streams', () => stream.count);
  gauge('sources', 'sources of which something is kept', () => store.figures.sources);
  gauge('store_memory_bytes', 'envelopes in memory', () => store.figures.memory_bytes);
  gauge('store_disk_bytes', 'compressed envelopes on disk', () => store.figures.disk_bytes);
}
