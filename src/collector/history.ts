import { Gauge, type Registry } from 'prom-client';

export interface HistoryOptions {
  /** ms between two points. */
  step_ms: number;
  /** Points of a series. */
  points: number;
  /** For all series together. */
  memory_bytes: number;
}

export interface SeriesView {
  name: string;
  labels: string;
  /** Pairs of ms since the epoch and value; steps at which nothing was there are left out. */
  points: [number, number][];
}

const NEW_RING_BYTES = 200;

/** One series' ring. Most series never change: as long as they do not, one number stands for all points. */
class Ring {
  readonly name: string;
  readonly labels: string;
  #first = 0;
  #last = -1;
  #constant: number;
  #values: Float64Array | undefined;

  constructor(name: string, labels: string, first: { step: number; value: number }) {
    this.name = name;
    this.labels = labels;
    this.#first = first.step;
    this.#last = first.step;
    this.#constant = first.value;
  }

  get lastStep(): number {
    return this.#last;
  }

  get bytes(): number {
    return NEW_RING_BYTES + this.labels.length + (this.#values?.byteLength ?? 0);
  }

  /** Bytes more that it would take to put this. */
  roomFor(step: number, value: number, points: number): number {
    const isSteady = this.#values !== undefined || (Object.is(value, this.#constant) && step <= this.#last + 1);
    return isSteady ? 0 : points * 8;
  }

  put(step: number, value: number, points: number): void {
    if (!this.#values && Object.is(value, this.#constant) && step <= this.#last + 1) {
      this.#last = Math.max(this.#last, step);
      this.#first = Math.max(this.#first, step - points + 1);
      return;
    }
    this.#values ??= this.#spread(points);
    for (let missed = this.#last + 1; missed < step && missed <= this.#last + points; missed++) {
      this.#values[missed % points] = NaN;
    }
    this.#values[step % points] = value;
    this.#last = Math.max(this.#last, step);
    this.#first = Math.max(this.#first, step - points + 1);
  }

  *points(points: number): Generator<[number, number]> {
    for (let step = this.#first; step <= this.#last; step++) {
      const value = this.#values ? (this.#values[step % points] ?? NaN) : this.#constant;
      if (!Number.isNaN(value)) yield [step, value];
    }
  }

  #spread(points: number): Float64Array {
    const values = new Float64Array(points).fill(NaN);
    for (let step = this.#first; step <= this.#last; step++) values[step % points] = this.#constant;
    return values;
  }
}

/** A day of numbers in bounded memory: a ring for each series, and no more series than the memory allows. */
export class History {
  readonly #options: HistoryOptions;
  readonly #rings = new Map<string, Ring>();
  #bytes = 0;
  #refused = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  get figures(): { series: number; bytes: number; refused: number } {
    return { series: this.#rings.size, bytes: this.#bytes, refused: this.#refused };
  }

  record(name: string, labels: string, sample: { at_ms: number; value: number }): void {
    if (Number.isNaN(sample.value)) return;
    const { step_ms, points, memory_bytes } = this.#options;
    const step = Math.floor(sample.at_ms / step_ms);
    const key = `${name}{${labels}}`;
    const ring = this.#rings.get(key);
    const room = ring ? ring.roomFor(step, sample.value, points) : NEW_RING_BYTES + labels.length;
    if (this.#bytes + room > memory_bytes) {
      this.#refused += 1;
      return;
    }
    if (!ring) {
      const fresh = new Ring(name, labels, { step, value: sample.value });
      this.#rings.set(key, fresh);
      this.#bytes += fresh.bytes;
      return;
    }
    const before = ring.bytes;
    ring.put(step, sample.value, points);
    this.#bytes += ring.bytes - before;
  }

  /** Forgets series whose last point is older than the whole history. */
  prune(now_ms: number): void {
    const { step_ms, points } = this.#options;
    const cutoff = Math.floor(now_ms / step_ms) - points;
    for (const [key, ring] of this.#rings) {
      if (ring.lastStep > cutoff) continue;
      this.#rings.delete(key);
      this.#bytes -= ring.bytes;
    }
  }

  /** Series of one name, those whose labels hold `label` (such as `component="Router"`). */
  find(name: string, label = ''): SeriesView[] {
    const { step_ms, points } = this.#options;
    const found: SeriesView[] = [];
    for (const ring of this.#rings.values()) {
      if (ring.name !== name || !ring.labels.includes(label)) continue;
      const values = [...ring.points(points)].map(([step, value]): [number, number] => [step * step_ms, value]);
      found.push({ name, labels: ring.labels, points: values });
    }
    return found;
  }

  names(): string[] {
    return [...new Set([...this.#rings.values()].map(({ name }) => name))].sort();
  }
}

/** What the history itself takes, for `/metrics`. */
export function measureHistory(registry: Registry, history: History): void {
  const figures: [string, string, () => number][] = [
    ['collector_series', 'series of which a history is kept', () => history.figures.series],
    ['collector_history_bytes', 'memory of that history', () => history.figures.bytes],
    ['collector_refused_points', 'points that found no room in that history', () => history.figures.refused],
  ];
  for (const [name, help, read] of figures) {
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  }
}
