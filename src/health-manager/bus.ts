import { randomUUID } from 'node:crypto';
import type { Bus } from '#bus/bus.ts';
import { dropletUpdated } from '#contracts/cloud-controller.ts';
import { deaBeat, deaHeartbeat, dropletExited } from '#contracts/dea.ts';
import { hm9000Start, hm9000Stop } from '#contracts/health-manager.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Step } from './plan.ts';
import type { Reconciler } from './reconciler.ts';

/** Feeds what the bus says into the reconciler. `nudge` is called for what should be acted on at once. */
export function hearBus(options: { bus: Bus; clock: Clock; reconciler: Reconciler; nudge: () => void }): Disposable {
  const { bus, clock, reconciler, nudge } = options;
  const stack = new DisposableStack();
  stack.use(
    bus.subscribe(deaHeartbeat, (beat) => {
      if (reconciler.beat(beat, clock.monotonic())) bus.publish(deaBeat, { dea: beat.dea });
    }),
  );
  stack.use(
    bus.subscribe(dropletExited, (exit) => {
      reconciler.exited(exit, clock.monotonic());
      nudge();
    }),
  );
  stack.use(
    bus.subscribe(dropletUpdated, (process) => {
      reconciler.updated(process);
      nudge();
    }),
  );
  stack.use(
    bus.onReconnect(() => {
      reconciler.interrupt(clock.monotonic());
      bus.publish(deaBeat, {});
    }),
  );
  bus.publish(deaBeat, {});
  return stack;
}

/** Asks the cloud controller for one step; false when the bus is away. */
export function ask(bus: Bus, step: Step): boolean {
  const message_id = randomUUID();
  const { droplet, version } = step;
  switch (step.do) {
    case 'start':
      return bus.publish(hm9000Start, { message_id, droplet, version, instance_index: step.index, reason: step.why });
    case 'stop':
      return bus.publish(hm9000Stop, {
        message_id,
        droplet,
        version,
        instance_guid: step.instance,
        instance_index: step.index,
        is_duplicate: step.why === 'duplicate',
      });
    default:
      return step satisfies never;
  }
}
