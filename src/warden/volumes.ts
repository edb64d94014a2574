import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '#kernel/errors.ts';
import type { ContainerRecord } from './depot.ts';
import { mountImage } from './disk-store.ts';
import { MS_NODEV, MS_NOSUID, unmount } from './syscalls.ts';

const execute = promisify(execFile);
type BindMounts = ContainerRecord['bind_mounts'];

/** An image whose mount elsewhere would have two kernels' worth of caches write into it. */
export class ImageInUse extends AppError {
  constructor(image: string) {
    super('image_in_use', `${image} is mounted elsewhere`);
  }
}

/**
 * Images of volumes: each is mounted once, whichever containers share it, and no longer than one of them is there. The mounts are
 * the namespace's, so that a daemon that was killed finds them again.
 */
export class Volumes {
  readonly #folder: string;
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** The same with folders for images. Errors: ImageInUse; what mount says of a damaged image. */
  async mountAll(binds: BindMounts): Promise<BindMounts> {
    return await this.#exclusive(async () => {
      const mounted: BindMounts = [];
      for (const bind of binds)
        mounted.push(bind.image === true ? { ...bind, src_path: await this.#mount(bind.src_path) } : bind);
      return mounted;
    });
  }

  /** Unmounts what none of these names. */
  async unmountBut(binds: BindMounts): Promise<void> {
    await this.#exclusive(async () => {
      const kept = new Set(binds.filter(({ image }) => image).map(({ src_path }) => nameOf(src_path)));
      for (const name of readdirSync(this.#folder)) {
        if (kept.has(name)) continue;
        unmount(join(this.#folder, name));
        rmdirSync(join(this.#folder, name));
      }
      await Promise.resolve();
    });
  }

  async #mount(image: string): Promise<string> {
    const target = join(this.#folder, nameOf(image));
    mkdirSync(target, { recursive: true });
    if (statSync(target).dev !== statSync(this.#folder).dev) return target;
    if (!existsSync(image)) throw new AppError('image_absent', `there is no ${image}`);
    const { stdout } = await execute('losetup', ['--noheadings', '--output', 'NAME', '--associated', image]);
    if (stdout.trim() !== '') throw new ImageInUse(image);
    await mountImage(image, { target, type: 'ext4', flags: MS_NODEV | MS_NOSUID });
    rmSync(join(target, 'lost+found'), { recursive: true, force: true });
    return target;
  }

  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => {});
    return await turn;
  }
}

const nameOf = (image: string): string => createHash('sha256').update(image).digest('hex').slice(0, 32);
