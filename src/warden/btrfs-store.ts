import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '#kernel/errors.ts';
import { type DiskStore, mountImage } from './disk-store.ts';
import { ioctl, MS_NOATIME, MS_NODEV, SystemCallError, withFile } from './syscalls.ts';

const execute = promisify(execFile);

export class DiskTooSmall extends AppError {
  constructor(folder: string, numbers: { needed_mb: number; free_mb: number }) {
    super(
      'disk_too_small',
      `disk_store.size_mb asks for ${numbers.needed_mb} MB more below ${folder}, where ${numbers.free_mb} MB are free: ` +
        'make room or lower it',
    );
  }
}

// btrfs.h; the size of the argument is part of each number.
const SUBVOL_CREATE = 0x5000940e;
const SNAP_DESTROY = 0x5000940f;
const QUOTA_CTL = 0xc0109428;
const QGROUP_LIMIT = 0x8030942b;
const INO_LOOKUP = 0xd0009412;
const ENABLE_SIMPLE_QUOTA = 4n;
const LIMIT_MAX_RFER = 1n;
const FIRST_FREE_OBJECTID = 256n;
const O_DIRECTORY = 0x10000;
const MB = 1024 * 1024;

/** One sparse image on a loop device, a subvolume with a simple quota for each container (Linux 6.7). */
export class BtrfsStore implements DiskStore {
  readonly kind = 'btrfs';
  readonly #folder: string;
  readonly #qgroups: string;

  private constructor(folder: string, uuid: string) {
    this.#folder = folder;
    this.#qgroups = `/sys/fs/btrfs/${uuid}/qgroups`;
  }

  /** Mounts `image` on `folder`; makes and formats it first where there is none. Errors: DiskTooSmall; others where btrfs lacks. */
  static async open(options: { image: string; folder: string; size_mb: number }): Promise<BtrfsStore> {
    const { image, folder, size_mb } = options;
    mkdirSync(folder, { recursive: true });
    if (statSync(folder).dev === statSync(dirname(folder)).dev) {
      if (!existsSync(image)) await format(image, size_mb);
      const flags = MS_NODEV | MS_NOATIME;
      await mountImage(image, { target: folder, type: 'btrfs', flags, data: 'commit=5,discard=async' });
    }
    enableQuota(folder);
    return new BtrfsStore(folder, readFileSystemUuid(folder));
  }

  create(name: string, bytes: number): Promise<string> {
    withFile(this.#folder, O_DIRECTORY, (fd) => ioctl(fd, SUBVOL_CREATE, volumeArgument(name)));
    return this.setLimit(name, bytes).then(() => join(this.#folder, name));
  }

  setLimit(name: string, bytes: number): Promise<void> {
    const limit = Buffer.alloc(48); // qgroupid 0: the one of the subvolume that the file is in
    limit.writeBigUInt64LE(LIMIT_MAX_RFER, 8);
    limit.writeBigUInt64LE(BigInt(bytes), 16);
    withFile(join(this.#folder, name), O_DIRECTORY, (fd) => ioctl(fd, QGROUP_LIMIT, limit));
    return Promise.resolve();
  }

  bytesUsed(name: string): number {
    if (!existsSync(join(this.#folder, name))) return 0; // lost with its image
    const lookup = Buffer.alloc(4096);
    lookup.writeBigUInt64LE(FIRST_FREE_OBJECTID, 8);
    withFile(join(this.#folder, name), O_DIRECTORY, (fd) => ioctl(fd, INO_LOOKUP, lookup));
    const id = lookup.readBigUInt64LE(0);
    return Number(readFileSync(join(this.#qgroups, `0_${id}`, 'referenced'), 'utf8'));
  }

  remove(name: string): Promise<void> {
    try {
      withFile(this.#folder, O_DIRECTORY, (fd) => ioctl(fd, SNAP_DESTROY, volumeArgument(name)));
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'ENOENT') return Promise.reject(error);
    }
    return Promise.resolve();
  }

  list(): string[] {
    return readdirSync(this.#folder);
  }
}

async function format(image: string, size_mb: number): Promise<void> {
  const disk = statfsSync(dirname(image));
  const free_mb = Math.floor((disk.bavail * disk.bsize) / MB);
  if (free_mb < size_mb) throw new DiskTooSmall(dirname(image), { needed_mb: size_mb, free_mb });
  const unfinished = `${image}.unfinished`;
  writeFileSync(unfinished, '', { mode: 0o600 });
  truncateSync(unfinished, size_mb * MB);
  await execute('mkfs.btrfs', ['--quiet', '--force', '--metadata', 'single', '--data', 'single', unfinished]);
  await rename(unfinished, image);
}

function enableQuota(folder: string): void {
  const control = Buffer.alloc(16);
  control.writeBigUInt64LE(ENABLE_SIMPLE_QUOTA, 0);
  withFile(folder, O_DIRECTORY, (fd) => ioctl(fd, QUOTA_CTL, control));
}

function volumeArgument(name: string): Buffer {
  const argument = Buffer.alloc(4096);
  argument.write(name, 8);
  return argument;
}

/** BTRFS_IOC_FS_INFO: the uuid stands behind two 64-bit numbers. */
function readFileSystemUuid(folder: string): string {
  const FS_INFO = 0x8400941f;
  const info = Buffer.alloc(1024);
  withFile(folder, O_DIRECTORY, (fd) => ioctl(fd, FS_INFO, info));
  const hex = info.subarray(16, 32).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
