import type { Chunk } from './chunk.ts';

/** Opened blocks by id, the least lately used given up first. */
export class BlockCache {
  readonly #limit: number;
  readonly #chunks = new Map<number, Chunk>();
  #bytes = 0;

  constructor(limit_bytes: number) {
    this.#limit = limit_bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: number): Chunk | undefined {
    const chunk = this.#chunks.get(id);
    if (!chunk) return undefined;
    this.#chunks.delete(id);
    this.#chunks.set(id, chunk);
    return chunk;
  }

  put(id: number, chunk: Chunk): void {
    if (this.#chunks.has(id)) return;
    this.#chunks.set(id, chunk);
    this.#bytes += chunk.bytes.length;
    for (const [oldest, given] of this.#chunks) {
      if (this.#bytes <= this.#limit) return;
      this.#chunks.delete(oldest);
      this.#bytes -= given.bytes.length;
    }
  }
}
