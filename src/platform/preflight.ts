import { mkdirSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '#kernel/errors.ts';
import type { Home } from './home.ts';
import type { PlatformSettings } from './settings.ts';

/** The machine cannot run the platform as it is; the message says what to do. */
export class PreflightFailed extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('preflight_failed', message, options);
  }
}

const NEEDED_DISK_GB = 3;

/** Errors: PreflightFailed, before anything was changed. */
export function checkMachine(
  home: Home,
  machine: { platform: string; uid: number | undefined; backend: PlatformSettings['container_backend'] },
): void {
  if (machine.platform !== 'linux') {
    throw new PreflightFailed(
      `Ingot runs its containers on Linux, and this is ${machine.platform}. Use a Linux machine or a virtual one, such as Debian 12.`,
    );
  }
  if (machine.uid !== 0 && machine.backend === 'crun') {
    throw new PreflightFailed(
      'Ingot makes containers and networks, for which it must be root. Run it with sudo, or as root. For development alone, "ingot up --container-backend process" runs apps as plain processes, which nothing isolates.',
    );
  }
  try {
    mkdirSync(home.folder, { recursive: true, mode: 0o711 });
  } catch (error) {
    throw new PreflightFailed(`The folder ${home.folder} cannot be made. Choose another with INGOT_HOME.`, {
      cause: error,
    });
  }
  if (machine.uid === 0) checkIsOpen(home);
  const { bavail, bsize } = statfsSync(home.folder);
  const free_gb = (bavail * bsize) / 1024 ** 3;
  if (free_gb < NEEDED_DISK_GB) {
    throw new PreflightFailed(
      `Only ${free_gb.toFixed(1)} GB are free at ${home.folder}, and Ingot needs ${NEEDED_DISK_GB}. Free some, or choose another folder with INGOT_HOME.`,
    );
  }
}

/** PostgreSQL has a user of its own where we are root. */
function checkIsOpen(home: Home): void {
  for (let folder = dirname(home.folder); folder !== dirname(folder); folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) !== 0) continue;
    throw new PreflightFailed(
      `The folder ${folder} is closed to other users, and PostgreSQL runs as one of its own. Choose another place with INGOT_HOME, such as /var/lib/ingot.`,
    );
  }
}

/** Whether nothing listens on a port of the address. */
export async function isPortFree(host: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}

/**
 * The port to listen on: the one asked for, else the first free one of `usual`.
 * Errors: PreflightFailed naming the port when there is none.
 */
export async function choosePort(host: string, asked: number | undefined, usual: readonly number[]): Promise<number> {
  for (const port of asked === undefined ? usual : [asked]) {
    if (await isPortFree(host, port)) return port;
  }
  const tried = asked === undefined ? usual.join(' and ') : String(asked);
  throw new PreflightFailed(
    `Port ${tried} of ${host} is taken by another program. Stop that program, or choose other ports: ingot up --http-port N --https-port N --ssh-port N.`,
  );
}
