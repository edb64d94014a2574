import { describeError } from '#kernel/errors.ts';
import type { Deps } from '../deps.ts';
import { sweepEvents } from './store.ts';

const INTERVAL_MS = 3_600_000;

/** Forgets old audit and usage events, from time to time. */
export function sweepEventsHourly({ db, clock, log }: Deps, retention_days: number): Disposable {
  return clock.every(INTERVAL_MS, async () => {
    try {
      await sweepEvents(db, retention_days);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'events not swept');
    }
  });
}
