import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { WardenClient } from '#http/warden-client.ts';
import { isGone } from './job-output.ts';

const MAX_TRIES = 20;

/** Destroys a container, again while warden is away or fails. What stays after all is left to the reaper. */
export async function destroyContainer(
  need: { warden: WardenClient; clock: Clock; log: Log },
  handle: string,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await need.warden.destroy(handle);
      return;
    } catch (error) {
      if (isGone(error)) return;
      if (tries >= MAX_TRIES) {
        need.log.error({ handle, error: describeError(error) }, 'container could not be destroyed');
        return;
      }
      await need.clock.sleep(Math.min(2000, 100 * tries));
    }
  }
}
