import type { Bus } from '#bus/bus.ts';
import { networkPoliciesChanged, networkPoliciesList, type NetworkPolicy } from '#contracts/networking.ts';
import { CC_QUEUE } from '#contracts/health-manager.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Db } from '../tables.ts';
import { loadRevision, pageOfPolicies, type PolicyChange } from './store.ts';

/** So long a DEA that missed a change, or the policies of an app that was deleted, may hold on to what is gone. */
const REPEAT_MS = 5000;
/** A page stays far below what NATS takes in one message. */
const PAGE = 2000;

/**
 * Tells the DEAs what the policies are: each change as it is made, the whole list to whoever asks, and every few seconds the number of
 * the last change, by which they see whether they have all.
 */
export class PolicyTeller implements Disposable {
  readonly #bus: Bus;
  readonly #stack = new DisposableStack();

  constructor({ bus, db, clock, log }: { bus: Bus; db: Db; clock: Clock; log: Log }) {
    this.#bus = bus;
    this.#stack.use(
      bus.reply(networkPoliciesList, async ({ after }) => await pageOfPolicies(db, after, PAGE), { queue: CC_QUEUE }),
    );
    const repeat = (): void => {
      loadRevision(db).then(
        (revision) => void bus.publish(networkPoliciesChanged, { revision, before: revision, added: [], removed: [] }),
        (error: unknown) => log.warn({ error: describeError(error) }, 'network policies not told'),
      );
    };
    this.#stack.use(clock.every(REPEAT_MS, repeat));
    this.#stack.use(bus.onReconnect(repeat));
  }

  tell({ revision }: PolicyChange, change: { added?: NetworkPolicy[]; removed?: NetworkPolicy[] }): void {
    const { added = [], removed = [] } = change;
    if (added.length + removed.length === 0) return;
    this.#bus.publish(networkPoliciesChanged, { revision, before: revision - 1, added, removed });
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
