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
import { hearBus } from './bus.ts';
import { type HealthManagerConfig, reconcilerOptions } from './config.ts';
import { fetchDesiredState } from './desired-source.ts';
import { Metrics } from './metrics.ts';
import { Reconciler } from './reconciler.ts';
import { Rounds } from './rounds.ts';

export async function start(config: HealthManagerConfig, context: ComponentContext): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'health-manager', log }));
  const reconciler = new Reconciler(reconcilerOptions(config));
  const lock = stack.use(new LeaderLock({ bus, name: 'health-manager', ttl_ms: config.lock_ttl_s * 1000, log }));
  const status = stack.use(
    await StatusServer.start({
      host: config.status.host,
      port: config.status.port,
      credentials: config.status,
      varz: () => metrics.varz(),
    }),
  );
  const isLeader = (): boolean => lock.isLeader;
  const metrics = new Metrics({ registry: status.registry, reconciler, clock, isLeader });
  const rounds = stack.use(new Rounds({ bus, clock, log, reconciler, metrics, isLeader }));
  const read = async (): Promise<void> => {
    const askedAt = clock.monotonic();
    reconciler.desired.beginReading();
    try {
      const processes = await fetchDesiredState({
        cc_url: config.cc_url,
        credentials: config.internal_api,
        batch_size: config.bulk_batch_size,
        same: (process) => reconciler.desired.same(process),
      });
      reconciler.fetched(processes, { askedAt, now: clock.monotonic() });
      metrics.synced(clock.monotonic() - askedAt);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'desired state not read');
    }
  };

  stack.use(hearBus({ bus, clock, reconciler, isLeader, nudge: () => rounds.nudge(), onBeat: () => metrics.beat() }));
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
  stack.use(clock.every(config.fetch_interval_s * 1000, read));
  await read();
  // The cloud controller may start at the same moment: try again soon until it has told once.
  const first = clock.every(1000, async () => {
    if (reconciler.desired.isFresh(clock.monotonic())) first[Symbol.dispose]();
    else await read();
  });
  stack.use(first);
  log.info({ status: status.address }, 'serving');
  const running = stack.move();
  return { addresses: { status: status.address }, [Symbol.asyncDispose]: async () => await running.disposeAsync() };
}
