import { createReadStream } from 'node:fs';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { unpackTarGz } from '#archive/unpack-tar.ts';
import { download, DownloadFailed } from './download.ts';
import { FolderCache, type FolderCacheOptions } from './folder-cache.ts';

export interface DropletCacheOptions extends Omit<FolderCacheOptions, 'what'> {
  max_droplet_bytes: number;
}

/** Files of apps belong to vcap, who has this id in every stack. */
export const VCAP = { uid: 2000, gid: 2000 };

const MAX_ENTRIES = 1_000_000;

/** Droplets unpacked once each, as a folder to lay over a stack: `<sha256>/layer/home/vcap/…`. */
export class DropletCache {
  readonly #folders: FolderCache;
  readonly #max_bytes: number;

  private constructor(folders: FolderCache, max_bytes: number) {
    this.#folders = folders;
    this.#max_bytes = max_bytes;
  }

  static async open(options: DropletCacheOptions): Promise<DropletCache> {
    return new DropletCache(await FolderCache.open({ ...options, what: 'droplet' }), options.max_droplet_bytes);
  }

  /**
   * The layer of a droplet, fetched if need be. Give it back with `release`.
   * Errors: DownloadFailed, DigestMismatch, those of the archive room.
   */
  async acquire(sha256: string, uri: string): Promise<string> {
    const fill = async (partial: string): Promise<number> =>
      await download(uri, { what: 'droplet', sha256 }, async (body) => await this.#unpack(body, partial));
    const isWorthRetrying = (error: unknown): boolean => error instanceof DownloadFailed && !error.is_final;
    return join(await this.#folders.acquire(sha256, { fill, isWorthRetrying }), 'layer');
  }

  /** Keeps a droplet that was made here, for the start that is likely to follow: it has no way to go. */
  async keep(sha256: string, path: string): Promise<void> {
    const fill = async (partial: string): Promise<number> => await this.#unpack(createReadStream(path), partial);
    await this.#folders.acquire(sha256, { fill, isWorthRetrying: () => false });
    this.#folders.release(sha256);
  }

  /** Counts a user of a droplet that is here already: an instance that outlived us. */
  hold(sha256: string): void {
    this.#folders.hold(sha256);
  }

  release(sha256: string): void {
    this.#folders.release(sha256);
  }

  async reap(): Promise<void> {
    await this.#folders.reap();
  }

  async #unpack(source: Readable, partial: string): Promise<number> {
    const home = join(partial, 'layer/home/vcap');
    const isRoot = process.getuid?.() === 0;
    await mkdir(join(home, 'tmp'), { recursive: true });
    const limits = { max_bytes: this.#max_bytes, max_entries: MAX_ENTRIES };
    const { bytes } = await unpackTarGz(source, home, { ...limits, links: 'kept', ...(isRoot && { owner: VCAP }) });
    for (const path of [join(partial, 'layer'), join(partial, 'layer/home'), home, join(home, 'tmp')])
      await chmod(path, 0o755);
    if (isRoot) for (const path of [home, join(home, 'tmp')]) await chown(path, VCAP.uid, VCAP.gid);
    return bytes;
  }
}
