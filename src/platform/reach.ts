import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '#kernel/errors.ts';
import type { Home } from './home.ts';
import { isAlive, listProcesses, type ProcessRecord } from './process-record.ts';
import { type InternalPorts, readPorts, readSettings } from './settings.ts';
import { readSecrets } from './secrets.ts';
import type { PlatformPlan } from './plan.ts';

export class PlatformDown extends AppError {
  constructor(home: Home) {
    super('platform_down', `No platform is up in ${home.folder}. Start it with "ingot up".`);
  }
}

const Reach = z.object({
  http_port: z.number().int(),
  https_port: z.number().int(),
  ssh_port: z.number().int().default(2222),
});

/** File in `run/` that tells other commands where the running platform listens. */
export const reachFile = (home: Home): string => join(home.run, 'reach.json');

export function supervisorOf(home: Home): ProcessRecord | undefined {
  return listProcesses(home).find((record) => record.name === 'supervisor' && isAlive(record));
}

/** The plan of the platform that is up. Errors: PlatformDown. */
export function runningPlan(home: Home): PlatformPlan {
  const ports = readPorts(home);
  if (!supervisorOf(home) || !ports) throw new PlatformDown(home);
  const reach = Reach.parse(JSON.parse(readFileSync(reachFile(home), 'utf8')));
  // One that is up has chosen all of them.
  const all = ports as InternalPorts;
  return { home, settings: readSettings(home), secrets: readSecrets(home), ports: all, ...reach };
}
