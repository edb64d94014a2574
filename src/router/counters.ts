/** Upper bounds in s, as gorouter's latency histogram has them. */
export const LATENCY_BOUNDS_S = [
  0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

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

/** Plain numbers that the request path adds to; the status server reads them. */
export class Counters {
  requests = 0;
  rejected = 0;
  badGateways = 0;
  /** By first digit of the status; 0 for none. */
  readonly responses = [0, 0, 0, 0, 0, 0];
  connectionLimit = 0;
  invalidId = 0;
  tlsHandshakeFailed = 0;
  websocketUpgrades = 0;
  websocketFailures = 0;
  routesPruned = 0;
  readonly registryMessages = new Map<string, number>();
  readonly latency_s = new Histogram(LATENCY_BOUNDS_S);
  /** Time that the router itself took of it. */
  readonly gorouterTime_s = new Histogram(LATENCY_BOUNDS_S);
  readonly registrationLatency_s = new Histogram(LATENCY_BOUNDS_S);
  /** Requests of each app since the last look at the busiest. */
  readonly perApp = new Map<string, number>();

  countResponse(status: number, app: string): void {
    const group = status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
    this.responses[group] = (this.responses[group] ?? 0) + 1;
    if (app !== '') this.perApp.set(app, (this.perApp.get(app) ?? 0) + 1);
  }
}
