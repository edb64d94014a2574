import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { Cell } from './cell.ts';
import type { Stager } from './staging/stager.ts';

const RECHECK_MS = 500;

/**
 * Leaves this machine without a dropped request: says that it leaves, waits until the health manager has had every instance
 * started elsewhere and stopped here, and until builds are done. Resolves when empty, or when the time is over, after which
 * what is left is stopped.
 */
export async function evacuate(options: {
  cell: Cell;
  stager: Stager;
  clock: Clock;
  log: Log;
  bail_out_s: number;
}): Promise<void> {
  const { cell, stager, clock, log } = options;
  const end = clock.monotonic() + options.bail_out_s * 1000;
  cell.takeNoMoreWork();
  log.info({ instances: cell.instances.length, builds: stager.count }, 'evacuation begun');
  while (cell.instances.length > 0 || stager.count > 0) {
    if (clock.monotonic() > end) {
      log.warn({ instances: cell.instances.length, builds: stager.count }, 'evacuation bailed out');
      break;
    }
    // Again each time: what was starting when it began is running by and by.
    await cell.markEvacuating();
    await clock.sleep(RECHECK_MS);
  }
  await cell.stopAll('DEA_EVACUATION');
  log.info({}, 'evacuation ended');
}

/** Stops every instance with its grace, for a machine that is taken down. */
export async function stopAll(cell: Cell): Promise<void> {
  cell.takeNoMoreWork();
  await cell.stopAll('DEA_SHUTDOWN');
}
