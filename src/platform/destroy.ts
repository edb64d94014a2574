import { existsSync, rmSync } from 'node:fs';
import { systemClock } from '#kernel/clock.ts';
import { removeWarden } from '#warden/remove.ts';
import { down } from './down.ts';
import type { Home } from './home.ts';
import { PlatformDown } from './reach.ts';
import { readSettings } from './settings.ts';

/**
 * Stops the platform if it is up, ends whatever containers are left, and removes all that it keeps and all that it made in the
 * kernel. Errors: DepotTaken while a warden that is not ours to stop works on its depot; then nothing is removed.
 */
export async function destroy(home: Home): Promise<void> {
  if (!existsSync(home.folder)) return;
  try {
    await down(home);
  } catch (error) {
    if (!(error instanceof PlatformDown)) throw error;
  }
  const { name } = readSettings(home);
  await removeWarden({ name, depot: home.warden }, systemClock);
  rmSync(home.folder, { recursive: true, force: true });
}
