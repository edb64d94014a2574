import { type Chunk, compare, type Entry, KIND_NUMBER, type Kind } from './chunk.ts';

export interface ReadQuery {
  /** ns, inclusive; may be far below zero. */
  start: bigint;
  /** ns, exclusive. */
  end: bigint;
  limit: number;
  /** Newest first. */
  descending: boolean;
  /** Bit n for `KINDS[n]`. */
  kinds: number;
  /** Further condition on an entry. */
  matches?: (chunk: Chunk, at: number) => boolean;
}

/** An entry where it lies. */
interface Place {
  timestamp: bigint;
  chunk: Chunk;
  at: number;
}

export const ALL_KINDS = 0b111111;
export const kindBits = (...kinds: readonly Kind[]): number =>
  kinds.reduce((bits, kind) => bits | (1 << KIND_NUMBER[kind]), 0);

/** Entries of one ns beyond the limit that are still taken along. */
const MAX_TIES = 1_000;

/** Gathers a query's first entries from chunks that come in any order and may overlap in time. */
export class Found {
  readonly #query: ReadQuery;
  #entries: Place[] = [];

  constructor(query: ReadQuery) {
    this.#query = query;
  }

  get entries(): Entry[] {
    return this.#entries.map(({ chunk, at }) => chunk.entryAt(at));
  }

  /** Whether nothing within these bounds could come before the last entry found. */
  isFullBefore({ oldest, newest }: { oldest: bigint; newest: bigint }): boolean {
    const last = this.#entries[this.#query.limit - 1];
    if (!last) return false;
    return this.#query.descending ? last.timestamp > newest : last.timestamp < oldest;
  }

  add(chunk: Chunk): void {
    if (chunk.newest < this.#query.start || chunk.oldest >= this.#query.end || this.isFullBefore(chunk)) return;
    const before = this.#entries.length;
    this.#collect(chunk);
    const way = this.#query.descending ? -1 : 1;
    const [last, next] = [this.#entries[before - 1], this.#entries[before]];
    if (last && next && way * compare(last.timestamp, next.timestamp) > 0) {
      this.#entries.sort((a, b) => way * compare(a.timestamp, b.timestamp));
    }
    this.#cut();
  }

  #collect(chunk: Chunk): void {
    const { start, end, descending, kinds, limit, matches } = this.#query;
    const first = chunk.firstFrom(start);
    const last = chunk.firstFrom(end) - 1;
    const step = descending ? -1 : 1;
    let taken = 0;
    let final: bigint | undefined;
    for (let at = descending ? last : first; at >= first && at <= last; at += step) {
      const timestamp = chunk.timestampAt(at);
      if (taken >= limit && (timestamp !== final || taken >= limit + MAX_TIES)) return;
      if (((1 << chunk.kindNumberAt(at)) & kinds) === 0) continue;
      if (matches && !matches(chunk, at)) continue;
      this.#entries.push({ timestamp, chunk, at });
      final = timestamp;
      taken += 1;
    }
  }

  #cut(): void {
    const { limit } = this.#query;
    if (this.#entries.length <= limit) return;
    const boundary = this.#entries[limit - 1]?.timestamp;
    let end = limit;
    while (end < limit + MAX_TIES && this.#entries[end]?.timestamp === boundary) end += 1;
    this.#entries.length = Math.min(end, this.#entries.length);
  }
}
