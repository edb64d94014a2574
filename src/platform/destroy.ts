import { existsSync, rmSync } from 'node:fs';
import type { Home } from './home.ts';
import { down } from './down.ts';
import { PlatformDown } from './reach.ts';

/** Stops the platform if it is up, then removes all that it keeps. */
export async function destroy(home: Home): Promise<void> {
  if (!existsSync(home.folder)) return;
  try {
    await down(home);
  } catch (error) {
    if (!(error instanceof PlatformDown)) throw error;
  }
  rmSync(home.folder, { recursive: true, force: true });
}
