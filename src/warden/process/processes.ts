import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { systemErrorCode } from '#kernel/errors.ts';

const run = promisify(execFile);

/** What `ps` of any Unix tells of the processes of some groups. */
export interface GroupFigures {
  pids: number;
  rss_bytes: number;
  cpu_ns: number;
}

/** When a process started, in the words of ps; undefined when it is gone. With its number it can't be mistaken. */
export async function startOf(pid: number): Promise<string | undefined> {
  const { stdout } = await run('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return stdout.trim() || undefined;
}

export function isGroupAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false;
    if (systemErrorCode(error) === 'EPERM') return true;
    throw error;
  }
}

/** One that is gone is no error. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

export async function figuresOf(groups: readonly number[]): Promise<GroupFigures> {
  const { stdout } = await run('ps', ['-A', '-o', 'pgid=,rss=,time='], { maxBuffer: 1 << 26 });
  const wanted = new Set(groups);
  const sum: GroupFigures = { pids: 0, rss_bytes: 0, cpu_ns: 0 };
  for (const line of stdout.split('\n')) {
    const [group = '', rss = '', time = ''] = line.trim().split(/\s+/);
    if (!wanted.has(Number(group))) continue;
    sum.pids += 1;
    sum.rss_bytes += Number(rss) * 1024;
    sum.cpu_ns += secondsOf(time) * 1e9;
  }
  return sum;
}

/** `[[days-]hours:]minutes:seconds[.hundredths]` */
function secondsOf(time: string): number {
  const [days, clock] = time.includes('-') ? time.split('-', 2) : ['0', time];
  return (clock ?? '').split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400;
}
