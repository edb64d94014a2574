import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { BlockFile } from './block-file.ts';
import { BlockCache } from './block-cache.ts';
import { type Chunk, ChunkDamaged, type Entry, mergeChunks } from './chunk.ts';
import { Found, type ReadQuery } from './found.ts';
import { buildFilter } from './text-filter.ts';
import { type SearchTerms, TextSearch } from './text-search.ts';
import { SearchPool } from './search-pool.ts';
import { SourceLog } from './source-log.ts';

export interface StoreLimits {
  /** Compressed bytes kept for one source, and for all. */
  source_bytes: number;
  total_bytes: number;
  /** Entries older than this go. */
  retention_ms: number;
  /** What of the newest is held in memory, in all. */
  memory_bytes: number;
}

export interface SourceMeta {
  count: number;
  expired: number;
  oldest: bigint;
  newest: bigint;
}

export interface LogStoreOptions {
  folder: string;
  clock: Clock;
  log: Log;
  limits: StoreLimits;
  /** Told when entries that could not be written had to go. */
  onLost?: (source_id: string, count: number, why: string) => void;
}

/** Blocks opened between two looks at the event loop, so that a long read keeps nobody waiting. */
const BLOCKS_PER_TURN = 4;
const COMMIT_INTERVAL_MS = 500;
const PRUNE_INTERVAL_MS = 30_000;
/** Uncompressed size at which what a source has gathered becomes a block. */
const BLOCK_BYTES = 256 * 1024;
const MAX_UNSEALED_CHUNKS = 128;

/**
 * Envelopes of all sources: the newest in memory, everything on disk. Appending costs memory alone; twice a second all that came
 * is committed at once. Reading takes from memory what is there and opens blocks only for what is older.
 */
export class LogStore implements AsyncDisposable {
  readonly #file: BlockFile;
  readonly #options: LogStoreOptions;
  readonly #sources = new Map<string, SourceLog>();
  readonly #dirty = new Set<SourceLog>();
  readonly #cache: BlockCache;
  readonly #pool: SearchPool;
  readonly #timers = new DisposableStack();
  /** Bytes that are in memory alone, and bytes not yet in blocks. */
  #uncommitted_bytes = 0;
  #unsealed_bytes = 0;
  #sealed_bytes = 0;
  #isFailing = false;
  #appended = 0;
  #lost = 0;

  /** Errors: LogStoreUnavailable. */
  constructor(options: LogStoreOptions) {
    this.#options = options;
    this.#file = new BlockFile(options.folder);
    this.#cache = new BlockCache(options.limits.memory_bytes / 2);
    this.#pool = new SearchPool(BlockFile.path(options.folder));
    this.#load();
    this.#timers.use(options.clock.every(COMMIT_INTERVAL_MS, () => this.commit()));
    this.#timers.use(options.clock.every(PRUNE_INTERVAL_MS, () => this.prune()));
  }

  /** False while the disk refuses. */
  get isWritable(): boolean {
    return !this.#isFailing;
  }

  /** Figures for `/metrics`. */
  get figures(): { sources: number; appended: number; lost: number; memory_bytes: number; disk_bytes: number } {
    return {
      sources: this.#sources.size,
      appended: this.#appended,
      lost: this.#lost,
      memory_bytes: this.#unsealed_bytes + this.#cache.bytes,
      disk_bytes: this.#sealed_bytes,
    };
  }

  /** Takes entries in any order of time. */
  append(source_id: string, entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    let source = this.#sources.get(source_id);
    if (!source) {
      source = new SourceLog(source_id);
      this.#sources.set(source_id, source);
    }
    const bytes = source.append(entries);
    this.#appended += entries.length;
    this.#uncommitted_bytes += bytes;
    this.#unsealed_bytes += bytes;
    this.#dirty.add(source);
    if (this.#uncommitted_bytes > this.#options.limits.memory_bytes / 4) this.commit();
  }

  /** Undefined for a source never heard of, or all of whose entries went. */
  meta(source_id: string): SourceMeta | undefined {
    return this.#sources.get(source_id)?.meta;
  }

  *metas(): Generator<[string, SourceMeta]> {
    for (const [source_id, source] of this.#sources) {
      const { meta } = source;
      if (meta.count > 0) yield [source_id, meta];
    }
  }

  /**
   * Entries in order of time; none for an unknown source. Entries of one and the same ns are never torn apart by the limit,
   * since readers go on at the last one's time + 1.
   */
  async read(source_id: string, query: ReadQuery): Promise<Entry[]> {
    const source = this.#sources.get(source_id);
    if (!source) return [];
    const found = new Found(query);
    for (const chunk of source.unsealedChunks()) found.add(chunk);
    const { sealed, key } = source;
    if (key === undefined || sealed.blocks === 0) return found.entries;
    if (sealed.newest < query.start || sealed.oldest >= query.end) return found.entries;
    if (found.isFullBefore({ oldest: sealed.oldest, newest: sealed.newest })) return found.entries;
    const { start, end, descending } = query;
    // What is sealed while we read is in `found` already.
    const range = { key, start, end, descending, max_id: sealed.max_id, limit: BLOCKS_PER_TURN };
    for (let rows = this.#file.blocks(range); rows.length > 0;) {
      for (const row of rows) {
        if (found.isFullBefore(row)) return found.entries;
        if ((row.kinds & query.kinds) !== 0) this.#openInto(found, row.id);
      }
      const after = rows.at(-1);
      if (rows.length < BLOCKS_PER_TURN || !after) break;
      await new Promise((resolve) => setImmediate(resolve));
      rows = this.#file.blocks({ ...range, after });
    }
    return found.entries;
  }

  /** As `read`, of entries that have the terms. Errors: those of SearchPool. */
  async search(source_id: string, query: ReadQuery, terms: SearchTerms): Promise<Entry[]> {
    const source = this.#sources.get(source_id);
    if (!source) return [];
    const text = new TextSearch(terms);
    let matches: ReadQuery['matches'] = () => false;
    const found = new Found({ ...query, matches: (chunk, at) => matches?.(chunk, at) ?? false });
    for (const chunk of source.unsealedChunks()) {
      matches = text.matcher(chunk);
      if (matches) found.add(chunk);
    }
    const { sealed, key } = source;
    if (key === undefined || sealed.blocks === 0 || found.isFullBefore(sealed)) return found.entries;
    const { start, end, limit, descending, kinds } = query;
    matches = () => true;
    for (const chunk of await this.#pool.search({
      key,
      start,
      end,
      limit,
      descending,
      kinds,
      max_id: sealed.max_id,
      terms,
    })) {
      found.add(chunk);
    }
    return found.entries;
  }

  /** Writes what is in memory alone. A disk that refuses is told once and tried again at the next turn. */
  commit(): void {
    const { memory_bytes } = this.#options.limits;
    if (this.#dirty.size === 0 && this.#unsealed_bytes <= memory_bytes / 2) return;
    const applied: (() => void)[] = [];
    try {
      this.#file.transaction(() => {
        for (const source of this.#dirty) applied.push(this.#write(source, false));
        if (this.#unsealed_bytes > memory_bytes / 2) applied.push(...this.#sealLargest(memory_bytes / 4));
      });
    } catch (error) {
      if (!this.#isFailing) this.#options.log.error({ error: describeError(error) }, 'log store not writable');
      this.#isFailing = true;
      this.#shed();
      return;
    }
    for (const apply of applied) apply();
    this.#dirty.clear();
    this.#uncommitted_bytes = 0;
    if (this.#isFailing) this.#options.log.info({}, 'log store writable again');
    this.#isFailing = false;
  }

  /** Deletes what is too old or too much. */
  prune(): void {
    const { limits, clock, log } = this.#options;
    const cutoff = BigInt(Math.floor(clock.now() - limits.retention_ms)) * 1_000_000n;
    try {
      for (const source of this.#sources.values()) {
        if (source.sealed.blocks > 0 && source.sealed.oldest < cutoff) this.#delete(source, cutoff);
        const excess = source.sealed.bytes - limits.source_bytes;
        if (excess > 0) this.#deleteBytes(source, excess);
      }
      // Who has most gives first, so that one loud source costs its neighbours nothing.
      while (this.#sealed_bytes > limits.total_bytes) {
        const largest = this.#largest();
        if (!largest || largest.sealed.blocks === 0) break;
        this.#deleteBytes(largest, Math.max(this.#sealed_bytes - limits.total_bytes, largest.sealed.bytes / 64));
      }
      this.#forgetIdle(cutoff);
      this.#file.shrink();
    } catch (error) {
      log.error({ error: describeError(error) }, 'log store not prunable');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timers.dispose();
    await this.#pool[Symbol.asyncDispose]();
    this.commit();
    this.#file[Symbol.dispose]();
  }

  #load(): void {
    const byKey = new Map<number, SourceLog>();
    const max_id = this.#file.maxBlockId;
    for (const stored of this.#file.sources()) {
      const source = SourceLog.restore(stored, max_id);
      this.#sources.set(stored.source_id, source);
      byKey.set(stored.key, source);
      this.#sealed_bytes += stored.bytes;
    }
    for (const { key, seq, chunk } of this.#file.journaled()) {
      if (chunk instanceof ChunkDamaged) {
        this.#options.log.error({ source: key, seq, error: chunk.message }, 'journal entry skipped');
        continue;
      }
      this.#unsealed_bytes += byKey.get(key)?.restoreJournaled(chunk, seq) ?? 0;
    }
  }

  /** Writes within a transaction; the function returned makes memory agree once that is committed. */
  #write(source: SourceLog, isForced: boolean): () => void {
    const key = source.key ?? this.#file.addSource(source.source_id);
    const unsealed = source.unsealedChunks();
    const isEnough = source.unsealed_bytes >= BLOCK_BYTES || unsealed.length > MAX_UNSEALED_CHUNKS;
    if (!isForced && !isEnough) {
      const fresh = source.uncommittedChunks();
      for (const { chunk, seq } of fresh) this.#file.journal(key, seq, chunk);
      return () => source.journaled(key);
    }
    const blocks = this.#seal(key, unsealed);
    this.#file.forgetJournal(key);
    return () => {
      this.#unsealed_bytes -= source.unsealed_bytes;
      for (const block of blocks) {
        this.#sealed_bytes += block.bytes;
        this.#cache.put(block.id, block.chunk);
      }
      source.sealedAs(key, blocks);
    };
  }

  #seal(key: number, chunks: readonly Chunk[]): { id: number; bytes: number; chunk: Chunk }[] {
    const blocks: { id: number; bytes: number; chunk: Chunk }[] = [];
    let group: Chunk[] = [];
    let bytes = 0;
    const sealGroup = (): void => {
      const [only] = group;
      if (!only) return;
      const chunk = group.length === 1 ? only : mergeChunks(group);
      blocks.push({ ...this.#file.seal({ key, chunk, filter: buildFilter(chunk) }), chunk });
      group = [];
      bytes = 0;
    };
    for (const chunk of chunks) {
      group.push(chunk);
      bytes += chunk.bytes.length;
      if (bytes >= BLOCK_BYTES) sealGroup();
    }
    sealGroup();
    return blocks;
  }

  /** Many quiet sources fill the memory too: the largest become blocks before their time. */
  #sealLargest(bytes: number): (() => void)[] {
    const bySize = [...this.#sources.values()].sort((a, b) => b.unsealed_bytes - a.unsealed_bytes);
    const applied: (() => void)[] = [];
    let left = this.#unsealed_bytes;
    for (const source of bySize) {
      if (left <= bytes || source.unsealed_bytes === 0) break;
      left -= source.unsealed_bytes;
      applied.push(this.#write(source, true));
    }
    return applied;
  }

  /** With a disk that refuses, memory is all there is: beyond its limit the oldest go, counted and told. */
  #shed(): void {
    const { limits, onLost } = this.#options;
    if (this.#unsealed_bytes <= limits.memory_bytes) return;
    for (const source of [...this.#dirty].sort((a, b) => b.unsealed_bytes - a.unsealed_bytes)) {
      if (this.#unsealed_bytes <= limits.memory_bytes / 2) return;
      const { bytes, count } = source.dropUncommitted();
      this.#unsealed_bytes -= bytes;
      this.#uncommitted_bytes -= bytes;
      this.#lost += count;
      if (count > 0) onLost?.(source.source_id, count, 'the log store cannot write to its disk');
    }
  }

  #openInto(found: Found, id: number): void {
    try {
      const chunk = this.#cache.get(id) ?? this.#file.open(id);
      if (!chunk) return;
      this.#cache.put(id, chunk);
      found.add(chunk);
    } catch (error) {
      if (!(error instanceof ChunkDamaged)) throw error;
      this.#options.log.error({ block: id, error: describeError(error) }, 'damaged block skipped');
    }
  }

  #delete(source: SourceLog, cutoff: bigint): void {
    const { key } = source;
    if (key === undefined) return;
    this.#file.transaction(() => {
      const gone = this.#file.deleteBefore(key, cutoff);
      this.#sealed_bytes -= gone.bytes;
      source.deleted(gone, this.#file.bounds(key));
      this.#file.setExpired(key, source.meta.expired);
    });
  }

  #deleteBytes(source: SourceLog, bytes: number): void {
    if (source.key !== undefined) this.#delete(source, this.#file.cutoffFor(source.key, bytes));
  }

  #largest(): SourceLog | undefined {
    let largest: SourceLog | undefined;
    for (const source of this.#sources.values()) {
      if (!largest || source.sealed.bytes > largest.sealed.bytes) largest = source;
    }
    return largest;
  }

  /** Quiet sources are sealed so that they age like the others, and forgotten when nothing of them is left. */
  #forgetIdle(cutoff: bigint): void {
    for (const [source_id, source] of this.#sources) {
      if (this.#dirty.has(source)) continue;
      const { newest } = source.meta;
      if (newest >= cutoff) continue;
      const bytes = source.unsealed_bytes;
      this.#file.transaction(() => {
        if (source.key !== undefined) this.#file.removeSource(source.key);
      });
      this.#unsealed_bytes -= bytes;
      this.#sources.delete(source_id);
    }
  }
}
