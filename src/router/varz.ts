import { availableParallelism } from 'node:os';
import { randomUUID } from 'node:crypto';
import type { Clock } from '#kernel/clock.ts';
import type { Core } from './core.ts';
import type { LogCounts } from './counted-log.ts';
import type { Traffic } from './counters.ts';

const BUSIEST = 10;
const TICK_S = 5;
const TICKS_PER_MINUTE = 12;

/** The router's facts for `/varz`, named as gorouter names them. */
export class Varz implements Disposable {
  readonly #core: Core;
  readonly #logCounts: LogCounts;
  readonly #uuid: string;
  readonly #startedAt_ms: number;
  readonly #timer: Disposable;
  #ticks = 0;
  #cpu_us = 0;
  /** Share of one core over the last tick, per cent. */
  #cpu = 0;

  constructor(core: Core, options: { clock: Clock; logCounts: LogCounts }) {
    this.#core = core;
    this.#logCounts = options.logCounts;
    this.#uuid = `${core.config.index}-${randomUUID()}`;
    this.#startedAt_ms = core.monotonic_ms();
    this.#timer = options.clock.every(TICK_S * 1000, () => this.#tick());
  }

  read(): Record<string, unknown> {
    const { config, counters, table, monotonic_ms } = this.#core;
    const now_ms = monotonic_ms();
    const busiest = counters.perApp.busiest(BUSIEST, (this.#ticks % TICKS_PER_MINUTE) * TICK_S);
    return {
      type: 'Router',
      index: config.index,
      host: this.#core.hostAddress,
      uuid: this.#uuid,
      num_cores: availableParallelism(),
      uptime: uptimeText((now_ms - this.#startedAt_ms) / 1000),
      mem: Math.round(process.memoryUsage.rss() / 1024),
      cpu: this.#cpu,
      log_counts: this.#logCounts,
      ...figuresOf(counters.all),
      requests_per_sec: counters.all.rate[0],
      bad_requests: counters.rejected,
      bad_gateways: counters.badGateways,
      top10_app_requests: busiest.map((app) => ({ ...app, rps: Math.round(app.rpm / 60) })),
      tags: {
        component: Object.fromEntries([...counters.components].map(([name, traffic]) => [name, figuresOf(traffic)])),
      },
      urls: table.size,
      droplets: table.endpointCount,
      ms_since_last_registry_update: Math.round(now_ms - table.lastUpdate_ms),
    };
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  #tick(): void {
    const { counters } = this.#core;
    for (const traffic of [counters.all, ...counters.components.values()]) traffic.tick(TICK_S);
    if (++this.#ticks % TICKS_PER_MINUTE === 0) counters.perApp.newMinute();
    const { user, system } = process.cpuUsage();
    this.#cpu = (user + system - this.#cpu_us) / (TICK_S * 10_000);
    this.#cpu_us = user + system;
  }
}

function figuresOf(traffic: Traffic): Record<string, unknown> {
  const quantiles = [50, 75, 90, 95, 99].map((share) => [share, traffic.latency_s.quantile(share / 100)]);
  return {
    requests: traffic.requests,
    rate: traffic.rate,
    ...Object.fromEntries(traffic.responses.entries().map(([group, count]) => [`responses_${group}`, count])),
    latency: Object.fromEntries(quantiles),
  };
}

/** `days:hours:minutes:seconds`, as in `0d:1h:2m:3s`. */
function uptimeText(seconds: number): string {
  const [days, hours, minutes] = [86_400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  return `${days}d:${(hours ?? 0) % 24}h:${(minutes ?? 0) % 60}m:${Math.floor(seconds) % 60}s`;
}
