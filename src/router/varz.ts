import type { Core } from './core.ts';

const BUSIEST = 10;

/** The router's facts for `/varz`, named as gorouter names them. */
export class Varz {
  readonly #core: Core;
  #readAt_ms: number;
  #requestsThen = 0;

  constructor(core: Core) {
    this.#core = core;
    this.#readAt_ms = core.monotonic_ms();
  }

  /** Paces are over the time since it was last read. */
  read(): Record<string, unknown> {
    const { counters, table, monotonic_ms } = this.#core;
    const now_ms = monotonic_ms();
    const elapsed_s = Math.max(0.001, (now_ms - this.#readAt_ms) / 1000);
    const [xxx, r1xx, r2xx, r3xx, r4xx, r5xx] = counters.responses;
    const busiest = [...counters.perApp].sort(([, a], [, b]) => b - a).slice(0, BUSIEST);
    const pace = (counters.requests - this.#requestsThen) / elapsed_s;
    this.#readAt_ms = now_ms;
    this.#requestsThen = counters.requests;
    counters.perApp.clear();
    return {
      requests: counters.requests,
      bad_requests: counters.rejected,
      bad_gateways: counters.badGateways,
      requests_per_sec: Math.round(pace),
      top10_app_requests: busiest.map(([application_id, requests]) => ({
        application_id,
        rpm: Math.round((requests / elapsed_s) * 60),
      })),
      responses_1xx: r1xx,
      responses_2xx: r2xx,
      responses_3xx: r3xx,
      responses_4xx: r4xx,
      responses_5xx: r5xx,
      responses_xxx: xxx,
      latency: Object.fromEntries(
        [50, 75, 90, 95, 99].map((share) => [share, counters.latency_s.quantile(share / 100)]),
      ),
      urls: table.size,
      droplets: table.endpointCount,
      ms_since_last_registry_update: Math.round(now_ms - table.lastUpdate_ms),
    };
  }
}
