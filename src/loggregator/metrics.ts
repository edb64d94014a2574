import { Counter, Gauge, type Registry } from 'prom-client';
import type { Drains } from './drains.ts';
import type { Intake } from './intake.ts';
import type { LiveReaders } from './live.ts';
import type { LogStream } from './log-stream.ts';
import type { LogStore } from './store.ts';

/** Puts the component's figures into its `/metrics`, read when asked for. */
export function countFigures(
  registry: Registry,
  {
    store,
    intake,
    live,
    stream,
    drains,
  }: {
    store: LogStore;
    intake: Intake;
    live: LiveReaders;
    stream: LogStream;
    drains: Drains;
  },
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
  gauge('drains', 'syslog drains of apps', () => drains.figures.drains);
  gauge('streams', 'open streams', () => stream.count);
  gauge('sources', 'sources of which something is kept', () => store.figures.sources);
  gauge('store_memory_bytes', 'envelopes in memory', () => store.figures.memory_bytes);
  gauge('store_disk_bytes', 'compressed envelopes on disk', () => store.figures.disk_bytes);
}
