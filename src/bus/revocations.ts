import { revocationList, tokenRevoked, type Revocation } from '#contracts/uaa.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Bus } from './bus.ts';

/** Whatever checks tokens: it is told which to refuse from now on. */
export interface Refuser {
  refuse(revocation: Revocation): void;
}

const ASK_AGAIN_MS = 60_000;
const ANSWER_MS = 2_000;

/**
 * Tells those who check tokens what the UAA revoked: all that still matters at the start, after each reconnect and now and then,
 * and each new one as it is said. Without a UAA to ask, what was heard before stays in force.
 */
export function followRevocations(options: { bus: Bus; clock: Clock; refusers: readonly Refuser[] }): Disposable {
  const { bus, clock, refusers } = options;
  const tell = (revocation: Revocation): void => {
    for (const refuser of refusers) refuser.refuse(revocation);
  };
  const ask = async (): Promise<void> => {
    if (!bus.isConnected) return;
    try {
      const { revocations } = await bus.request(revocationList, {}, { timeout_ms: ANSWER_MS });
      revocations.forEach(tell);
    } catch {
      // No UAA is up yet; it is asked again, and what it revokes it says itself.
    }
  };
  const stack = new DisposableStack();
  stack.use(bus.subscribe(tokenRevoked, tell));
  stack.use(bus.onReconnect(() => void ask()));
  stack.use(clock.every(ASK_AGAIN_MS, ask));
  void ask();
  return stack;
}
