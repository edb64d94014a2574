import { setTimeout as sleep } from 'node:timers/promises';
import { endEngines } from '#brokers/remove.ts';
import { systemClock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';
import { createLog } from '#kernel/log.ts';
import type { Home } from './home.ts';
import { editHostsFile } from './hosts-file.ts';
import { isAlive } from './process-record.ts';
import { PlatformDown, supervisorOf } from './reach.ts';
import { removeServicesAddress, servicesCgroup } from './services-place.ts';
import { isolates, readSettings } from './settings.ts';
import { Supervisor } from './supervisor.ts';

const LIMIT_MS = 120_000;

/** Stops the platform, its apps included, and waits for its end. Errors: PlatformDown; AppError `still_up`. */
export async function down(home: Home): Promise<void> {
  const supervisor = supervisorOf(home);
  if (!supervisor) {
    await cleanUp(home);
    throw new PlatformDown(home);
  }
  process.kill(supervisor.pid, 'SIGTERM');
  for (let waited = 0; isAlive(supervisor); waited += 50) {
    if (waited > LIMIT_MS)
      throw new AppError(
        'still_up',
        `The platform (process ${supervisor.pid}) did not stop within ${LIMIT_MS / 1000} s; see its log in ${home.logs}.`,
      );
    await sleep(50);
  }
  await cleanUp(home);
}

/** What a supervisor that was killed could not do itself. */
export async function cleanUp(home: Home): Promise<void> {
  await new Supervisor(home, createLog({ component: 'supervisor', level: 'error' })).endLeftovers();
  const settings = readSettings(home);
  if (!isolates(settings)) return;
  await endEngines({ state_folder: home.services, cgroup: servicesCgroup(settings) }, systemClock);
  await removeServicesAddress(settings);
  editHostsFile(settings.name, []);
}
