import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { BlobTooLarge, type StoredBlob } from './blobstore.ts';

/** Passes an upload through, counts and digests it, and ends it with BlobTooLarge past the limit. */
export class Measure extends Transform {
  readonly #max_bytes: number;
  readonly #sha256 = createHash('sha256');
  readonly #sha1 = createHash('sha1');
  readonly #onBytes: ((total: number) => Promise<void>) | undefined;
  #size = 0;

  /** `onBytes` is asked before each piece goes on, and may refuse by throwing. */
  constructor(max_bytes: number, onBytes?: (total: number) => Promise<void>) {
    super();
    this.#max_bytes = max_bytes;
    this.#onBytes = onBytes;
  }

  /** Only once the stream has ended. */
  result(): StoredBlob {
    return { size: this.#size, sha256: this.#sha256.digest('hex'), sha1: this.#sha1.digest('hex') };
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#size += chunk.length;
    if (this.#size > this.#max_bytes) return done(new BlobTooLarge(this.#max_bytes));
    this.#sha256.update(chunk);
    this.#sha1.update(chunk);
    if (!this.#onBytes) return done(null, chunk);
    this.#onBytes(this.#size).then(
      () => done(null, chunk),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    );
  }
}
