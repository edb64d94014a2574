/** Upper bounds in s of all histograms of requests. */
export const LATENCY_BOUNDS_S = [
  0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;
/** Look-ups take less than a microsecond, whence finer steps than gorouter's, which begin at ten. */
const LOOKUP_BOUNDS_NS = [250, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000] as const;

/** Counts by upper bound; the last bin holds what is above all. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly bins: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.bins = new Float64Array(bounds.length + 1);
  }

  add(value: number): void {
    let bin = 0;
    while (bin < this.bounds.length && value > (this.bounds[bin] ?? 0)) bin++;
    this.bins[bin] = (this.bins[bin] ?? 0) + 1;
    this.sum += value;
    this.count++;
  }

  /** The upper bound under which this share (0–1) of the values lies; 0 without values. */
  quantile(share: number): number {
    let left = share * this.count;
    if (this.count === 0) return 0;
    for (let bin = 0; bin < this.bounds.length; bin++) {
      left -= this.bins[bin] ?? 0;
      if (left <= 0) return this.bounds[bin] ?? 0;
    }
    return this.bounds.at(-1) ?? 0;
  }
}

export const STATUS_GROUPS = ['xxx', '2xx', '3xx', '4xx', '5xx'] as const;

/** Responses by group of their status, as gorouter groups them: whatever is none of the four is `xxx`. */
export class Responses {
  readonly #counts = [0, 0, 0, 0, 0];

  count(status: number): void {
    const group = status >= 200 && status < 600 ? Math.floor(status / 100) - 1 : 0;
    this.#counts[group] = (this.#counts[group] ?? 0) + 1;
  }

  entries(): [group: (typeof STATUS_GROUPS)[number], count: number][] {
    return STATUS_GROUPS.map((group, at) => [group, this.#counts[at] ?? 0]);
  }
}

/** Requests, their responses and how long they took: of all, or of those to one component's endpoints. */
export class Traffic {
  requests = 0;
  readonly responses = new Responses();
  readonly latency_s = new Histogram(LATENCY_BOUNDS_S);
  /** Requests a second over the last minute, five and fifteen: brought up to date by `tick`. */
  readonly rate: [number, number, number] = [0, 0, 0];
  #requestsThen = 0;

  count(status: number, took_s: number): void {
    this.responses.count(status);
    this.latency_s.add(took_s);
  }

  /** Called every `elapsed_s`: moves the rates towards what was since, as a load average moves. */
  tick(elapsed_s: number): void {
    const pace = (this.requests - this.#requestsThen) / elapsed_s;
    this.#requestsThen = this.requests;
    for (const [at, minutes] of [1, 5, 15].entries()) {
      const share = 1 - Math.exp(-elapsed_s / (minutes * 60));
      const before = this.rate[at] ?? 0;
      this.rate[at] = before + share * (pace - before);
    }
  }
}

/** How many requests each app had within a sliding minute, for the busiest ten. */
export class PerApp {
  #current = new Map<string, number>();
  #before = new Map<string, number>();

  count(app: string): void {
    this.#current.set(app, (this.#current.get(app) ?? 0) + 1);
  }

  newMinute(): void {
    this.#before = this.#current;
    this.#current = new Map();
  }

  /** `into_s` seconds into the minute: the rest of it is taken from the one before. */
  busiest(count: number, into_s: number): { application_id: string; rpm: number }[] {
    const left = Math.max(0, 1 - into_s / 60);
    const apps = new Set([...this.#current.keys(), ...this.#before.keys()]);
    return [...apps]
      .map((app) => ({
        application_id: app,
        rpm: Math.round((this.#current.get(app) ?? 0) + left * (this.#before.get(app) ?? 0)),
      }))
      .sort((a, b) => b.rpm - a.rpm)
      .slice(0, count);
  }
}

/** Plain numbers that the request path adds to; the status server reads them. */
export class Counters {
  readonly all = new Traffic();
  /** By the `component` tag of endpoints. */
  readonly components = new Map<string, Traffic>();
  readonly perApp = new PerApp();
  rejected = 0;
  badGateways = 0;
  connectionLimit = 0;
  invalidId = 0;
  invalidTlsCert = 0;
  tlsHandshakeFailed = 0;
  websocketUpgrades = 0;
  websocketFailures = 0;
  routesPruned = 0;
  /** By `action component`. */
  readonly registryMessages = new Map<string, number>();
  /** By component. */
  readonly unregistryMessages = new Map<string, number>();
  readonly routeServiceResponses = new Responses();
  /** Time that the router itself took of requests. */
  readonly gorouterTime_s = new Histogram(LATENCY_BOUNDS_S);
  readonly lookup_ns = new Histogram(LOOKUP_BOUNDS_NS);
  readonly registrationLatency_s = new Histogram(LATENCY_BOUNDS_S);

  component(name: string): Traffic {
    let traffic = this.components.get(name);
    if (traffic === undefined) this.components.set(name, (traffic = new Traffic()));
    return traffic;
  }
}

export function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
