import { randomUUID } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, renameSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import {
  copyFile,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemErrorCode } from '#kernel/errors.ts';
import {
  BlobNotFound,
  BlobstoreFull,
  BlobstoreUnavailable,
  type BlobInfo,
  type BlobReading,
  type Blobstore,
  type Bucket,
  type ByteRange,
  checkBlobName,
  type StoredBlob,
} from './blobstore.ts';
import { Measure } from './measure.ts';

export interface FolderBlobstoreOptions {
  folder: string;
  /** Uploads are refused when less than so many bytes would be left on the disk. */
  min_free_bytes: number;
  /**
   * Small blobs are read, kept and looked for by calls that block, which take a fraction of the time: for threads that do
   * nothing else.
   */
  blocking?: boolean;
}

const UNFINISHED = '.unfinished';
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;
const CHECK_SPACE_EVERY_BYTES = 16 * 1024 * 1024;

/**
 * Blobs as files `<folder>/<bucket>/ab/cd/<key>`. A blob is written beside the others under a name of its own, synced, and
 * appears by one rename. Several processes may share the folder.
 */
export class FolderBlobstore implements Blobstore {
  readonly #options: FolderBlobstoreOptions;

  private constructor(options: FolderBlobstoreOptions) {
    this.#options = options;
  }

  /** Makes the folder if need be, and removes what uploads that died a day ago left. Errors: BlobstoreUnavailable. */
  static async open(options: FolderBlobstoreOptions): Promise<FolderBlobstore> {
    const unfinished = join(options.folder, UNFINISHED);
    try {
      await mkdir(unfinished, { recursive: true });
      for (const name of await readdir(unfinished)) {
        const path = join(unfinished, name);
        const found = await stat(path).catch(() => undefined);
        if (found && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS) await rm(path, { force: true });
      }
    } catch (error) {
      throw new BlobstoreUnavailable(`the blobstore's folder ${options.folder} cannot be used`, { cause: error });
    }
    return new FolderBlobstore(options);
  }

  async put(bucket: Bucket, key: string, source: Readable, limits: { max_bytes: number }): Promise<StoredBlob> {
    let path: string;
    try {
      path = this.#path(bucket, key);
      await this.#refuseWhenFull();
    } catch (error) {
      source.destroy();
      throw error;
    }
    const unfinished = this.#unfinished();
    let checkedAt_bytes = 0;
    const measure = new Measure(limits.max_bytes, async (total) => {
      if (total - checkedAt_bytes < CHECK_SPACE_EVERY_BYTES) return;
      checkedAt_bytes = total;
      await this.#refuseWhenFull();
    });
    try {
      await pipeline(source, measure, createWriteStream(unfinished, { flags: 'wx', flush: true }));
      await this.#appear(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      if (systemErrorCode(error) === 'ENOSPC') throw new BlobstoreFull(0, { cause: error });
      throw error;
    }
    return measure.result();
  }

  async get(bucket: Bucket, key: string, range?: ByteRange): Promise<BlobReading> {
    const file = await open(this.#path(bucket, key)).catch((error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') throw new BlobNotFound(bucket, key, { cause: error });
      throw new BlobstoreUnavailable(`the blob ${key} of ${bucket} cannot be read`, { cause: error });
    });
    try {
      const { size } = await file.stat();
      const start = range?.start ?? 0;
      const end = Math.min(range?.end ?? size - 1, size - 1);
      // The stream closes the file, also when it is destroyed half way.
      const stream = file.createReadStream({ start, ...(size > 0 && { end }), highWaterMark: 1 << 18 });
      return { stream, size: Math.max(0, end - start + 1), total_size: size };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async read(bucket: Bucket, key: string): Promise<Buffer> {
    const path = this.#path(bucket, key);
    try {
      return this.#options.blocking ? readFileSync(path) : await readFile(path);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') throw new BlobNotFound(bucket, key, { cause: error });
      throw new BlobstoreUnavailable(`the blob ${key} of ${bucket} cannot be read`, { cause: error });
    }
  }

  async keep(bucket: Bucket, key: string, bytes: Buffer): Promise<void> {
    const path = this.#path(bucket, key);
    const unfinished = this.#unfinished();
    await this.#refuseWhenFull();
    try {
      if (this.#options.blocking) {
        writeFileSync(unfinished, bytes, { flag: 'wx' });
        mkdirSync(dirname(path), { recursive: true });
        renameSync(unfinished, path);
      } else {
        await writeFile(unfinished, bytes, { flag: 'wx' });
        await mkdir(dirname(path), { recursive: true });
        await rename(unfinished, path);
      }
    } catch (error) {
      await rm(unfinished, { force: true });
      if (systemErrorCode(error) === 'ENOSPC') throw new BlobstoreFull(0, { cause: error });
      throw error;
    }
  }

  async head(bucket: Bucket, key: string): Promise<BlobInfo | undefined> {
    const path = this.#path(bucket, key);
    try {
      const found = this.#options.blocking ? statSync(path) : await stat(path);
      return { key, size: found.size, modified_at: found.mtime };
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async delete(bucket: Bucket, key: string): Promise<boolean> {
    try {
      await unlink(this.#path(bucket, key));
      return true;
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  async copy(from: { bucket: Bucket; key: string }, to: { bucket: Bucket; key: string }): Promise<void> {
    const source = this.#path(from.bucket, from.key);
    const path = this.#path(to.bucket, to.key);
    const unfinished = this.#unfinished();
    try {
      // Blobs never change in place, so two names can share the bytes.
      await link(source, unfinished).catch(async (error: unknown) => {
        if (systemErrorCode(error) === 'ENOENT') throw new BlobNotFound(from.bucket, from.key, { cause: error });
        await this.#refuseWhenFull();
        await copyFile(source, unfinished);
      });
      await this.#appear(unfinished, path);
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  async *list(bucket: Bucket): AsyncGenerator<BlobInfo> {
    const root = join(this.#options.folder, bucket);
    for (const first of await namesIn(root)) {
      for (const second of await namesIn(join(root, first))) {
        for (const key of await namesIn(join(root, first, second))) {
          const info = await this.head(bucket, key);
          if (info) yield info;
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #path(bucket: Bucket, key: string): string {
    checkBlobName(bucket, key);
    return join(this.#options.folder, bucket, key.slice(0, 2), key.slice(2, 4), key);
  }

  #unfinished(): string {
    return join(this.#options.folder, UNFINISHED, randomUUID());
  }

  async #refuseWhenFull(): Promise<void> {
    const { folder, blocking } = this.#options;
    const { bavail, bsize } = blocking ? statfsSync(folder) : await statfs(folder);
    const free_bytes = bavail * bsize;
    if (free_bytes < this.#options.min_free_bytes) throw new BlobstoreFull(free_bytes);
  }

  async #appear(unfinished: string, path: string): Promise<void> {
    const folder = dirname(path);
    await mkdir(folder, { recursive: true });
    await rename(unfinished, path);
    // Without this the name may be lost with the machine's power though the bytes are there.
    const handle = await open(folder);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
