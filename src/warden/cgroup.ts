import { closeSync, constants, existsSync, openSync, readFileSync, readdirSync, rmdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerInfo, LimitRequest } from '#contracts/warden.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import { signalProcess } from './processes.ts';

const ROOT = '/sys/fs/cgroup';
const CPU_PERIOD_US = 100_000;

const IO_WEIGHTS: Record<1 | 2, readonly (readonly [controller: string, file: string])[]> = {
  1: [
    ['blkio', 'blkio.bfq.weight'],
    ['blkio', 'blkio.weight'],
  ],
  2: [
    ['', 'io.weight'],
    ['', 'io.bfq.weight'],
  ],
};

/** What a change of limits writes: file of the cgroup (with its controller on version 1) and value, in order. */
export type LimitWrite = readonly [controller: string, file: string, value: string];

/** The writes for a change of limits. On version 1 memory and memory+swap bound each other, so the order depends on the direction. */
export function limitWrites(version: 1 | 2, change: LimitRequest, isMemoryGrowing: boolean): LimitWrite[] {
  const writes: LimitWrite[] = [];
  const { memory_in_bytes, cpu_shares, cpu_quota, io_weight, pids } = change;
  if (memory_in_bytes !== undefined) {
    const value = String(memory_in_bytes);
    const both: LimitWrite[] = [
      ['memory', 'memory.limit_in_bytes', value],
      ['memory', 'memory.memsw.limit_in_bytes', value],
    ];
    // Swap counts as memory: what is beyond the limit has nowhere to go.
    if (version === 2) writes.push(['', 'memory.swap.max', '0'], ['', 'memory.max', value]);
    else writes.push(...(isMemoryGrowing ? both.reverse() : both));
  }
  if (cpu_shares !== undefined) {
    writes.push(
      version === 2 ? ['', 'cpu.weight', String(cpuWeight(cpu_shares))] : ['cpu', 'cpu.shares', String(cpu_shares)],
    );
  }
  if (cpu_quota !== undefined) {
    const quota = Math.round(cpu_quota * CPU_PERIOD_US);
    if (version === 2) writes.push(['', 'cpu.max', `${quota} ${CPU_PERIOD_US}`]);
    else writes.push(['cpu', 'cpu.cfs_period_us', String(CPU_PERIOD_US)], ['cpu', 'cpu.cfs_quota_us', String(quota)]);
  }
  // Which of them is there depends on the kernel's schedulers.
  if (io_weight !== undefined)
    for (const [controller, file] of IO_WEIGHTS[version]) writes.push([controller, file, String(io_weight)]);
  if (pids !== undefined) writes.push([version === 2 ? '' : 'pids', 'pids.max', String(pids)]);
  return writes;
}

/** Shares 2…262144 to weight 1…10000, as crun does it. */
export function cpuWeight(shares: number): number {
  return Math.floor(1 + ((shares - 2) * 9999) / 262_142);
}

/**
 * The two groups that hold those of a warden's containers. Weights count among siblings only: were builds in the group of the
 * apps, both together would take from the platform's processes what only apps should.
 */
export function groupPaths(name: string): [foreground: string, background: string] {
  return [`ingot-${name}`, `ingot-${name}-background`];
}

/** The control group of one container, or the one that holds many, in all hierarchies of a version 1 host or the one of version 2. */
export class Cgroup {
  readonly version: 1 | 2;
  /** below the root of each hierarchy */
  readonly path: string;
  readonly #root: string;

  constructor(version: 1 | 2, path: string, root = ROOT) {
    this.version = version;
    this.path = path;
    this.#root = root;
  }

  below(name: string): Cgroup {
    return new Cgroup(this.version, join(this.path, name), this.#root);
  }

  /** Names of the groups directly in it. */
  names(): string[] {
    const names = this.#folders()
      .filter((folder) => existsSync(folder))
      .flatMap((folder) => readdirSync(folder, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
    return [...new Set(names)];
  }

  processes(): number[] {
    return this.#read('pids', 'cgroup.procs').split('\n').filter(Boolean).map(Number);
  }

  /** Sends a signal to all processes but `spared`, with the group frozen meanwhile: what forks fast would get away. */
  signalAll(signal: NodeJS.Signals, spared?: number): void {
    // The kernel's own way, since 5.14.
    if (signal === 'SIGKILL' && spared === undefined && this.version === 2 && this.#write('', 'cgroup.kill', '1'))
      return;
    const [file, on, off] = this.version === 2 ? ['cgroup.freeze', '1', '0'] : ['freezer.state', 'FROZEN', 'THAWED'];
    this.#write('freezer', file, on);
    try {
      for (const pid of this.processes()) if (pid !== spared) signalProcess(pid, signal);
    } finally {
      this.#write('freezer', file, off);
    }
  }

  /** How often the kernel has killed here for want of memory. */
  oomKills(): number {
    const [controller, file] = this.version === 2 ? ['', 'memory.events'] : ['memory', 'memory.oom_control'];
    return field(this.#read(controller, file), 'oom_kill');
  }

  memory(): ContainerInfo['memory_stat'] {
    const stat = this.#read('memory', 'memory.stat');
    if (this.version === 2) {
      const usage = number(this.#read('', 'memory.current'));
      return {
        usage,
        rss: field(stat, 'anon'),
        cache: field(stat, 'file'),
        limit: number(this.#read('', 'memory.max')),
      };
    }
    return {
      usage: number(this.#read('memory', 'memory.usage_in_bytes')),
      rss: field(stat, 'total_rss'),
      cache: field(stat, 'total_cache'),
      limit: number(this.#read('memory', 'memory.limit_in_bytes')),
    };
  }

  cpu(): ContainerInfo['cpu_stat'] {
    const stat = this.#read('cpu', 'cpu.stat');
    if (this.version === 2) {
      return { usage_ns: field(stat, 'usage_usec') * 1000, throttled_ns: field(stat, 'throttled_usec') * 1000 };
    }
    return { usage_ns: number(this.#read('cpuacct', 'cpuacct.usage')), throttled_ns: field(stat, 'throttled_time') };
  }

  /** Its weight among those who want the same disk, and why it decides nothing where that is so. */
  io(): ContainerInfo['io_stat'] {
    for (const [controller, file] of IO_WEIGHTS[this.version]) {
      const weight = /\d+/.exec(this.#read(controller, file))?.[0];
      if (weight !== undefined) return { weight: Number(weight), note: ioNote(this.version, file) };
    }
    return { weight: null, note: 'this kernel has no I/O weights for control groups' };
  }

  setLimits(change: LimitRequest): void {
    const isGrowing = (change.memory_in_bytes ?? 0) > this.memory().limit;
    for (const [controller, file, value] of limitWrites(this.version, change, isGrowing)) {
      this.#write(controller, file, value);
    }
  }

  exists(): boolean {
    return this.#folders().some((folder) => existsSync(folder));
  }

  /** Removes the group once nothing runs in it; true when it is gone. */
  remove(): boolean {
    for (const folder of this.#folders()) {
      try {
        rmdirSync(folder);
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOENT') return false;
      }
    }
    return true;
  }

  #folders(): string[] {
    if (this.version === 2) return [this.#folder('')];
    return readdirSync(this.#root).map((controller) => this.#folder(controller));
  }

  #folder(controller: string): string {
    return join(this.#root, this.version === 2 ? '' : controller, this.path);
  }

  /** A group that is gone, or a kernel that lacks the setting (swap accounting), is no error; false says so. */
  #write(controller: string, file: string, value: string): boolean {
    try {
      // Without O_CREAT, for which a missing file would be one that may not be made.
      const fd = openSync(join(this.#folder(controller), file), constants.O_WRONLY);
      try {
        writeSync(fd, value);
      } finally {
        closeSync(fd);
      }
      return true;
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'ENODEV') throw error;
      return false;
    }
  }

  /** Empty for a group that is gone. */
  #read(controller: string, file: string): string {
    try {
      return readFileSync(join(this.#folder(controller), file), 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENODEV') return '';
      throw error;
    }
  }
}

/** io.weight is the I/O cost controller's; the others are bfq's, which has to be a disk's scheduler to have a say. */
function ioNote(version: 1 | 2, file: string): string | null {
  if (version === 2 && file === 'io.weight') return null;
  const schedulers = readdirSync('/sys/block').map((disk) => {
    const path = join('/sys/block', disk, 'queue/scheduler');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  });
  if (schedulers.some((text) => text.includes('[bfq]'))) return null;
  return 'no disk of this machine has the scheduler bfq: the weight decides nothing';
}

function number(text: string): number {
  const value = Number(text);
  return Number.isFinite(value) ? value : 0; // `max`
}

function field(text: string, name: string): number {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}
