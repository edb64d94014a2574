import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Transform } from 'node:stream';

export type DigestAlgorithm = 'sha256' | 'sha1';

/** Hex digests of a file, all in one reading. */
export async function digestFile<Algorithm extends DigestAlgorithm>(
  path: string,
  ...algorithms: readonly Algorithm[]
): Promise<Record<Algorithm, string>> {
  const hashes = algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
    for (const [, hash] of hashes) hash.update(chunk as Buffer);
  }
  return Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')])) as Record<Algorithm, string>;
}

/** Passes bytes through and knows their count and digest when they have ended. */
export class DigestStream extends Transform {
  readonly #hash;
  #size = 0;
  #digest: string | undefined;

  constructor(algorithm: DigestAlgorithm) {
    super();
    this.#hash = createHash(algorithm);
  }

  get size(): number {
    return this.#size;
  }

  /** Hex; only once the stream has ended. */
  get digest(): string {
    this.#digest ??= this.#hash.digest('hex');
    return this.#digest;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    this.#size += chunk.length;
    this.#hash.update(chunk);
    done(null, chunk);
  }
}
