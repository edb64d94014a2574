import { readFileSync, readdirSync } from 'node:fs';
import { systemErrorCode } from '#kernel/errors.ts';

/** A process that can't be mistaken for another: numbers are used again, the time of the start tells them apart. */
export interface ProcessIdentity {
  pid: number;
  /** which boot of the machine, and clock ticks since */
  started: string;
}

const BOOT = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);

/** Undefined when there is no such process, or only its corpse. */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  const [state, started] = [fields?.[0], fields?.[19]];
  return state === 'Z' || state === 'X' || started === undefined ? undefined : { pid, started: `${BOOT}:${started}` };
}

/** The first argument of a process, what it was started as; undefined when it is gone. */
export function commandOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0];
  } catch {
    return undefined;
  }
}

/** The process group of a process; undefined when it is gone. */
export function groupOf(pid: number): number | undefined {
  const group = Number(statFields(pid)?.[2]);
  return group > 0 ? group : undefined;
}

/** What /proc/PID/stat says behind the name, from the state on (proc(5)). */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.started === process.started;
}

/** Sends a signal; a process that is gone is no error. A negative pid means its group. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

/** Processes of the machine whose command line has all of `words` as arguments or within them. */
export function processesWith(words: readonly string[]): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        const line = readFileSync(`/proc/${entry}/cmdline`, 'utf8');
        return words.every((word) => line.includes(word));
      } catch {
        return false; // gone meanwhile
      }
    })
    .map(Number);
}
