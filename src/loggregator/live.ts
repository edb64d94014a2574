import { createHash } from 'node:crypto';
import { type Entry, KIND_NUMBER } from './chunk.ts';

export interface Selector {
  /** Empty for all sources. */
  source_ids: readonly string[];
  /** Bit n for `KINDS[n]`. */
  kinds: number;
  /** Readers with one and the same share the envelopes among them. */
  shard_id?: string;
  /** With a shard: all of a source's envelopes go to one reader, the same for as long as the readers are the same. */
  deterministic_name?: string;
}

/** Where a reader's envelopes go; says false when it has no room for them. */
export type Deliver = (source_id: string, entries: readonly Entry[]) => boolean;

interface Reader {
  selector: Selector;
  deliver: Deliver;
  /** What it had no room for, by source. */
  dropped: Map<string, { count: number; last: Entry }>;
}

/** Hands envelopes to those who read them as they come. A reader that does not keep up loses some, and is told how many. */
export class LiveReaders {
  readonly #all = new Set<Reader>();
  readonly #bySource = new Map<string, Set<Reader>>();
  #turn = 0;
  #dropped = 0;

  get count(): number {
    let count = this.#all.size;
    for (const readers of this.#bySource.values()) count += readers.size;
    return count;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Dispose to hear no more. */
  add(selector: Selector, deliver: Deliver): Disposable {
    const reader: Reader = { selector, deliver, dropped: new Map() };
    if (selector.source_ids.length === 0) this.#all.add(reader);
    for (const source_id of selector.source_ids) {
      const readers = this.#bySource.get(source_id) ?? new Set();
      this.#bySource.set(source_id, readers.add(reader));
    }
    return { [Symbol.dispose]: () => this.#remove(reader) };
  }

  deliver(source_id: string, entries: readonly Entry[]): void {
    const readers = this.#bySource.get(source_id);
    if (!readers && this.#all.size === 0) return;
    for (const reader of this.#chosen(source_id, [...(readers ?? []), ...this.#all])) {
      const { kinds } = reader.selector;
      const wanted = entries.filter(({ kind }) => ((1 << KIND_NUMBER[kind]) & kinds) !== 0);
      if (wanted.length > 0) this.#hand(reader, source_id, wanted);
    }
  }

  #hand(reader: Reader, source_id: string, entries: readonly Entry[]): void {
    for (const [source, { count, last }] of reader.dropped) {
      if (!reader.deliver(source, [lossEntry(source, count, last)])) break;
      reader.dropped.delete(source);
    }
    if (reader.dropped.size === 0 && reader.deliver(source_id, entries)) return;
    const last = entries.at(-1);
    if (!last) return;
    const count = (reader.dropped.get(source_id)?.count ?? 0) + entries.length;
    reader.dropped.set(source_id, { count, last });
    this.#dropped += entries.length;
  }

  /** All who are in no shard, and one of each shard. */
  #chosen(source_id: string, readers: readonly Reader[]): Reader[] {
    const chosen: Reader[] = [];
    const shards = new Map<string, Reader[]>();
    for (const reader of readers) {
      const { shard_id } = reader.selector;
      if (shard_id === undefined) chosen.push(reader);
      else shards.set(shard_id, [...(shards.get(shard_id) ?? []), reader]);
    }
    this.#turn += 1;
    for (const members of shards.values()) {
      const isFixed = members.every(({ selector }) => selector.deterministic_name !== undefined);
      const ordered = isFixed ? members.toSorted(byName) : members;
      const one = ordered[(isFixed ? number(source_id) : this.#turn) % ordered.length];
      if (one) chosen.push(one);
    }
    return chosen;
  }

  #remove(reader: Reader): void {
    this.#all.delete(reader);
    for (const source_id of reader.selector.source_ids) {
      const readers = this.#bySource.get(source_id);
      readers?.delete(reader);
      if (readers?.size === 0) this.#bySource.delete(source_id);
    }
  }
}

/** A loss as a line in the stream in which it happened. */
export function lossEntry(source_id: string, count: number, last: Entry, why = 'its reader is too slow'): Entry {
  const { instance_id, tags } = last.origin;
  return {
    timestamp: last.timestamp,
    kind: 'ERR',
    origin: { instance_id, tags: { ...tags, source_type: 'LGR' } },
    payload: Buffer.from(`${count} messages dropped for ${source_id}, because ${why}`),
  };
}

function byName(a: Reader, b: Reader): number {
  return (a.selector.deterministic_name ?? '') < (b.selector.deterministic_name ?? '') ? -1 : 1;
}

function number(source_id: string): number {
  return createHash('sha256').update(source_id).digest().readUInt32LE(0);
}
