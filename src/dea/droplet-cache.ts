import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackTarGz } from '#archive/unpack-tar.ts';
import type { Clock } from '#kernel/clock.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';
import { download, DownloadFailed } from './download.ts';

export interface DropletCacheOptions {
  folder: string;
  max_cached_mb: number;
  max_droplet_bytes: number;
  clock: Clock;
  log: Log;
}

/** Files of apps belong to vcap, who has this id in every stack. */
export const VCAP = { uid: 2000, gid: 2000 };

const MAX_ENTRIES = 1_000_000;

/**
 * Droplets unpacked once each, as a folder to lay over a stack: `<sha256>/layer/home/vcap/…`. It appears by one rename, so
 * what is half done is never used; leftovers of a killed DEA go when it opens again.
 */
export class DropletCache {
  readonly #options: DropletCacheOptions;
  readonly #users = new Map<string, number>();
  readonly #fetching = new Map<string, Promise<void>>();

  private constructor(options: DropletCacheOptions) {
    this.#options = options;
  }

  static async open(options: DropletCacheOptions): Promise<DropletCache> {
    await mkdir(options.folder, { recursive: true });
    for (const name of await readdir(options.folder)) {
      if (name.endsWith('.partial')) await rm(join(options.folder, name), { recursive: true, force: true });
    }
    return new DropletCache(options);
  }

  /**
   * The layer of a droplet, fetched if need be; starts of one droplet at the same time share one download. Give it back with
   * `release`. Errors: DownloadFailed, DigestMismatch, those of the archive room.
   */
  async acquire(sha256: string, uri: string): Promise<string> {
    this.hold(sha256);
    try {
      const folder = join(this.#options.folder, sha256);
      if (!(await exists(folder))) {
        let fetching = this.#fetching.get(sha256);
        if (!fetching) {
          fetching = this.#fetch(sha256, uri).finally(() => this.#fetching.delete(sha256));
          this.#fetching.set(sha256, fetching);
        }
        await fetching;
      }
      return join(folder, 'layer');
    } catch (error) {
      this.release(sha256);
      throw error;
    }
  }

  /** Counts a user of a droplet that is here already: an instance that outlived us. */
  hold(sha256: string): void {
    this.#users.set(sha256, (this.#users.get(sha256) ?? 0) + 1);
  }

  release(sha256: string): void {
    const users = (this.#users.get(sha256) ?? 0) - 1;
    if (users > 0) {
      this.#users.set(sha256, users);
      return;
    }
    this.#users.delete(sha256);
    const now = new Date(this.#options.clock.now());
    utimes(join(this.#options.folder, sha256), now, now).catch(() => {});
  }

  /** Deletes unused droplets, those longest unused first, until the rest is within the limit. */
  async reap(): Promise<void> {
    const { folder, max_cached_mb, log } = this.#options;
    const held: { name: string; bytes: number; used_ms: number }[] = [];
    for (const name of await readdir(folder)) {
      if (name.endsWith('.partial')) continue;
      const path = join(folder, name);
      const bytes = Number(await readFile(join(path, 'bytes'), 'utf8').catch(() => '0'));
      held.push({ name, bytes, used_ms: (await stat(path)).mtimeMs });
    }
    let total = held.reduce((sum, droplet) => sum + droplet.bytes, 0);
    for (const { name, bytes } of held.sort((a, b) => a.used_ms - b.used_ms)) {
      if (total <= max_cached_mb * 1024 * 1024) return;
      if (this.#users.has(name)) continue;
      // Renamed first, in one step without a wait, so that no start can find it half deleted.
      const doomed = join(folder, `${name}.${randomBytes(4).toString('hex')}.partial`);
      await rename(join(folder, name), doomed);
      await rm(doomed, { recursive: true, force: true });
      total -= bytes;
      log.info({ droplet_sha256: name, bytes }, 'droplet evicted');
    }
  }

  async #fetch(sha256: string, uri: string): Promise<void> {
    const { clock, folder, log } = this.#options;
    const started_ms = clock.monotonic();
    await retry(async () => await this.#fetchOnce(sha256, uri), {
      clock,
      attempts: 4,
      first_delay_ms: 200,
      max_delay_ms: 2000,
      isWorthRetrying: (error) => error instanceof DownloadFailed && !error.is_final,
    });
    const duration_ms = Math.round(clock.monotonic() - started_ms);
    log.info({ droplet_sha256: sha256, duration_ms, folder }, 'droplet unpacked');
  }

  async #fetchOnce(sha256: string, uri: string): Promise<void> {
    const final = join(this.#options.folder, sha256);
    const partial = `${final}.${randomBytes(4).toString('hex')}.partial`;
    const home = join(partial, 'layer/home/vcap');
    const isRoot = process.getuid?.() === 0;
    try {
      await mkdir(join(home, 'tmp'), { recursive: true });
      const limits = { max_bytes: this.#options.max_droplet_bytes, max_entries: MAX_ENTRIES };
      const { bytes } = await download(uri, { what: 'droplet', sha256 }, async (body) => {
        return await unpackTarGz(body, home, { ...limits, links: 'kept', ...(isRoot && { owner: VCAP }) });
      });
      for (const path of [join(partial, 'layer'), join(partial, 'layer/home'), home, join(home, 'tmp')])
        await chmod(path, 0o755);
      if (isRoot) for (const path of [home, join(home, 'tmp')]) await chown(path, VCAP.uid, VCAP.gid);
      await writeFile(join(partial, 'bytes'), String(bytes));
      await rename(partial, final);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
