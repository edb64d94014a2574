import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';

/**
 * Carries out what a signal asks for, once, and then ends the process as TERM would, so that whatever else stands in it is
 * closed in its own way.
 */
export function onSignals(work: Readonly<Partial<Record<NodeJS.Signals, () => Promise<void>>>>, log: Log): Disposable {
  const stack = new DisposableStack();
  for (const [signal, carryOut] of Object.entries(work) as [NodeJS.Signals, () => Promise<void>][]) {
    let isUnderWay = false;
    const listener = (): void => {
      if (isUnderWay) return;
      isUnderWay = true;
      log.info({ signal }, 'signal received');
      carryOut()
        .catch((error: unknown) => log.error({ signal, error: describeError(error) }, 'signal not carried out'))
        .finally(() => process.kill(process.pid, 'SIGTERM'));
    };
    process.on(signal, listener);
    stack.defer(() => process.off(signal, listener));
  }
  return stack;
}
