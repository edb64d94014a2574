import type { InstanceUsage } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { Instance } from './instance.ts';

interface Sample {
  at_ms: number;
  cpu_ns: number;
  log_bytes: number;
}

const ASK_AT_ONCE = 8;
const MB = 1024 * 1024;

interface UsageNeeds {
  warden: WardenClient;
  clock: Clock;
  log: Log;
  instances: () => Instance[];
  /** All that this DEA may give away, and the cores that go with it. */
  memory_mb: number;
  cores: number;
}

/** Measures what instances use, at intervals, for beats and as gauges in their logs. Names and units as Diego's. */
export class UsageSampler implements Disposable {
  readonly #need: UsageNeeds;
  readonly #samples = new Map<string, Sample>();
  readonly #usage = new Map<string, InstanceUsage>();
  readonly #timer: Disposable;

  constructor(need: UsageNeeds & { stats_s: number }) {
    this.#need = need;
    this.#timer = need.clock.every(need.stats_s * 1000, async () => await this.sample());
  }

  /** By instance guid, for those measured at least once. */
  latest(): Record<string, InstanceUsage> {
    return Object.fromEntries(this.#usage);
  }

  async sample(): Promise<void> {
    const pending = this.#need.instances().filter((instance) => instance.record.network !== undefined);
    const known = new Set(pending.map((instance) => instance.start.instance));
    for (const guid of this.#usage.keys()) if (!known.has(guid)) this.forget(guid);
    const worker = async (): Promise<void> => {
      for (let next = pending.pop(); next !== undefined; next = pending.pop()) await this.measure(next);
    };
    await Promise.all(Array.from({ length: ASK_AT_ONCE }, worker));
  }

  async measure(instance: Instance): Promise<void> {
    const { start, handle } = instance.record;
    try {
      const info = await this.#need.warden.info(handle);
      const now: Sample = {
        at_ms: this.#need.clock.monotonic(),
        cpu_ns: info.cpu_stat.usage_ns,
        log_bytes: instance.log.bytes,
      };
      const last = this.#samples.get(start.instance);
      this.#samples.set(start.instance, now);
      const interval_ms = last ? now.at_ms - last.at_ms : 0;
      const cpu = last && interval_ms > 0 ? Math.max(0, (now.cpu_ns - last.cpu_ns) / 1e6 / interval_ms) : 0;
      const log_rate =
        last && interval_ms > 0 ? Math.max(0, ((now.log_bytes - last.log_bytes) * 1000) / interval_ms) : 0;
      const mem = info.memory_stat.rss > 0 ? info.memory_stat.rss : info.memory_stat.usage;
      const disk = info.disk_stat.bytes_used;
      const { memory_mb, cores } = this.#need;
      const cpu_entitlement = cpu / ((start.limits.mem / memory_mb) * cores);
      this.#usage.set(start.instance, {
        cpu,
        cpu_entitlement,
        mem,
        disk,
        log_rate,
        time: new Date(this.#need.clock.now()).toISOString(),
      });
      instance.log.gauge({
        cpu: { unit: 'percentage', value: cpu * 100 },
        cpu_entitlement: { unit: 'percentage', value: cpu_entitlement * 100 },
        memory: { unit: 'bytes', value: mem },
        disk: { unit: 'bytes', value: disk },
        memory_quota: { unit: 'bytes', value: start.limits.mem * MB },
        disk_quota: { unit: 'bytes', value: start.limits.disk * MB },
        log_rate: { unit: 'B/s', value: log_rate },
        log_rate_limit: { unit: 'B/s', value: start.limits.log_rate },
      });
    } catch (error) {
      // It may have ended in this moment; its own watch tells.
      this.#need.log.debug({ instance: start.instance, error: describeError(error) }, 'usage not measured');
    }
  }

  forget(instance: string): void {
    this.#samples.delete(instance);
    this.#usage.delete(instance);
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}
