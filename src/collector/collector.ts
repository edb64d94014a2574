import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import {
  type Exposition,
  formatLabels,
  type LabelledExposition,
  joinLabels,
  mergeExpositions,
} from '#http/exposition.ts';
import { expositionOf, type Forecast, forecasts } from './forecast.ts';
import type { History, SeriesView } from './history.ts';
import { pollFigures, pollHealth } from './poll.ts';
import type { Component, ComponentView, Registry } from './registry.ts';

export interface CollectorOptions {
  registry: Registry;
  history: History;
  clock: Clock;
  log: Log;
  timeout_ms: number;
  silence_ms: number;
}

/** Components asked at the same time. */
const CONCURRENCY = 16;

/** Asks all components for their health and figures, keeps the figures, and shows them as one. */
export class Collector {
  readonly #options: CollectorOptions;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  async pollHealth(): Promise<void> {
    await this.#each(async (component) => await pollHealth(component, this.#options));
    this.#prune();
  }

  async pollFigures(): Promise<void> {
    const { history, clock } = this.#options;
    await this.#each(async (component) => {
      await pollFigures(component, this.#options);
      this.#record(component);
    });
    history.prune(clock.now());
  }

  components(): ComponentView[] {
    return this.#options.registry.view(this.#options.clock.now());
  }

  /** Prometheus text of all components, with what the collector itself says of each. */
  metrics(): string {
    return mergeExpositions(this.expositions());
  }

  /** The same as data: what is said, and whose it is. */
  expositions(): LabelledExposition[] {
    const components = this.#options.registry.all();
    return [
      { labels: {}, exposition: [...aboutComponents(components), ...expositionOf(this.forecasts())] },
      ...components.flatMap((component) =>
        component.exposition ? [{ labels: labelsOf(component), exposition: component.exposition }] : [],
      ),
    ];
  }

  /** What of the machine fills up if it goes on like this, the first first. */
  forecasts(): Forecast[] {
    return forecasts(this.#options.history, this.#options.clock.now());
  }

  series(name: string, label: string): SeriesView[] {
    return this.#options.history.find(name, label);
  }

  seriesNames(): string[] {
    return this.#options.history.names();
  }

  #record(component: Component): void {
    const { history, clock } = this.#options;
    const at_ms = clock.now();
    // Without its address, so that a component's series goes on after a restart.
    const { component: name, index } = labelsOf(component);
    const own = formatLabels({ component: name, index });
    for (const { type, samples } of component.exposition ?? []) {
      // Buckets are many and of little use one by one; their sums and counts are kept.
      const kept = type === 'histogram' ? samples.filter(({ name }) => !name.endsWith('_bucket')) : samples;
      for (const { name, labels, value } of kept) history.record(name, joinLabels(own, labels), { at_ms, value });
    }
    history.record('component_healthy', own, { at_ms, value: component.isHealthy ? 1 : 0 });
  }

  #prune(): void {
    const { registry, clock, log, silence_ms } = this.#options;
    for (const { announcement } of registry.prune(clock.monotonic(), silence_ms)) {
      const { type, index, host } = announcement;
      log.info({ type, index, host }, 'component forgotten');
    }
  }

  async #each(work: (component: Component) => Promise<void>): Promise<void> {
    const queue = this.#options.registry.all();
    const workers = Array.from({ length: Math.min(CONCURRENCY, queue.length) }, async () => {
      for (let component = queue.shift(); component; component = queue.shift()) await work(component);
    });
    await Promise.all(workers);
  }
}

function labelsOf({ announcement }: Component): { component: string; index: string; instance: string } {
  return { component: announcement.type, index: String(announcement.index), instance: announcement.host };
}

function aboutComponents(components: readonly Component[]): Exposition {
  const labelled = components.map((component) => ({ component, labels: formatLabels(labelsOf(component)) }));
  const varz = labelled.flatMap(({ component, labels }) =>
    Object.entries(component.varz ?? {}).flatMap(([name, value]) =>
      typeof value === 'number'
        ? [{ name: 'component_varz', labels: joinLabels(labels, formatLabels({ name })), value }]
        : [],
    ),
  );
  return [
    {
      name: 'component_healthy',
      help: '1 when the component answers ok',
      type: 'gauge',
      samples: labelled.map(({ component, labels }) => ({
        name: 'component_healthy',
        labels,
        value: component.isHealthy ? 1 : 0,
      })),
    },
    { name: 'component_varz', help: 'numbers of /varz', type: 'gauge', samples: varz },
  ].filter(({ samples }) => samples.length > 0);
}
