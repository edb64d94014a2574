import { type Exposition, type Family, formatLabels } from '#http/exposition.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Entry } from './chunk.ts';
import { APP_METRICS_SOURCE_TYPE } from './metrics-endpoints.ts';

export interface AppMetricsOptions {
  clock: Clock;
  /** Series kept, of all apps and of one. */
  max_series: number;
  max_series_per_app: number;
}

interface App {
  series: Map<string, Series>;
  /** Not all who send figures of an app know what it is called. */
  names: Readonly<Record<string, string>>;
}

interface Series {
  name: string;
  labels: Readonly<Record<string, string>>;
  isCounter: boolean;
  value: number;
  at_ms: number;
}

/** Counters come when there is something new; what goes up and down is measured all the time. */
const COUNTER_SILENCE_MS = 15 * 60_000;
const GAUGE_SILENCE_MS = 2 * 60_000;
const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
/** Of the platform's tags those that say whose the figure is; others change with each instance and would only make series. */
const NAME_TAGS = ['app_name', 'space_name', 'organization_name'];
const OWN_TAGS = [...NAME_TAGS, 'process_id', 'process_type'];
const FIGURE_TAGS = ['status_class', 'le', 'router'];
const PLATFORM_TAGS = new Set([...OWN_TAGS, 'app_id', 'source_type', 'instance_id', 'process_instance_id']);
const UNIT_SUFFIX: Readonly<Record<string, string>> = {
  bytes: '_bytes',
  percentage: '_percent',
  'B/s': '_bytes_per_second',
};

/**
 * The last value of each figure of each app, for Prometheus: what the platform measures as `app_…`, what apps say of themselves as
 * `custom_…`, so that no app can speak for the platform. Bounded: what finds no room is counted and left out.
 */
export class AppMetrics {
  readonly #options: AppMetricsOptions;
  readonly #apps = new Map<string, App>();
  #count = 0;
  #refused = 0;

  constructor(options: AppMetricsOptions) {
    this.#options = options;
  }

  get figures(): { series: number; refused: number } {
    return { series: this.#count, refused: this.#refused };
  }

  take(source_id: string, entries: readonly Entry[]): void {
    if (!GUID.test(source_id)) return;
    for (const entry of entries) {
      if (entry.kind === 'COUNTER') this.#counter(source_id, entry);
      else if (entry.kind === 'GAUGE') this.#gauges(source_id, entry);
    }
  }

  exposition(): Exposition {
    this.#prune();
    const all = [...this.#apps.values()].flatMap(({ series, names }) =>
      [...series.values()].map((one) => ({ ...one, labels: { ...one.labels, ...names } })),
    );
    const histograms = new Set(all.filter(isBucket).map(({ name }) => name.slice(0, -'_bucket'.length)));
    const families = new Map<string, Family>();
    for (const series of all) {
      const base = series.name.replace(/_(bucket|sum|count)$/, '');
      const isHistogram = base !== series.name && histograms.has(base);
      const name = isHistogram ? base : series.name;
      const type = isHistogram ? 'histogram' : series.isCounter ? 'counter' : 'gauge';
      let family = families.get(name);
      if (!family) families.set(name, (family = { name, help: 'of an app', type, samples: [] }));
      family.samples.push({ name: series.name, labels: formatLabels(series.labels), value: series.value });
    }
    return [...families.values()];
  }

  #counter(source_id: string, entry: Entry): void {
    const { name, total, delta } = JSON.parse(entry.payload.toString()) as {
      name: string;
      total?: string;
      delta?: string;
    };
    const isOwn = isOfThePlatform(entry);
    // The platform's names have no suffix in Cloud Foundry's envelopes, and have one in Prometheus; an app's are as it wrote them.
    const shown = isOwn && !/_(total|bucket|count)$/.test(name) ? `${name}_total` : name;
    const value = (before: number): number => (total === undefined ? before + Number(delta ?? 0) : Number(total));
    this.#put(source_id, entry, { name: prefixed(shown, isOwn), isCounter: true, value });
  }

  #gauges(source_id: string, entry: Entry): void {
    const { metrics } = JSON.parse(entry.payload.toString()) as {
      metrics: Record<string, { unit: string; value: number }>;
    };
    const isOwn = isOfThePlatform(entry);
    for (const [name, { unit, value }] of Object.entries(metrics)) {
      const suffix = isOwn ? (UNIT_SUFFIX[unit] ?? '') : '';
      this.#put(source_id, entry, { name: prefixed(name + suffix, isOwn), isCounter: false, value: () => value });
    }
  }

  #put(
    source_id: string,
    { origin }: Entry,
    { name, isCounter, value }: { name: string; isCounter: boolean; value: (before: number) => number },
  ): void {
    const at_ms = this.#options.clock.monotonic();
    const labels = labelsOf(source_id, origin.instance_id, origin.tags);
    const key = `${name} ${JSON.stringify(labels)}`;
    const app: App = this.#apps.get(source_id) ?? { series: new Map(), names: {} };
    if (labels['app_name'] !== undefined) app.names = picked(labels, NAME_TAGS);
    const known = app.series.get(key);
    if (known) {
      known.value = value(known.value);
      known.at_ms = at_ms;
      return;
    }
    if (this.#count >= this.#options.max_series || app.series.size >= this.#options.max_series_per_app) {
      this.#refused += 1;
      return;
    }
    app.series.set(key, { name, labels, isCounter, value: value(0), at_ms });
    this.#apps.set(source_id, app);
    this.#count += 1;
  }

  #prune(): void {
    const now = this.#options.clock.monotonic();
    for (const [source_id, { series }] of this.#apps) {
      for (const [key, { isCounter, at_ms }] of series) {
        if (now - at_ms <= (isCounter ? COUNTER_SILENCE_MS : GAUGE_SILENCE_MS)) continue;
        series.delete(key);
        this.#count -= 1;
      }
      if (series.size === 0) this.#apps.delete(source_id);
    }
  }
}

const isOfThePlatform = ({ origin }: Entry): boolean => origin.tags['source_type'] !== APP_METRICS_SOURCE_TYPE;

const isBucket = ({ name, labels }: Series): boolean => name.endsWith('_bucket') && labels['le'] !== undefined;

function prefixed(name: string, isOwn: boolean): string {
  return `${isOwn ? 'app' : 'custom'}_${name.replace(/[^a-zA-Z0-9_]/g, '_')}`;
}

function picked(tags: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (tags[name] === undefined ? [] : [[name, tags[name]]])));
}

function labelsOf(
  app_id: string,
  instance_index: string,
  tags: Readonly<Record<string, string>>,
): Record<string, string> {
  const labels: Record<string, string> = { app_id, instance_index, ...picked(tags, OWN_TAGS) };
  if (tags['source_type'] !== APP_METRICS_SOURCE_TYPE) return { ...labels, ...picked(tags, FIGURE_TAGS) };
  for (const [tag, value] of Object.entries(tags)) {
    const name = tag.replace(/[^a-zA-Z0-9_]/g, '_');
    if (!PLATFORM_TAGS.has(tag)) labels[name in labels ? `exported_${name}` : name] = value;
  }
  return labels;
}
