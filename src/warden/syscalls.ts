import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import koffi from 'koffi';

/**
 * System calls that neither Node nor a quick command offers. All of them return at once or within a millisecond or two, since
 * they hold the event loop. Numbers and structures are those of Linux's uapi headers, the same on x86-64 and arm64.
 */
const libc = koffi.load(null);

type Call = (...args: (number | bigint | string | Buffer | null)[]) => number;

const c = {
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ) as unknown as Call,
  umount2: libc.func('int umount2(const char *target, int flags)') as unknown as Call,
  open: libc.func('int open(const char *path, int flags)') as unknown as Call,
  close: libc.func('int close(int fd)') as unknown as Call,
  ioctl: libc.func('int ioctl(int fd, unsigned long request, uint8_t *argument)') as unknown as Call,
  setns: libc.func('int setns(int fd, int type)') as unknown as Call,
  mknod: libc.func('int mknod(const char *path, unsigned int mode, unsigned long device)') as unknown as Call,
  setxattr: libc.func(
    'int setxattr(const char *path, const char *name, const char *value, size_t size, int flags)',
  ) as unknown as Call,
  lseek: libc.func('int64_t lseek(int fd, int64_t offset, int whence)') as unknown as Call,
  flock: libc.func('int flock(int fd, int operation)') as unknown as Call,
  fcntl: libc.func('int fcntl(int fd, int command, int argument)') as unknown as Call,
  openpty: libc.func(
    'int openpty(int *ours, int *theirs, void *name, void *modes, const uint8_t *size)',
  ) as unknown as Call,
  fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)') as unknown as Call,
  socket: libc.func('int socket(int domain, int type, int protocol)') as unknown as Call,
  send: libc.func('long send(int fd, const uint8_t *data, size_t length, int flags)') as unknown as Call,
  recv: libc.func('long recv(int fd, uint8_t *data, size_t length, int flags)') as unknown as Call,
  open_tree: libc.func('long syscall(long number, int dirfd, const char *path, unsigned int flags)') as unknown as Call,
  move_mount: libc.func(
    'long syscall(long number, int from, const char *from_path, int to, const char *to_path, unsigned int flags)',
  ) as unknown as Call,
  pidfd_open: libc.func('long syscall(long number, int pid, unsigned int flags)') as unknown as Call,
  pidfd_getfd: libc.func('long syscall(long number, int pidfd, int fd, unsigned int flags)') as unknown as Call,
  mount_setattr: libc.func(
    'long syscall(long number, int fd, const char *path, unsigned int flags, const uint8_t *attr, size_t size)',
  ) as unknown as Call,
};

const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_mount_setattr = 442;
const SYS_pidfd_open = 434;
const SYS_pidfd_getfd = 438;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const O_CLOEXEC = 0x80000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_RDONLY = 1n;
const MOUNT_ATTR_IDMAP = 0x100000n;

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_NOATIME = 1024;
export const MS_BIND = 4096;
export const MS_MOVE = 8192;
export const MS_PRIVATE = 0x40000;
const MNT_DETACH = 2;

/** A system call that failed, with Node's names for the reason (`code` is `ENOENT` and so on). */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(call: string, errno: number) {
    super(`${call}: ${getSystemErrorMessage(-errno)}`);
    this.name = 'SystemCallError';
    this.code = getSystemErrorName(-errno);
  }
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}

export function mount(options: { source: string; target: string; type?: string; flags?: number; data?: string }): void {
  const { source, target, type = null, flags = 0, data = null } = options;
  checked(`mount ${type ?? 'bind'} on ${target}`, c.mount(source, target, type, flags, data));
}

/** Unmounts; what is not mounted (or not there) is no error. */
export function unmount(target: string): void {
  const result = c.umount2(target, MNT_DETACH);
  if (result === 0) return;
  const error = new SystemCallError(`unmount ${target}`, koffi.errno());
  if (error.code !== 'EINVAL' && error.code !== 'ENOENT') throw error;
}

export function withFile<T>(path: string, flags: number, work: (fd: number) => T): T {
  const fd = checked(`open ${path}`, c.open(path, flags | O_CLOEXEC));
  try {
    return work(fd);
  } finally {
    c.close(fd);
  }
}

/** `argument` is read and written in place. */
export function ioctl(fd: number, request: number, argument: Buffer): void {
  checked(`ioctl 0x${request.toString(16)}`, c.ioctl(fd, request, argument));
}

/**
 * A bind mount of `source` on `target` whose owners on disk are seen through the user namespace `userns`: uid 0 on disk is
 * the container's root. Linux 5.12 and a file system that allows it. Errors: SystemCallError, EINVAL where it does not.
 */
export function mountIdMapped(options: { source: string; target: string; userns: string; isReadOnly: boolean }): void {
  const { source, target, userns, isReadOnly } = options;
  const tree = checked(
    `open_tree ${source}`,
    c.open_tree(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC),
  );
  try {
    withFile(userns, 0, (userns_fd) => {
      const attributes = Buffer.alloc(32); // struct mount_attr: set, clear, propagation, userns_fd
      attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP | (isReadOnly ? MOUNT_ATTR_RDONLY : 0n), 0);
      attributes.writeBigUInt64LE(BigInt(userns_fd), 24);
      checked(
        `mount_setattr idmap ${source}`,
        c.mount_setattr(SYS_mount_setattr, tree, '', AT_EMPTY_PATH | AT_RECURSIVE, attributes, attributes.length),
      );
    });
    checked(`move_mount ${target}`, c.move_mount(SYS_move_mount, tree, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
  } finally {
    c.close(tree);
  }
}

/** Runs `work` with this thread in the network namespace of process `pid`; nothing else of ours can run meanwhile. */
export function inNetworkOf<T>(pid: number, work: () => T): T {
  const CLONE_NEWNET = 0x40000000;
  return withFile('/proc/thread-self/ns/net', 0, (home) =>
    withFile(`/proc/${pid}/ns/net`, 0, (target) => {
      checked('setns', c.setns(target, CLONE_NEWNET));
      try {
        return work();
      } finally {
        checked('setns back', c.setns(home, CLONE_NEWNET));
      }
    }),
  );
}

/** Sends one netlink request (route family) and gives the kernel's answer of at most 32 KiB. */
export function netlinkRoute(message: Buffer): Buffer {
  const AF_NETLINK = 16;
  const SOCK_RAW_CLOEXEC = 3 | O_CLOEXEC;
  const fd = checked('socket', c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0));
  try {
    checked('send', c.send(fd, message, message.length, 0));
    const answer = Buffer.alloc(32_768);
    return answer.subarray(0, checked('recv', c.recv(fd, answer, answer.length, 0)));
  } finally {
    c.close(fd);
  }
}

/** Gives the disk space of a file's bytes back while its length stays; they read as zeros from then on. */
export function punchHole(fd: number, offset: number, length: number): void {
  const KEEP_SIZE_PUNCH_HOLE = 3;
  checked('fallocate', c.fallocate(fd, KEEP_SIZE_PUNCH_HOLE, offset, length));
}

/** Where data begins at or behind `offset`, past any hole; the end of the file when there is none. */
export function nextData(fd: number, offset: number): number {
  const SEEK_DATA = 3;
  const result = c.lseek(fd, offset, SEEK_DATA);
  if (result >= 0) return result;
  const error = new SystemCallError('lseek', koffi.errno());
  if (error.code === 'ENXIO') return offset;
  throw error;
}

/** What the overlay file system takes for "deleted here": a character device with the number 0. */
export function makeWhiteout(path: string): void {
  const S_IFCHR = 0o020000;
  checked(`mknod ${path}`, c.mknod(path, S_IFCHR, 0));
}

export function setExtendedAttribute(path: string, name: string, value: string): void {
  checked(`setxattr ${name} of ${path}`, c.setxattr(path, name, value, Buffer.byteLength(value), 0));
}

/** flock(2) without waiting; false when another process holds it. */
export function lockFile(fd: number): boolean {
  const LOCK_EX_NB = 2 | 4;
  return c.flock(fd, LOCK_EX_NB) === 0;
}

/** A new terminal: the end that we hold, which never blocks, and the end that a process has. */
export function openTerminal(size: { columns: number; rows: number }): { ours: number; theirs: number } {
  const [F_GETFL, F_SETFL, F_SETFD, O_NONBLOCK, FD_CLOEXEC] = [3, 4, 2, 0x800, 1];
  const [ours, theirs] = [Buffer.alloc(4), Buffer.alloc(4)];
  checked('openpty', c.openpty(ours, theirs, null, null, winsize(size)));
  const fd = ours.readInt32LE(0);
  checked('fcntl', c.fcntl(fd, F_SETFL, c.fcntl(fd, F_GETFL, 0) | O_NONBLOCK));
  for (const end of [fd, theirs.readInt32LE(0)]) checked('fcntl', c.fcntl(end, F_SETFD, FD_CLOEXEC));
  return { ours: fd, theirs: theirs.readInt32LE(0) };
}

export function resizeTerminal(fd: number, size: { columns: number; rows: number }): void {
  const TIOCSWINSZ = 0x5414;
  ioctl(fd, TIOCSWINSZ, winsize(size));
}

/** A descriptor of another process's open file `fd`, as our own. Linux 5.6. */
export function borrowFile(pid: number, fd: number): number {
  const process = checked('pidfd_open', c.pidfd_open(SYS_pidfd_open, pid, 0));
  try {
    return checked('pidfd_getfd', c.pidfd_getfd(SYS_pidfd_getfd, process, fd, 0));
  } finally {
    c.close(process);
  }
}

/** struct winsize */
function winsize({ columns, rows }: { columns: number; rows: number }): Buffer {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  return size;
}

/** A TCP socket that is not connected, in the network namespace that this thread is in. */
export function openTcpSocket(): number {
  const [AF_INET, SOCK_STREAM_NONBLOCK] = [2, 1 | 0x800];
  return checked('socket', c.socket(AF_INET, SOCK_STREAM_NONBLOCK | O_CLOEXEC, 0));
}
