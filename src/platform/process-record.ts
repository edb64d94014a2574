import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Home } from './home.ts';

/**
 * One running process of the platform, as its file in `run/` tells it. `started` is the kernel's start time of the process
 * (clock ticks after boot): a process id alone may have gone to another program since.
 */
const ProcessRecord = z.object({ name: z.string(), pid: z.number().int(), started: z.string(), since: z.string() });
export type ProcessRecord = z.infer<typeof ProcessRecord>;

const SUFFIX = '.process.json';

export function recordProcess(home: Home, name: string, pid: number): void {
  const record: ProcessRecord = { name, pid, started: startTimeOf(pid) ?? '', since: new Date().toISOString() };
  writeFileSync(join(home.run, name + SUFFIX), JSON.stringify(record), { mode: 0o600 });
}

export function forgetProcess(home: Home, name: string): void {
  rmSync(join(home.run, name + SUFFIX), { force: true });
}

/** All recorded processes, those that are gone too. */
export function listProcesses(home: Home): ProcessRecord[] {
  let names: string[];
  try {
    names = readdirSync(home.run);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith(SUFFIX))
    .flatMap((name) => {
      try {
        return [ProcessRecord.parse(JSON.parse(readFileSync(join(home.run, name), 'utf8')))];
      } catch {
        // Half-written by a process that died: nothing to go by.
        return [];
      }
    });
}

/** Whether the very process that was recorded still runs. */
export function isAlive(record: ProcessRecord): boolean {
  return record.started !== '' && startTimeOf(record.pid) === record.started;
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process or only its zombie. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/**
 * Resident memory in bytes of a process, and with `has_own_children` of all below it (PostgreSQL has one for each connection),
 * shared pages counted in proportion; 0 when the process is gone.
 */
export function memoryOf(pid: number, has_own_children: boolean): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const children = has_own_children ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim() : '';
    const below =
      children === '' ? 0 : children.split(' ').reduce((sum, child) => sum + memoryOf(Number(child), true), 0);
    return Number(/^Pss: +(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024 + below;
  } catch {
    return 0;
  }
}
