import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WardenClient } from '#http/warden-client.ts';
import { AppError } from '#kernel/errors.ts';
import { down } from './down.ts';
import { projectRoot, type Home } from './home.ts';
import { PlatformDown } from './reach.ts';
import { readSettings } from './settings.ts';

const WARDEN_LIMIT_MS = 30_000;

/**
 * Stops the platform if it is up, ends whatever containers are left, and removes all that it keeps and all that it made in the
 * kernel. Errors: AppError `not_destroyed` when containers cannot be ended; then nothing is removed.
 */
export async function destroy(home: Home): Promise<void> {
  if (!existsSync(home.folder)) return;
  try {
    await down(home);
  } catch (error) {
    if (!(error instanceof PlatformDown)) throw error;
  }
  const { name } = readSettings(home);
  const namespace = join(home.warden, 'namespace');
  if (existsSync(namespace)) {
    await endContainers(home);
    for (const mount of [join(namespace, 'mnt'), namespace]) execFileSync('umount', ['--lazy', '--quiet', mount]);
  }
  rmSync(join('/run/ingot-warden', name), { recursive: true, force: true });
  // Adding it first makes deleting it right whether or not it was there.
  execFileSync('nft', ['-f', '-'], { input: `add table inet ingot_${name}\ndelete table inet ingot_${name}` });
  rmSync(home.folder, { recursive: true, force: true });
}

/** Containers outlive every process of the platform; only a warden can end them. */
async function endContainers(home: Home): Promise<void> {
  const warden = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(projectRoot, 'src/platform/main.ts'),
      'run',
      'warden',
      '--config',
      home.config,
    ],
    { stdio: 'ignore' },
  );
  using client = new WardenClient({ socket_path: home.wardenSocket });
  try {
    for (let waited = 0; !(await isThere(client)); waited += 50) {
      if (waited > WARDEN_LIMIT_MS || warden.exitCode !== null) {
        throw new AppError(
          'not_destroyed',
          `Warden does not start, so containers may be left; its log is in ${home.logs}. Nothing was removed.`,
        );
      }
      await sleep(50);
    }
    for (const { handle } of await client.list()) await client.destroy(handle);
  } finally {
    if (warden.exitCode === null) {
      const gone = once(warden, 'exit');
      warden.kill('SIGTERM');
      await gone;
    }
  }
}

async function isThere(client: WardenClient): Promise<boolean> {
  try {
    await client.ping();
    return true;
  } catch {
    return false;
  }
}
