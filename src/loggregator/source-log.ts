import type { StoredSource } from './block-file.ts';
import { Chunk, type Entry } from './chunk.ts';

/** Entries beside their payloads: the columns and a share of their origins. */
const ENTRY_OVERHEAD_BYTES = 40;
/** Keeps a chunk's origins below the 65,536 that it can number, and each chunk quick to make. */
const MAX_PENDING_ENTRIES = 16_384;
const MAX_PENDING_BYTES = 256 * 1024;

interface Unsealed {
  chunk: Chunk;
  seq: number;
  isCommitted: boolean;
}

/** What is known of a source's blocks on disk. */
export interface SealedSummary {
  blocks: number;
  count: number;
  bytes: number;
  oldest: bigint;
  newest: bigint;
  max_id: number;
}

/** One source's newest entries, from the last append back to where its blocks on disk begin. */
export class SourceLog {
  readonly source_id: string;
  #key: number | undefined;
  #pending: Entry[] = [];
  #pending_bytes = 0;
  #unsealed: Unsealed[] = [];
  #unsealed_bytes = 0;
  #seq = 0;
  #expired = 0;
  #sealed: SealedSummary = { blocks: 0, count: 0, bytes: 0, oldest: 0n, newest: 0n, max_id: 0 };

  constructor(source_id: string) {
    this.source_id = source_id;
  }

  static restore(stored: StoredSource, max_id: number): SourceLog {
    const source = new SourceLog(stored.source_id);
    const { blocks, count, bytes, oldest, newest } = stored;
    source.#key = stored.key;
    source.#expired = stored.expired;
    source.#sealed = { blocks, count, bytes, oldest, newest, max_id };
    return source;
  }

  /** Its number in the file, once it has one. */
  get key(): number | undefined {
    return this.#key;
  }

  get sealed(): Readonly<SealedSummary> {
    return this.#sealed;
  }

  get unsealed_bytes(): number {
    return this.#unsealed_bytes;
  }

  get meta(): { count: number; expired: number; oldest: bigint; newest: bigint } {
    let { count, oldest, newest } = this.#sealed;
    for (const chunk of this.unsealedChunks()) {
      if (count === 0 || chunk.oldest < oldest) ({ oldest } = chunk);
      if (count === 0 || chunk.newest > newest) ({ newest } = chunk);
      count += chunk.count;
    }
    return { count, expired: this.#expired, oldest, newest };
  }

  /** Says how many bytes of memory that took. */
  append(entries: readonly Entry[]): number {
    let bytes = 0;
    for (const entry of entries) {
      const size = entry.payload.length + ENTRY_OVERHEAD_BYTES;
      bytes += size;
      this.#pending.push(entry);
      this.#pending_bytes += size;
      if (this.#pending.length >= MAX_PENDING_ENTRIES || this.#pending_bytes >= MAX_PENDING_BYTES) this.#roll();
    }
    this.#unsealed_bytes += bytes;
    return bytes;
  }

  restoreJournaled(chunk: Chunk, seq: number): number {
    const bytes = chunk.text.length + ENTRY_OVERHEAD_BYTES * chunk.count;
    this.#unsealed.push({ chunk, seq, isCommitted: true });
    this.#unsealed_bytes += bytes;
    this.#seq = Math.max(this.#seq, seq);
    return bytes;
  }

  /** All that is in no block, in the order in which it came. */
  unsealedChunks(): Chunk[] {
    this.#roll();
    return this.#unsealed.map(({ chunk }) => chunk);
  }

  uncommittedChunks(): { chunk: Chunk; seq: number }[] {
    this.#roll();
    return this.#unsealed.filter(({ isCommitted }) => !isCommitted);
  }

  journaled(key: number): void {
    this.#key = key;
    for (const unsealed of this.#unsealed) unsealed.isCommitted = true;
  }

  /** All that was unsealed is in these blocks now. */
  sealedAs(key: number, blocks: readonly { id: number; bytes: number; chunk: Chunk }[]): void {
    this.#key = key;
    this.#unsealed = [];
    this.#unsealed_bytes = 0;
    const sealed = { ...this.#sealed };
    for (const { id, bytes, chunk } of blocks) {
      if (sealed.blocks === 0 || chunk.oldest < sealed.oldest) sealed.oldest = chunk.oldest;
      if (sealed.blocks === 0 || chunk.newest > sealed.newest) sealed.newest = chunk.newest;
      sealed.blocks += 1;
      sealed.count += chunk.count;
      sealed.bytes += bytes;
      sealed.max_id = id;
    }
    this.#sealed = sealed;
  }

  deleted(gone: { count: number; bytes: number }, left: { blocks: number; oldest: bigint; newest: bigint }): void {
    this.#expired += gone.count;
    const { count, bytes, max_id } = this.#sealed;
    this.#sealed = { ...left, count: count - gone.count, bytes: bytes - gone.bytes, max_id };
  }

  dropUncommitted(): { count: number; bytes: number } {
    let count = 0;
    let bytes = 0;
    for (const { chunk } of this.uncommittedChunks()) {
      count += chunk.count;
      bytes += chunk.text.length + ENTRY_OVERHEAD_BYTES * chunk.count;
    }
    this.#unsealed = this.#unsealed.filter(({ isCommitted }) => isCommitted);
    this.#unsealed_bytes -= bytes;
    return { count, bytes };
  }

  #roll(): void {
    if (this.#pending.length === 0) return;
    this.#seq += 1;
    this.#unsealed.push({ chunk: Chunk.encode(this.#pending), seq: this.#seq, isCommitted: false });
    this.#pending = [];
    this.#pending_bytes = 0;
  }
}
