import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { DiskTooSmall } from './btrfs-store.ts';
import { type DiskStore, mountImage } from './disk-store.ts';
import { MS_NOATIME, MS_NODEV, unmount } from './syscalls.ts';

const execute = promisify(execFile);
const MB = 1024 * 1024;

/** A sparse ext4 image on a loop device for each container: slower to make (10 ms), but there on every kernel. */
export class LoopStore implements DiskStore {
  readonly kind = 'loop';
  readonly #images: string;
  readonly #folder: string;

  private constructor(images: string, folder: string) {
    this.#images = images;
    this.#folder = folder;
  }

  /** Errors: DiskTooSmall. */
  static open(options: { images: string; folder: string; size_mb: number }): LoopStore {
    const { images, folder, size_mb } = options;
    for (const path of [images, folder]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const disk = statfsSync(images);
    const free_mb = Math.floor((disk.bavail * disk.bsize) / MB);
    if (readdirSync(images).length === 0 && free_mb < size_mb) {
      throw new DiskTooSmall(dirname(images), { needed_mb: size_mb, free_mb });
    }
    return new LoopStore(images, folder);
  }

  async create(name: string, bytes: number): Promise<string> {
    const [image, folder] = [join(this.#images, name), join(this.#folder, name)];
    writeFileSync(image, '', { mode: 0o600 });
    truncateSync(image, Math.max(bytes, MB));
    // No journal: nothing in it outlives a crash of the machine. Lazy tables: nothing is written before it is needed.
    const lazy = 'lazy_itable_init=1,nodiscard';
    await execute('mkfs.ext4', ['-q', '-F', '-m', '0', '-O', '^has_journal,^resize_inode', '-E', lazy, image]);
    mkdirSync(folder, { recursive: true });
    await mountImage(image, { target: folder, type: 'ext4', flags: MS_NODEV | MS_NOATIME });
    rmSync(join(folder, 'lost+found'), { recursive: true, force: true });
    return folder;
  }

  /** A mounted image can't shrink, and to grow takes CAP_SYS_RESOURCE, which hosts may lack: refused rather than half held. */
  setLimit(name: string, bytes: number): Promise<void> {
    if (bytes === statSync(join(this.#images, name)).size) return Promise.resolve();
    return Promise.reject(new Error('with an image for each container (disk_store.backend loop) its size is for good'));
  }

  bytesUsed(name: string): number {
    const disk = statfsSync(join(this.#folder, name));
    return (disk.blocks - disk.bfree) * disk.bsize;
  }

  remove(name: string): Promise<void> {
    const folder = join(this.#folder, name);
    if (existsSync(folder)) {
      unmount(folder);
      rmSync(folder, { recursive: true, force: true });
    }
    rmSync(join(this.#images, name), { force: true });
    return Promise.resolve();
  }

  list(): string[] {
    return readdirSync(this.#images);
  }
}
