import { Counter, type Registry } from 'prom-client';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { Collector } from './collector.ts';
import type { CollectorConfig } from './config.ts';
import { RemoteWrite, samplesOf } from './remote-write.ts';

/** Pushes what the collector shows, at intervals, where the configuration says so. */
export function startPush(
  config: NonNullable<CollectorConfig['remote_write']>,
  { collector, clock, log, registry }: { collector: Collector; clock: Clock; log: Log; registry: Registry },
): Disposable {
  const { interval_s, labels: added, ...options } = config;
  const remote = new RemoteWrite({ ...options, log });
  const registers = [registry];
  for (const name of ['sent', 'dropped'] as const) {
    void new Counter({
      name: `collector_push_${name}_samples_total`,
      help: `figures ${name} by the push to another store`,
      registers,
      collect() {
        this.reset();
        this.inc(remote.figures[name]);
      },
    });
  }
  return clock.every(interval_s * 1000, async () => {
    const at_ms = clock.now();
    const samples = collector
      .expositions()
      .flatMap(({ labels, exposition }) => samplesOf(exposition, { labels: { ...added, ...labels }, at_ms }));
    await remote.push(samples);
  });
}
