import { existsSync, rmSync } from 'node:fs';
import { systemClock } from '#kernel/clock.ts';
import { removeWarden } from '#warden/remove.ts';
import { down } from './down.ts';
import type { Home } from './home.ts';
import { PlatformDown } from './reach.ts';
import { isolates, readSettings } from './settings.ts';

/**
 * Stops the platform if it is up, ends whatever containers are left, and removes all that it keeps and all that it made in the
 * kernel. Errors: those of `down` and of warden's removal; what comes after them is then still there.
 */
export async function destroy(home: Home): Promise<void> {
  if (!existsSync(home.folder)) return;
  try {
    await down(home);
  } catch (error) {
    if (!(error instanceof PlatformDown)) throw error;
  }
  const settings = readSettings(home);
  if (isolates(settings)) await removeWarden({ name: settings.name, depot: home.warden }, systemClock);
  rmSync(home.folder, { recursive: true, force: true });
}
