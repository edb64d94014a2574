import type { HealthCheck } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { HEALTH_CHECK_DEFAULTS, probe, untilHealthy, type Endpoint } from './health-check.ts';
import type { InstanceLog } from './instance-log.ts';

export interface HealthWatchOptions {
  check: HealthCheck;
  readiness_check: HealthCheck | undefined;
  /** For the first success, if it is starting. */
  timeout_s: number;
  endpoint: Endpoint | undefined;
  isStarting: boolean;
  clock: Clock;
  log: Pick<InstanceLog, 'cell'>;
  quit: AbortSignal;
  /** Called once, after the first success. */
  healthy: () => Promise<void>;
  /** Called on each change of readiness. */
  ready: (isReady: boolean) => Promise<void>;
}

/** `why` says what the last probe met; `description` is the exit's. */
export interface HealthFailure {
  why: string;
  description: string;
}

/** Watches an instance through start and life; resolves when it has failed, and never after `quit`. */
export async function watchHealth(options: HealthWatchOptions): Promise<HealthFailure> {
  try {
    return await watch(options);
  } catch (error) {
    if (!options.quit.aborted) throw error;
    return await new Promise<never>(() => {});
  }
}

async function watch(options: HealthWatchOptions): Promise<HealthFailure> {
  const { check, endpoint, clock, log, quit, timeout_s } = options;
  if (options.isStarting) {
    log.cell('Starting health monitoring of container');
    const first = await untilHealthy(check, endpoint, { clock, timeout_s, signal: quit });
    if (!first.ok) {
      log.cell(`Timed out after ${timeout_s}s: health check never passed.`, 'ERR');
      return { why: first.why, description: 'failed to accept connections within health check timeout' };
    }
    log.cell('Container became healthy');
    await options.healthy();
  }
  watchReadiness(options).catch(() => {});
  const interval_ms = (check.interval_s ?? HEALTH_CHECK_DEFAULTS.interval_s) * 1000;
  for (;;) {
    await clock.sleep(interval_ms, quit);
    const result = await probe(check, endpoint);
    quit.throwIfAborted();
    if (result.ok) continue;
    log.cell('Container became unhealthy', 'ERR');
    return { why: result.why, description: 'failed its liveness health check' };
  }
}

/** A readiness check only ever moves an instance in and out of routing. */
async function watchReadiness(options: HealthWatchOptions): Promise<void> {
  const { readiness_check: check, clock, log, quit } = options;
  if (check === undefined || check.type === 'process') return;
  let wasReady = false;
  for (;;) {
    const { ok } = await probe(check, options.endpoint);
    quit.throwIfAborted();
    if (ok !== wasReady) {
      wasReady = ok;
      log.cell(ok ? 'Container became ready' : 'Container became not ready', ok ? 'OUT' : 'ERR');
      await options.ready(ok);
    }
    // One that is not ready is asked often: each second that it could serve and does not is lost.
    const pause_s = ok ? (check.interval_s ?? HEALTH_CHECK_DEFAULTS.interval_s) : 1;
    await clock.sleep(pause_s * 1000, quit);
  }
}
