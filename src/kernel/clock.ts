import { setTimeout as delay } from 'node:timers/promises';
import { currentRequest, forRequest, ownWork } from './request-scope.ts';

/**
 * Time as a dependency. `now` is the wall clock in ms since the epoch; `monotonic` only ever grows (ms) and is what
 * durations and deadlines are measured with, since the wall clock can jump.
 */
export interface Clock {
  now(): number;
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Calls `work` every `ms`; a call that is still running when the next is due is not overlapped. What `work` throws is nobody's
   * to catch and ends the process: it handles what it expects itself. Begun for a request, all of it is that request's; otherwise
   * each call is work of our own, with an id of its own.
   */
  every(ms: number, work: () => void | Promise<void>): Disposable;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  },
  every: (ms, work) => {
    let isRunning = false;
    const begunFor = currentRequest();
    const timer = setInterval(() => {
      if (isRunning) return;
      isRunning = true;
      void (async () => {
        try {
          await forRequest(begunFor ?? ownWork(), work);
        } finally {
          isRunning = false;
        }
      })();
    }, ms);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  },
};
