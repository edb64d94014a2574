import { Socket } from 'node:net';
import koffi from 'koffi';
import type { Readable } from 'node:stream';

/**
 * Starts a program by posix_spawn, which shares our memory until the program runs. Node's own spawn copies the page tables
 * of the whole process and blocks for that, 1 ms at 45 MB resident and several at 110.
 *
 * Node knows nothing of these children: their end shows on a pipe that they hold, and `reap` takes their status.
 */
const libc = koffi.load(null);
const c = {
  pipe2: libc.func('int pipe2(int *ends, int flags)') as (ends: Buffer, flags: number) => number,
  close: libc.func('int close(int fd)') as (fd: number) => number,
  waitpid: libc.func('int waitpid(int pid, int *status, int options)') as (
    pid: number,
    status: Buffer,
    options: number,
  ) => number,
  sigaddset: libc.func('int sigaddset(void *set, int signal)') as (set: Buffer, signal: number) => number,
  actionsInit: libc.func('int posix_spawn_file_actions_init(void *actions)') as (actions: Buffer) => number,
  actionsOpen: libc.func(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, uint32_t mode)',
  ) as (actions: Buffer, fd: number, path: string, flags: number, mode: number) => number,
  actionsDup: libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)') as (
    actions: Buffer,
    fd: number,
    as: number,
  ) => number,
  actionsDestroy: libc.func('int posix_spawn_file_actions_destroy(void *actions)') as (actions: Buffer) => number,
  attrInit: libc.func('int posix_spawnattr_init(void *attr)') as (attr: Buffer) => number,
  attrFlags: libc.func('int posix_spawnattr_setflags(void *attr, short flags)') as (
    attr: Buffer,
    flags: number,
  ) => number,
  attrDefaults: libc.func('int posix_spawnattr_setsigdefault(void *attr, const void *set)') as (
    attr: Buffer,
    set: Buffer,
  ) => number,
  attrMask: libc.func('int posix_spawnattr_setsigmask(void *attr, const void *set)') as (
    attr: Buffer,
    set: Buffer,
  ) => number,
  spawn: libc.func(
    'int posix_spawn(int *pid, const char *path, const void *actions, const void *attr, const char **argv, const char **env)',
  ) as (
    pid: Buffer,
    path: string,
    actions: Buffer,
    attr: Buffer,
    argv: (string | null)[],
    env: (string | null)[],
  ) => number,
};

const O_CLOEXEC = 0x80000;
const O_RDWR = 2;
const SETSIGDEF_SETSIGMASK_SETSID = 0x04 | 0x08 | 0x80;
const SIGPIPE = 13;
const WNOHANG = 1;
/** glibc's largest of the structures here takes 336 bytes. */
const STRUCTURE = 512;
const PIPE_FD = 3;

export interface QuickChild {
  pid: number;
  /** What the program writes on its file descriptor 3; ends when it, and whoever has that from it, is gone. */
  pipe: Readable;
  /** Its exit status, 128 + n for a signal; waits for its end unless told not to. Undefined: it runs, or was reaped. */
  reap(options?: { wait: boolean }): number | undefined;
}

/** `argv[0]` is a path. Standard streams are /dev/null, the session is its own, signals are as by default. */
export function quickSpawn(argv: readonly string[], env: Readonly<Record<string, string>>): QuickChild {
  const ends = Buffer.alloc(8);
  if (c.pipe2(ends, O_CLOEXEC) !== 0) throw new Error(`no pipe for ${argv[0]}: errno ${koffi.errno()}`);
  const [reader, writer] = [ends.readInt32LE(0), ends.readInt32LE(4)];
  const [actions, attributes, signals, mask, pid] = [STRUCTURE, STRUCTURE, STRUCTURE, STRUCTURE, 4].map((size) =>
    Buffer.alloc(size),
  ) as [Buffer, Buffer, Buffer, Buffer, Buffer];
  c.actionsInit(actions);
  for (const fd of [0, 1, 2]) c.actionsOpen(actions, fd, '/dev/null', O_RDWR, 0);
  c.actionsDup(actions, writer, PIPE_FD);
  c.attrInit(attributes);
  c.sigaddset(signals, SIGPIPE); // Node ignores it; what we start must not
  c.attrDefaults(attributes, signals);
  c.attrMask(attributes, mask);
  c.attrFlags(attributes, SETSIGDEF_SETSIGMASK_SETSID);
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const errno = c.spawn(pid, argv[0] ?? '', actions, attributes, [...argv, null], [...variables, null]);
  c.actionsDestroy(actions);
  c.close(writer);
  if (errno !== 0) {
    c.close(reader);
    throw new Error(`${argv[0]} can't be started: errno ${errno}`);
  }
  const number = pid.readInt32LE(0);
  return { pid: number, pipe: new Socket({ fd: reader, readable: true, writable: false }), reap: reaper(number) };
}

function reaper(pid: number): QuickChild['reap'] {
  return ({ wait } = { wait: true }) => {
    const status = Buffer.alloc(4);
    if (c.waitpid(pid, status, wait ? 0 : WNOHANG) !== pid) return undefined;
    const value = status.readInt32LE(0);
    const signal = value & 0x7f;
    return signal === 0 ? (value >> 8) & 0xff : 128 + signal;
  };
}
