import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#kernel/clock.ts';

/** Which process an engine is. `started` tells it from one that got its id later. */
const EngineRecord = z.object({
  pid: z.number().int(),
  started: z.string(),
  stop_signal: z.enum(['SIGINT', 'SIGTERM']),
});
export type EngineRecord = z.infer<typeof EngineRecord>;

const STOP_LIMIT_MS = 20_000;
const POLL_MS = 25;

const fileOf = (folder: string, name: string): string => join(folder, 'run', `${name}.json`);

/** Notes a process that was just started; undefined when it is gone already. */
export function noteEngine(
  folder: string,
  name: string,
  { pid, stop_signal }: Omit<EngineRecord, 'started'>,
): EngineRecord | undefined {
  const started = startTimeOf(pid);
  if (started === undefined) return undefined;
  const record = { pid, started, stop_signal };
  mkdirSync(join(folder, 'run'), { recursive: true, mode: 0o700 });
  // Half a record would leave a server that nobody knows.
  writeFileSync(`${fileOf(folder, name)}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${fileOf(folder, name)}.new`, fileOf(folder, name));
  return record;
}

export function readEngine(folder: string, name: string): EngineRecord | undefined {
  try {
    return EngineRecord.parse(JSON.parse(readFileSync(fileOf(folder, name), 'utf8')));
  } catch {
    return undefined;
  }
}

export function forgetEngine(folder: string, name: string): void {
  rmSync(fileOf(folder, name), { force: true });
}

export function isAlive({ pid, started }: EngineRecord): boolean {
  return startTimeOf(pid) === started;
}

/** Stops a process and waits for its end; kills it when it takes too long. True when it went by itself. */
export async function endProcess(record: EngineRecord, clock: Clock): Promise<boolean> {
  if (!isAlive(record)) return true;
  process.kill(record.pid, record.stop_signal);
  const end = clock.monotonic() + STOP_LIMIT_MS;
  let isPatient = true;
  while (isAlive(record)) {
    if (isPatient && clock.monotonic() > end) {
      isPatient = false;
      process.kill(record.pid, 'SIGKILL');
    }
    await clock.sleep(POLL_MS);
  }
  return isPatient;
}

/** The names of all that are on record. */
export function recordedEngines(folder: string): string[] {
  try {
    const files = readdirSync(join(folder, 'run'));
    return files.flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : [])).toSorted();
  } catch {
    return [];
  }
}

/** Ends all that are on record. */
export async function endRecorded(folder: string, clock: Clock): Promise<void> {
  await Promise.all(
    recordedEngines(folder).map(async (name) => {
      const record = readEngine(folder, name);
      if (record) await endProcess(record, clock);
      forgetEngine(folder, name);
    }),
  );
}

/**
 * The kernel's start time of a process (field 22 of /proc/PID/stat); undefined when there is none, or only its zombie.
 */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
