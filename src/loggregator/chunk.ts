import { AppError } from '#kernel/errors.ts';

/** What an envelope says; the numbers are on disk. */
export const KINDS = ['OUT', 'ERR', 'COUNTER', 'GAUGE', 'TIMER', 'EVENT'] as const;
export type Kind = (typeof KINDS)[number];

/** Whence an envelope came; many envelopes share one. */
export interface Origin {
  instance_id: string;
  tags: Readonly<Record<string, string>>;
}

/** One envelope of a source: a log line's bytes, or the JSON of a measurement's `counter`, `gauge`, `timer` or `event`. */
export interface Entry {
  /** ns since the epoch. */
  timestamp: bigint;
  kind: Kind;
  origin: Origin;
  payload: Buffer;
}

export class ChunkDamaged extends AppError {
  constructor(why: string, options?: ErrorOptions) {
    super('chunk_damaged', `a chunk of the log store is damaged: ${why}`, options);
  }
}

const HEADER_BYTES = 16;

/**
 * Envelopes of one source as columns, sorted by time, never changed once made. In memory it is views on the very bytes that
 * are stored, so thousands of lines cost one object.
 * Layout, little-endian: u32 count, u32 bytes of the origins' JSON, 8 bytes zero; then i64 timestamps, u32 ends of payloads,
 * u16 origins, u8 kinds, the origins' JSON, the payloads one after another.
 */
export class Chunk {
  readonly count: number;
  readonly bytes: Buffer;
  readonly origins: readonly Origin[];
  /** All payloads in one piece, which is what a search scans. */
  readonly text: Buffer;
  readonly #timestamps: BigInt64Array;
  readonly #ends: Uint32Array;
  readonly #originOf: Uint16Array;
  readonly #kinds: Uint8Array;

  /** Takes bytes that `encode` made. Errors: ChunkDamaged. */
  constructor(stored: Buffer) {
    if (stored.length < HEADER_BYTES) throw new ChunkDamaged('it is too short');
    // Columns of eight bytes need an address that is a multiple of eight.
    const bytes = stored.byteOffset % 8 === 0 ? stored : aligned(stored);
    const count = bytes.readUInt32LE(0);
    const originsBytes = bytes.readUInt32LE(4);
    const { buffer, byteOffset } = bytes;
    const ends = HEADER_BYTES + 8 * count;
    const originOf = ends + 4 * count;
    const kinds = originOf + 2 * count;
    const origins = kinds + count;
    const text = origins + originsBytes;
    if (bytes.length < text) throw new ChunkDamaged('its columns are cut off');
    this.bytes = bytes;
    this.count = count;
    this.#timestamps = new BigInt64Array(buffer, byteOffset + HEADER_BYTES, count);
    this.#ends = new Uint32Array(buffer, byteOffset + ends, count);
    this.#originOf = new Uint16Array(buffer, byteOffset + originOf, count);
    this.#kinds = bytes.subarray(kinds, origins);
    this.text = bytes.subarray(text);
    if (this.endOf(count - 1) !== this.text.length) throw new ChunkDamaged('its payloads are cut off');
    try {
      this.origins = JSON.parse(bytes.toString('utf8', origins, text)) as Origin[];
    } catch (error) {
      throw new ChunkDamaged('its origins are no JSON', { cause: error });
    }
  }

  /** Errors: none; entries need not be sorted. At most 65,536 distinct origins. */
  static encode(entries: readonly Entry[]): Chunk {
    const sorted = isSorted(entries) ? entries : entries.toSorted((a, b) => compare(a.timestamp, b.timestamp));
    const origins = new Map<Origin, number>();
    let payloads = 0;
    for (const entry of sorted) {
      payloads += entry.payload.length;
      if (!origins.has(entry.origin)) origins.set(entry.origin, origins.size);
    }
    const originsJson = Buffer.from(JSON.stringify([...origins.keys()]));
    const count = sorted.length;
    const columns = HEADER_BYTES + 15 * count;
    const bytes = Buffer.allocUnsafeSlow(columns + originsJson.length + payloads);
    bytes.writeUInt32LE(count, 0);
    bytes.writeUInt32LE(originsJson.length, 4);
    bytes.fill(0, 8, HEADER_BYTES);
    const timestamps = new BigInt64Array(bytes.buffer, HEADER_BYTES, count);
    const ends = new Uint32Array(bytes.buffer, HEADER_BYTES + 8 * count, count);
    const originOf = new Uint16Array(bytes.buffer, HEADER_BYTES + 12 * count, count);
    const kinds = HEADER_BYTES + 14 * count;
    originsJson.copy(bytes, columns);
    const text = columns + originsJson.length;
    let end = 0;
    for (let at = 0; at < count; at++) {
      const entry = sorted[at];
      if (!entry) break;
      timestamps[at] = entry.timestamp;
      originOf[at] = origins.get(entry.origin) ?? 0;
      bytes[kinds + at] = KIND_NUMBER[entry.kind];
      entry.payload.copy(bytes, text + end);
      end += entry.payload.length;
      ends[at] = end;
    }
    return new Chunk(bytes);
  }

  get oldest(): bigint {
    return this.timestampAt(0);
  }

  get newest(): bigint {
    return this.timestampAt(this.count - 1);
  }

  /** Bit n is set when an entry of `KINDS[n]` is within. */
  get kindBits(): number {
    let bits = 0;
    for (const kind of this.#kinds) bits |= 1 << kind;
    return bits;
  }

  timestampAt(at: number): bigint {
    return this.#timestamps[at] ?? 0n;
  }

  kindAt(at: number): Kind {
    return KINDS[this.#kinds[at] ?? 0] ?? 'OUT';
  }

  kindNumberAt(at: number): number {
    return this.#kinds[at] ?? 0;
  }

  originAt(at: number): Origin {
    return this.origins[this.#originOf[at] ?? 0] ?? { instance_id: '', tags: {} };
  }

  payloadAt(at: number): Buffer {
    return this.text.subarray(this.endOf(at - 1), this.endOf(at));
  }

  /** Where the payload of entry `at` ends in `text`; 0 for -1. */
  endOf(at: number): number {
    return at < 0 ? 0 : (this.#ends[at] ?? 0);
  }

  /** The index of the entry whose payload holds the byte `offset` of `text`. */
  entryAtByte(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.endOf(middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The index of the first entry at or after `timestamp`. */
  firstFrom(timestamp: bigint): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timestampAt(middle) < timestamp) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  *entries(): Generator<Entry> {
    for (let at = 0; at < this.count; at++) yield this.entryAt(at);
  }

  entryAt(at: number): Entry {
    return {
      timestamp: this.timestampAt(at),
      kind: this.kindAt(at),
      origin: this.originAt(at),
      payload: this.payloadAt(at),
    };
  }
}

export const KIND_NUMBER: Readonly<Record<Kind, number>> = { OUT: 0, ERR: 1, COUNTER: 2, GAUGE: 3, TIMER: 4, EVENT: 5 };

/** One chunk of several, origins that are equal made one. */
export function mergeChunks(chunks: readonly Chunk[]): Chunk {
  const known = new Map<string, Origin>();
  const entries: Entry[] = [];
  for (const chunk of chunks) {
    const own = new Map<Origin, Origin>();
    for (const origin of chunk.origins) {
      const key = JSON.stringify(origin);
      const same = known.get(key);
      if (!same) known.set(key, origin);
      own.set(origin, same ?? origin);
    }
    for (const entry of chunk.entries()) entries.push({ ...entry, origin: own.get(entry.origin) ?? entry.origin });
  }
  return Chunk.encode(entries);
}

export function compare(a: bigint, b: bigint): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

function isSorted(entries: readonly Entry[]): boolean {
  let last: bigint | undefined;
  for (const { timestamp } of entries) {
    if (last !== undefined && timestamp < last) return false;
    last = timestamp;
  }
  return true;
}

function aligned(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
