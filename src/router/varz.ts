import type { Core } from './core.ts';

/** The router's facts for `/varz`, named as gorouter names them. */
export function varzOf(core: Core): Record<string, unknown> {
  const { counters, table } = core;
  const [xxx, r1xx, r2xx, r3xx, r4xx, r5xx] = counters.responses;
  const latency = Object.fromEntries(
    [50, 75, 90, 95, 99].map((share) => [share, counters.latency_s.quantile(share / 100)]),
  );
  return {
    requests: counters.requests,
    bad_requests: counters.rejected,
    bad_gateways: counters.badGateways,
    responses_1xx: r1xx,
    responses_2xx: r2xx,
    responses_3xx: r3xx,
    responses_4xx: r4xx,
    responses_5xx: r5xx,
    responses_xxx: xxx,
    latency,
    urls: table.size,
    droplets: table.endpointCount,
    ms_since_last_registry_update: Math.round(core.monotonic_ms() - table.lastUpdate_ms),
  };
}
