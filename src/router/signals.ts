/**
 * What operators ask for by signals: HUP, after the access log was rotated, has its file opened anew; USR1 drains, as gorouter does.
 * Since TERM drains as well, USR1 asks for just that, so that whatever else stands in the process is closed in its own way.
 */
import type { Log } from '#kernel/log.ts';
import type { AccessLog } from './access-log.ts';

export function onSignals(parts: { accessLog: AccessLog; log: Log }): Disposable {
  const listeners: Partial<Record<NodeJS.Signals, () => void>> = {
    SIGHUP: () => parts.accessLog.reopen(),
    SIGUSR1: () => void process.kill(process.pid, 'SIGTERM'),
  };
  const stack = new DisposableStack();
  for (const [signal, act] of Object.entries(listeners)) {
    const listener = (): void => {
      parts.log.info({ signal }, 'signal received');
      act();
    };
    process.on(signal, listener);
    stack.defer(() => process.off(signal, listener));
  }
  return stack;
}
