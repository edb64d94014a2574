/**
 * The health manager: desired state (from the cloud controller) minus actual state (from beats) gives starts and stops, which it
 * asks the cloud controller for. It commands nobody, and asks for nothing while either side is not fresh. Of several one leads;
 * the others hear the same and are ready.
 */
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { LeaderLock } from '#bus/leader-lock.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { describeError } from '#kernel/errors.ts';
import { ask, hearBus } from './bus.ts';
import type { HealthManagerConfig } from './config.ts';
import { fetchDesiredState } from './desired-source.ts';
import { Metrics } from './metrics.ts';
import { Reconciler } from './reconciler.ts';

const ROUND_MS = 250;
const MISSED_BEATS = 3;

export async function start(config: HealthManagerConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'health-manager', log }));
  const reconciler = new Reconciler({
    silence_ms: config.heartbeat_period_s * MISSED_BEATS * 1000,
    desired_ttl_ms: config.desired_ttl_s * 1000,
    crash_count_ttl_ms: config.crash_count_ttl_s * 1000,
    max_starts_per_round: config.max_starts_per_round,
    missing_grace_ms: config.missing_grace_s * 1000,
    start_keep_alive_ms: config.start_keep_alive_s * 1000,
    stop_keep_alive_ms: config.stop_keep_alive_s * 1000,
    duplicate_delay_ms: config.duplicate_delay_s * 1000,
    duplicate_stagger_ms: config.duplicate_stagger_s * 1000,
    crashes_before_backoff: config.crashes_before_backoff,
    first_backoff_ms: config.first_backoff_s * 1000,
    max_backoff_ms: config.max_backoff_s * 1000,
  });
  const lock = stack.use(new LeaderLock({ bus, name: 'health-manager', ttl_ms: config.lock_ttl_s * 1000, log }));
  const status = stack.use(
    await StatusServer.start({
      host: config.status.host,
      port: config.status.port,
      credentials: config.status,
      varz: () => metrics.varz(),
    }),
  );
  const metrics = new Metrics({ registry: status.registry, reconciler, clock, isLeader: () => lock.isLeader });

  const round = (): void => {
    if (!bus.isConnected || !lock.isLeader) return;
    const { steps, lostDeas } = reconciler.round(clock.monotonic());
    for (const dea of lostDeas) log.warn({ dea }, 'dea silent, its instances count as gone');
    for (const step of steps) {
      ask(bus, step);
      metrics.count(step);
      log.info({ ...step }, step.do === 'start' ? 'start asked for' : 'stop asked for');
    }
  };
  const read = async (): Promise<void> => {
    const askedAt = clock.monotonic();
    reconciler.desired.beginReading();
    try {
      const processes = await fetchDesiredState({
        cc_url: config.cc_url,
        credentials: config.internal_api,
        batch_size: config.bulk_batch_size,
      });
      reconciler.fetched(processes, { askedAt, now: clock.monotonic() });
    } catch (error) {
      log.warn({ error: describeError(error) }, 'desired state not read');
    }
  };

  stack.use(hearBus({ bus, clock, reconciler, nudge: () => setImmediate(round) }));
  stack.use(
    announceComponent({
      bus,
      type: 'HM9000',
      index: config.index,
      version: '1',
      host: status.address,
      credentials: config.status,
    }),
  );
  stack.use(clock.every(ROUND_MS, round));
  stack.use(clock.every(config.fetch_interval_s * 1000, read));
  await read();
  // The cloud controller may start at the same moment: try again soon until it has told once.
  const first = clock.every(1000, async () => {
    if (reconciler.desired.isFresh(clock.monotonic())) first[Symbol.dispose]();
    else await read();
  });
  stack.use(first);
  const running = stack.move();
  return { addresses: { status: status.address }, [Symbol.asyncDispose]: async () => await running.disposeAsync() };
}
