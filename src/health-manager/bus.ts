import { randomUUID } from 'node:crypto';
import { BeatRequests } from '#bus/beat-requests.ts';
import type { Bus } from '#bus/bus.ts';
import { dropletUpdated } from '#contracts/cloud-controller.ts';
import { deaBeat, deaHeartbeat, dropletExited } from '#contracts/dea.ts';
import { hm9000Start, hm9000Stop } from '#contracts/health-manager.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Step } from './plan.ts';
import type { Reconciler } from './reconciler.ts';

export interface HearingOptions {
  bus: Bus;
  clock: Clock;
  reconciler: Reconciler;
  /** Called for what should be acted on at once. */
  nudge: () => void;
  isLeader: () => boolean;
  onBeat: () => void;
}

/** Feeds what the bus says into the reconciler, also what another health manager asks for while it leads. */
export function hearBus(options: HearingOptions): Disposable {
  const { bus, clock, reconciler, nudge, isLeader, onBeat } = options;
  const stack = new DisposableStack();
  const requests = new BeatRequests({ ask: (dea) => void bus.publish(deaBeat, { dea }) });
  stack.use(
    bus.subscribe(deaHeartbeat, (beat) => {
      const now = clock.monotonic();
      onBeat();
      if (reconciler.beat(beat, now)) requests.want(beat.dea, now);
      else if (beat.droplets) requests.heard(beat.dea, now);
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
    bus.subscribe(hm9000Start, ({ droplet, version, instance_index: index }) => {
      if (!isLeader()) reconciler.asked({ do: 'start', droplet, version, index }, clock.monotonic());
    }),
  );
  stack.use(
    bus.subscribe(hm9000Stop, ({ droplet, version, instance_index: index, instance_guid: instance }) => {
      if (!isLeader()) reconciler.asked({ do: 'stop', droplet, version, index, instance }, clock.monotonic());
    }),
  );
  stack.use(bus.onReconnect(() => reconciler.interrupt(clock.monotonic())));
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
        // Both leave another instance serving the index, without which the cloud controller would not let it go.
        is_duplicate: step.why === 'duplicate' || step.why === 'evacuated',
      });
    default:
      return step satisfies never;
  }
}
