import type { LogEmitter } from '#bus/log-emitter.ts';
import type { Clock } from '#kernel/clock.ts';
import { Histogram } from './counters.ts';
import type { Endpoint } from './endpoint.ts';

/** Fewer than the router's own histogram has: they are told for each instance. */
const BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] as const;
/** An instance without requests is told of for so long, then forgotten; its counts begin anew with the next request. */
const IDLE_ROUNDS = 40;
const MAX_INSTANCES = 10_000;
const SLICES = 16;

interface Traffic {
  /** By first digit of the status; 0 for none. */
  responses: number[];
  latency_s: Histogram;
  idleRounds: number;
  isFresh: boolean;
}

/**
 * What each instance of each app answered, and how soon: told to the loggregator at intervals as counters and gauges of the app, by
 * names that Prometheus would give a histogram. Totals are this router's alone; readers add those of several.
 */
export class AppTraffic implements Disposable {
  readonly #emitter: LogEmitter;
  readonly #router: string;
  readonly #instances = new Map<Endpoint, Traffic>();
  readonly #timer: Disposable;
  #turn: MapIterator<[Endpoint, Traffic]> | undefined;
  #untold = 0;

  constructor(options: { emitter: LogEmitter; clock: Clock; index: number; tell_interval_ms: number }) {
    this.#emitter = options.emitter;
    this.#router = String(options.index);
    this.#timer = options.clock.every(options.tell_interval_ms / SLICES, () => this.#tellSlice());
  }

  /** Responses of instances beyond those that are kept account of. */
  get untold(): number {
    return this.#untold;
  }

  count(endpoint: Endpoint, status: number, took_ms: number): void {
    let traffic = this.#instances.get(endpoint);
    if (traffic === undefined) {
      if (this.#instances.size >= MAX_INSTANCES) {
        this.#untold++;
        return;
      }
      traffic = { responses: [0, 0, 0, 0, 0, 0], latency_s: new Histogram(BOUNDS_S), idleRounds: 0, isFresh: true };
      this.#instances.set(endpoint, traffic);
    }
    const group = status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
    traffic.responses[group] = (traffic.responses[group] ?? 0) + 1;
    traffic.latency_s.add(took_ms / 1000);
    traffic.isFresh = true;
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    for (const [endpoint, traffic] of this.#instances) this.#tell(endpoint, traffic);
  }

  /** A part of all: thousands of instances told of at once would keep requests waiting. */
  #tellSlice(): void {
    for (let left = Math.ceil(this.#instances.size / SLICES); left > 0; left--) {
      this.#turn ??= this.#instances.entries();
      const next = this.#turn.next();
      if (next.done) return void (this.#turn = undefined);
      const [endpoint, traffic] = next.value;
      traffic.idleRounds = traffic.isFresh ? 0 : traffic.idleRounds + 1;
      traffic.isFresh = false;
      // Gone or idle: nobody adds to it any more, and all that it counted was told.
      if (traffic.idleRounds > (endpoint.routes > 0 ? IDLE_ROUNDS : 0)) this.#instances.delete(endpoint);
      else this.#tell(endpoint, traffic);
    }
  }

  #tell(endpoint: Endpoint, { responses, latency_s }: Traffic): void {
    const origin = {
      source_id: endpoint.app,
      instance_id: endpoint.instance_index === '' ? '0' : endpoint.instance_index,
      source_type: 'RTR',
    };
    const count = (name: string, total: number, tags?: Record<string, string>): void =>
      this.#emitter.emitMeasurement(
        { ...origin, tags: { ...endpoint.tags, router: this.#router, ...tags } },
        { counter: { name, total: String(total) } },
      );
    for (const [group, total] of responses.entries()) {
      if (total > 0) count('requests', total, { status_class: group === 0 ? 'none' : `${group}xx` });
    }
    let below = 0;
    for (const [bin, le] of [...latency_s.bounds, '+Inf'].entries()) {
      below += latency_s.bins[bin] ?? 0;
      count('latency_seconds_bucket', below, { le: String(le) });
    }
    count('latency_seconds_count', latency_s.count);
    // Counters are whole numbers in Cloud Foundry's envelopes, and this one is not.
    this.#emitter.emitMeasurement(
      { ...origin, tags: { ...endpoint.tags, router: this.#router } },
      { gauge: { metrics: { latency_seconds_sum: { unit: 's', value: latency_s.sum } } } },
    );
  }
}
