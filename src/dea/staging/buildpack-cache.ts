import { createHash, randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { unpackZip } from '#archive/unpack-zip.ts';
import type { StagingBuildpack } from '#contracts/staging.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';
import { download, DownloadFailed } from '../download.ts';
import { rejectionOf } from '../rejection-of.ts';

const execute = promisify(execFile);
const LIMITS = { max_bytes: 4 * 1024 ** 3, max_entries: 200_000, links: 'inside' as const };

/** Buildpacks unpacked once per key, for staging containers to see read-only. */
export class BuildpackCache {
  readonly #options: { folder: string; max_cached_mb: number; clock: Clock; log: Log };
  readonly #fetching = new Map<string, Promise<string>>();
  readonly #users = new Map<string, number>();

  private constructor(options: { folder: string; max_cached_mb: number; clock: Clock; log: Log }) {
    this.#options = options;
  }

  static async open(options: {
    folder: string;
    max_cached_mb: number;
    clock: Clock;
    log: Log;
  }): Promise<BuildpackCache> {
    await mkdir(options.folder, { recursive: true });
    for (const name of await readdir(options.folder)) {
      if (name.endsWith('.partial')) await rm(join(options.folder, name), { recursive: true, force: true });
    }
    return new BuildpackCache(options);
  }

  /** The folder with the buildpack's `bin`. Give it back with `release`. Errors: DownloadFailed, DigestMismatch, Archive… */
  async acquire(buildpack: StagingBuildpack, signal: AbortSignal): Promise<string> {
    const name = nameOf(buildpack);
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    try {
      const folder = join(this.#options.folder, name);
      const isThere = await stat(join(folder, 'bytes')).then(
        () => true,
        () => false,
      );
      if (isThere) return join(folder, 'buildpack');
      let fetching = this.#fetching.get(name);
      if (!fetching) {
        // Not bound to one build's life: others may wait for the same.
        fetching = this.#fetch(buildpack, folder).finally(() => this.#fetching.delete(name));
        this.#fetching.set(name, fetching);
      }
      return await Promise.race([fetching, rejectionOf(signal)]);
    } catch (error) {
      this.release(buildpack);
      throw error;
    }
  }

  release(buildpack: StagingBuildpack): void {
    const name = nameOf(buildpack);
    const users = (this.#users.get(name) ?? 0) - 1;
    if (users > 0) this.#users.set(name, users);
    else this.#users.delete(name);
    const now = new Date(this.#options.clock.now());
    utimes(join(this.#options.folder, name), now, now).catch(() => {});
  }

  /** Deletes unused ones, those longest unused first, until the rest is within the limit. */
  async reap(): Promise<void> {
    const { folder, max_cached_mb } = this.#options;
    const held: { name: string; bytes: number; used_ms: number }[] = [];
    for (const name of await readdir(folder)) {
      if (name.endsWith('.partial')) continue;
      const bytes = Number(await readFile(join(folder, name, 'bytes'), 'utf8').catch(() => '0'));
      held.push({ name, bytes, used_ms: (await stat(join(folder, name))).mtimeMs });
    }
    let total = held.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { name, bytes } of held.sort((a, b) => a.used_ms - b.used_ms)) {
      if (total <= max_cached_mb * 1024 * 1024) return;
      if (this.#users.has(name)) continue;
      const doomed = join(folder, `${name}.${randomBytes(4).toString('hex')}.partial`);
      await rename(join(folder, name), doomed);
      await rm(doomed, { recursive: true, force: true });
      total -= bytes;
    }
  }

  async #fetch(buildpack: StagingBuildpack, folder: string): Promise<string> {
    const partial = `${folder}.${randomBytes(4).toString('hex')}.partial`;
    try {
      await mkdir(partial);
      const zip = join(partial, 'zip');
      const what = `buildpack ${buildpack.name}`;
      const { sha256 } = buildpack;
      const attempt = async (): Promise<void> => {
        await download(buildpack.url, { what, ...(sha256 !== undefined && { sha256 }) }, async (body) => {
          await pipeline(body, createWriteStream(zip));
        });
      };
      await retry(attempt, {
        clock: this.#options.clock,
        attempts: 3,
        first_delay_ms: 300,
        max_delay_ms: 3000,
        isWorthRetrying: (error) => error instanceof DownloadFailed && !error.is_final,
      });
      const { bytes } = await unpackZip(zip, join(partial, 'buildpack'), LIMITS);
      await rm(zip);
      // Seen by vcap of a container, who is nobody to this machine.
      await execute('chmod', ['-R', 'a+rX', join(partial, 'buildpack')]);
      await writeFile(join(partial, 'bytes'), String(bytes));
      await rm(folder, { recursive: true, force: true });
      await rename(partial, folder);
      this.#options.log.info({ buildpack: buildpack.name, key: buildpack.key, bytes }, 'buildpack unpacked');
      return join(folder, 'buildpack');
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
  }
}

/** Keys hold what users wrote (URLs); a folder's name does not. */
function nameOf(buildpack: StagingBuildpack): string {
  return createHash('sha256')
    .update(`${buildpack.key} ${buildpack.sha256 ?? ''}`)
    .digest('hex')
    .slice(0, 40);
}
