import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#kernel/clock.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';

export interface FolderCacheOptions {
  folder: string;
  max_cached_mb: number;
  /** What is kept, in the log: "droplet". */
  what: string;
  clock: Clock;
  log: Log;
}

export interface Filling {
  /** Fills an empty folder and tells the bytes of what is in it. Called again, with another, after a failure that is worth it. */
  fill: (partial: string) => Promise<number>;
  isWorthRetrying: (error: unknown) => boolean;
}

/**
 * Folders by the digest of what they were unpacked from, made once each and read by many. One appears by a rename, so what is half
 * done is never used; leftovers of a killed DEA go when it opens again.
 */
export class FolderCache {
  readonly #options: FolderCacheOptions;
  readonly #users = new Map<string, number>();
  readonly #filling = new Map<string, Promise<void>>();

  private constructor(options: FolderCacheOptions) {
    this.#options = options;
  }

  static async open(options: FolderCacheOptions): Promise<FolderCache> {
    await mkdir(options.folder, { recursive: true });
    for (const name of await readdir(options.folder)) {
      if (name.endsWith('.partial')) await rm(join(options.folder, name), { recursive: true, force: true });
    }
    return new FolderCache(options);
  }

  /**
   * The folder of a digest, filled if need be; whoever wants the same at the same time shares one filling. Give it back with
   * `release`. Errors: those of `fill`.
   */
  async acquire(digest: string, filling: Filling): Promise<string> {
    this.hold(digest);
    try {
      const folder = join(this.#options.folder, digest);
      if (!(await exists(folder))) {
        let filled = this.#filling.get(digest);
        if (!filled) {
          filled = this.#fill(digest, filling).finally(() => this.#filling.delete(digest));
          this.#filling.set(digest, filled);
        }
        await filled;
      }
      return folder;
    } catch (error) {
      this.release(digest);
      throw error;
    }
  }

  /** Counts a user of what is here already: an instance that outlived us. */
  hold(digest: string): void {
    this.#users.set(digest, (this.#users.get(digest) ?? 0) + 1);
  }

  release(digest: string): void {
    const users = (this.#users.get(digest) ?? 0) - 1;
    if (users > 0) {
      this.#users.set(digest, users);
      return;
    }
    this.#users.delete(digest);
    const now = new Date(this.#options.clock.now());
    utimes(join(this.#options.folder, digest), now, now).catch(() => {});
  }

  /** Deletes what nobody uses, the longest unused first, until the rest is within the limit. */
  async reap(): Promise<void> {
    const { folder, max_cached_mb, what, log } = this.#options;
    const held: { digest: string; bytes: number; used_ms: number }[] = [];
    for (const digest of await readdir(folder)) {
      if (digest.endsWith('.partial')) continue;
      const path = join(folder, digest);
      const bytes = Number(await readFile(join(path, 'bytes'), 'utf8').catch(() => '0'));
      held.push({ digest, bytes, used_ms: (await stat(path)).mtimeMs });
    }
    let total = held.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { digest, bytes } of held.sort((a, b) => a.used_ms - b.used_ms)) {
      if (total <= max_cached_mb * 1024 * 1024) return;
      if (this.#users.has(digest)) continue;
      // Renamed first, in one step without a wait, so that no start can find it half deleted.
      const doomed = this.#partial(digest);
      await rename(join(folder, digest), doomed);
      await rm(doomed, { recursive: true, force: true });
      total -= bytes;
      log.info({ what, digest, bytes }, 'evicted from the cache');
    }
  }

  async #fill(digest: string, { fill, isWorthRetrying }: Filling): Promise<void> {
    const { clock, log, what } = this.#options;
    const from_ms = clock.monotonic();
    const patience = { attempts: 4, first_delay_ms: 200, max_delay_ms: 2000 };
    await retry(async () => await this.#fillOnce(digest, fill), { clock, ...patience, isWorthRetrying });
    log.info({ what, digest, duration_ms: Math.round(clock.monotonic() - from_ms) }, 'unpacked into the cache');
  }

  async #fillOnce(digest: string, fill: Filling['fill']): Promise<void> {
    const partial = this.#partial(digest);
    try {
      await mkdir(partial);
      const bytes = await fill(partial);
      await writeFile(join(partial, 'bytes'), String(bytes));
      await rename(partial, join(this.#options.folder, digest));
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
  }

  #partial(digest: string): string {
    return join(this.#options.folder, `${digest}.${randomBytes(4).toString('hex')}.partial`);
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
