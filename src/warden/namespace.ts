import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { MS_BIND, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, mount, unmount } from './syscalls.ts';

/**
 * Warden lives in a mount namespace of its own, pinned by a bind mount below the depot, so that a daemon that was killed comes
 * back to the mounts of its containers, and the host sees none of them. In it stand: `run`, a tmpfs for what must not
 * outlive the kernel's state, and a view of the cgroups that crun takes (1.8.1 refuses a host that has v1 and v2 at once).
 */
const NSFS = 0x6e736673;
const TMPFS = 0x01021994;
const CGROUP2 = 0x63677270;
const CGROUPS = '/sys/fs/cgroup';

interface Names {
  /** of this warden */
  name: string;
  depot: string;
}

/** Not below the depot: root of a container, who is nobody on the host, must get through all folders above its own. */
export function runFolder(name: string): string {
  return join('/run/ingot-warden', name);
}

export function isInNamespace({ name }: Names): boolean {
  const run = runFolder(name);
  return existsSync(run) && statfsSync(run).type === TMPFS && statSync(run).dev !== statSync(join(run, '..')).dev;
}

/**
 * Replaces this process by itself inside the namespace, which is made first where there is none; the pid, the arguments and
 * the standard streams stay, and the working folder. Does not return.
 */
export function enterNamespace({ name, depot }: Names): never {
  const folder = join(depot, 'namespace');
  const pin = join(folder, 'mnt');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const run = runFolder(name);
  mkdirSync(run, { recursive: true, mode: 0o711 });
  if (!existsSync(pin)) closeSync(openSync(pin, 'w'));
  if (!isPrepared(pin, run)) makeNamespace(folder, pin, run);
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const inside = ['nsenter', `--mount=${pin}`, '--', 'env', `--chdir=${process.cwd()}`, ...again];
  process.execve?.('/usr/bin/nsenter', inside);
  throw new Error('this Node cannot replace its process (process.execve)');
}

/** False also for one whose making was interrupted. */
function isPrepared(pin: string, run: string): boolean {
  if (statfsSync(pin).type !== NSFS) return false;
  const kind = execFileSync('nsenter', [`--mount=${pin}`, '--', 'stat', '--file-system', '--format=%T', run]);
  return kind.toString().trim() === 'tmpfs';
}

function makeNamespace(folder: string, pin: string, run: string): void {
  releaseNamespace(folder);
  // A mount namespace can only be pinned on a mount that is private.
  mount({ source: folder, target: folder, flags: MS_BIND });
  mount({ source: 'none', target: folder, flags: MS_PRIVATE });
  const tmpfs = ['mount', '-t', 'tmpfs', '-o', 'mode=0711,nosuid,nodev', 'ingot-warden', run];
  execFileSync('unshare', [`--mount=${pin}`, '--propagation', 'slave', '--', ...tmpfs]);
}

/** Lets go of the namespace, which ends with the last process in it. To be called from outside. */
export function releaseNamespace(folder: string): void {
  const isMounted = (path: string) => readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `);
  for (const path of [join(folder, 'mnt'), folder]) while (isMounted(path)) unmount(path);
}

/** Makes the cgroup view, once in the namespace's life. On a host with v2 alone there is nothing to do. */
export function prepareCgroups(name: string): 1 | 2 {
  if (statfsSync(CGROUPS).type === CGROUP2) return 2;
  if (!existsSync(join(CGROUPS, 'unified'))) return 1;
  const view = join(runFolder(name), 'cgroup');
  mkdirSync(view, { recursive: true });
  mount({
    source: 'ingot-cgroup',
    target: view,
    type: 'tmpfs',
    flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
    data: 'mode=755',
  });
  for (const controller of readdirSync(CGROUPS)) {
    if (controller === 'unified') continue;
    mkdirSync(join(view, controller));
    mount({ source: join(CGROUPS, controller), target: join(view, controller), flags: MS_BIND });
  }
  mount({ source: view, target: CGROUPS, flags: MS_MOVE });
  return 1;
}
