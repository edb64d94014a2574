import { type FileHandle, open } from 'node:fs/promises';
import { crc32, createDeflateRaw, deflateRawSync } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { type Readable, Writable } from 'node:stream';
import type { PackedContent } from './zip-reader.ts';

export interface ZipHead {
  path: string;
  /** With the bits of the type: S_IFREG, S_IFDIR, S_IFLNK. */
  unix_mode: number;
  mtime: Date;
}

const BATCH_BYTES = 1 << 20;
const STORED = 0;
const DEFLATED = 8;
/** Beneath this, what deflate saves is less than what its start costs. */
const WORTH_DEFLATING_BYTES = 128;
const TINY_BYTES = 4096;
const MADE_BY_UNIX = (3 << 8) | 45;
const UTF8 = 0x0800;
const ZIP64 = 45;
const PLAIN = 20;
const MAX32 = 0xffffffff;
const MAX16 = 0xffff;

/** Writes a zip entry by entry, small ones many at a time. Sizes beyond 4 GB and more than 65,535 entries go by ZIP64. */
export class ZipWriter {
  readonly #file: FileHandle;
  readonly #level: number;
  readonly #directory: Buffer[] = [];
  readonly #batch = Buffer.allocUnsafe(BATCH_BYTES);
  #batched = 0;
  /** Where the batch begins. */
  #written = 0;
  #entries = 0;

  private constructor(file: FileHandle, level: number) {
    this.#file = file;
    this.#level = level;
  }

  /** Writes to a new file, or one that is replaced. `finish` or `abort` must follow. */
  static async create(path: string, level = 6): Promise<ZipWriter> {
    return new ZipWriter(await open(path, 'w'), level);
  }

  async bytes(head: ZipHead, content: Buffer): Promise<void> {
    const deflated = content.length < WORTH_DEFLATING_BYTES ? content : deflate(content, this.#level);
    const isSmaller = deflated.length < content.length;
    const packed = isSmaller ? deflated : content;
    const about = {
      method: isSmaller ? DEFLATED : STORED,
      crc32: crc32(content),
      size: content.length,
      compressed_size: packed.length,
    };
    const start = this.#written + this.#batched;
    await this.#push(localHeader(head, about));
    await this.#push(packed);
    this.#enter(head, about, start);
  }

  /** `source` may have any length: the head is written again when its sizes are known. */
  async stream(head: ZipHead, source: Readable): Promise<void> {
    await this.#flush();
    const start = this.#written;
    const about = { method: DEFLATED, crc32: 0, size: 0, compressed_size: 0 };
    const place = localHeader(head, about, true);
    await this.#push(place);
    await pipeline(
      source,
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          about.crc32 = crc32(chunk, about.crc32);
          about.size += chunk.length;
          yield chunk;
        }
      },
      createDeflateRaw({ level: this.#level }),
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          about.compressed_size += chunk.length;
          this.#push(chunk).then(() => done(), done);
        },
      }),
    );
    await this.#flush();
    await this.#file.write(localHeader(head, about, true), 0, place.length, start);
    this.#enter(head, about, start);
  }

  /** What another zip has, as it is packed there. */
  async packed(head: ZipHead, about: PackedContent, bytes: AsyncIterable<Buffer>): Promise<void> {
    const start = this.#written + this.#batched;
    await this.#push(localHeader(head, about, about.size >= MAX32 || about.compressed_size >= MAX32));
    for await (const piece of bytes) await this.#push(piece);
    this.#enter(head, about, start);
  }

  async finish(): Promise<void> {
    const start = this.#written + this.#batched;
    for (const entry of this.#directory) await this.#push(entry);
    const size = this.#written + this.#batched - start;
    await this.#push(endOfZip({ entries: this.#entries, start, size }));
    await this.#flush();
    await this.#file.close();
  }

  async abort(): Promise<void> {
    await this.#file.close();
  }

  #enter(head: ZipHead, about: PackedContent, offset: number): void {
    this.#entries += 1;
    this.#directory.push(directoryEntry(head, about, offset));
  }

  /** Copied, since what deflate gives out holds on to much more than its length. */
  async #push(bytes: Buffer): Promise<void> {
    for (let taken = 0; taken < bytes.length;) {
      const copied = bytes.copy(this.#batch, this.#batched, taken);
      taken += copied;
      this.#batched += copied;
      if (this.#batched === BATCH_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    for (let done = 0; done < this.#batched;) {
      const at = this.#written + done;
      const { bytesWritten } = await this.#file.write(this.#batch, done, this.#batched - done, at);
      done += bytesWritten;
    }
    this.#written += this.#batched;
    this.#batched = 0;
  }
}

/** zlib takes memory for pieces of 16 KB and windows of 256 KB unless it is told that there is less to do. */
function deflate(content: Buffer, level: number): Buffer {
  const isTiny = content.length <= TINY_BYTES;
  return deflateRawSync(content, {
    level,
    chunkSize: content.length + 64,
    ...(isTiny && { windowBits: 12, memLevel: 5 }),
  });
}

/** `isWide` leaves room for sizes beyond 4 GB. */
function localHeader(head: ZipHead, about: PackedContent, isWide = false): Buffer {
  const name = Buffer.from(head.path);
  const extra = Buffer.concat([
    isWide ? wideSizes([about.size, about.compressed_size]) : Buffer.alloc(0),
    timeOf(head),
  ]);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(isWide ? ZIP64 : PLAIN, 4);
  header.writeUInt16LE(UTF8, 6);
  header.writeUInt16LE(about.method, 8);
  header.writeUInt32LE(dosTime(head.mtime), 10);
  header.writeUInt32LE(about.crc32, 14);
  header.writeUInt32LE(isWide ? MAX32 : about.compressed_size, 18);
  header.writeUInt32LE(isWide ? MAX32 : about.size, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(extra.length, 28);
  return Buffer.concat([header, name, extra]);
}

function directoryEntry(head: ZipHead, about: PackedContent, offset: number): Buffer {
  const name = Buffer.from(head.path);
  const wide = [about.size, about.compressed_size, offset].filter((value) => value >= MAX32);
  const extra = Buffer.concat([wide.length > 0 ? wideSizes(wide) : Buffer.alloc(0), timeOf(head)]);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(MADE_BY_UNIX, 4);
  entry.writeUInt16LE(wide.length > 0 ? ZIP64 : PLAIN, 6);
  entry.writeUInt16LE(UTF8, 8);
  entry.writeUInt16LE(about.method, 10);
  entry.writeUInt32LE(dosTime(head.mtime), 12);
  entry.writeUInt32LE(about.crc32, 16);
  entry.writeUInt32LE(Math.min(about.compressed_size, MAX32), 20);
  entry.writeUInt32LE(Math.min(about.size, MAX32), 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.writeUInt32LE((head.unix_mode << 16) >>> 0, 38);
  entry.writeUInt32LE(Math.min(offset, MAX32), 42);
  return Buffer.concat([entry, name, extra]);
}

/** The end records; those of ZIP64 only where the plain ones do not suffice. */
function endOfZip({ entries, start, size }: { entries: number; start: number; size: number }): Buffer {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(entries, MAX16), 8);
  end.writeUInt16LE(Math.min(entries, MAX16), 10);
  end.writeUInt32LE(Math.min(size, MAX32), 12);
  end.writeUInt32LE(Math.min(start, MAX32), 16);
  if (entries < MAX16 && size < MAX32 && start < MAX32) return end;
  const wide = Buffer.alloc(56);
  wide.writeUInt32LE(0x06064b50, 0);
  wide.writeBigUInt64LE(44n, 4);
  wide.writeUInt16LE(MADE_BY_UNIX, 12);
  wide.writeUInt16LE(ZIP64, 14);
  wide.writeBigUInt64LE(BigInt(entries), 24);
  wide.writeBigUInt64LE(BigInt(entries), 32);
  wide.writeBigUInt64LE(BigInt(size), 40);
  wide.writeBigUInt64LE(BigInt(start), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(start + size), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([wide, locator, end]);
}

function wideSizes(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(0x0001, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  for (const [at, value] of values.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * at);
  return extra;
}

/** Seconds since 1970, as Info-ZIP has them: MS-DOS's time is of no zone. */
function timeOf({ mtime }: ZipHead): Buffer {
  const extra = Buffer.alloc(9);
  extra.writeUInt16LE(0x5455, 0);
  extra.writeUInt16LE(5, 2);
  extra.writeUInt8(1, 4);
  extra.writeInt32LE(Math.floor(mtime.getTime() / 1000), 5);
  return extra;
}

function dosTime(time: Date): number {
  const year = Math.max(0, time.getUTCFullYear() - 1980);
  const date = (year << 9) | ((time.getUTCMonth() + 1) << 5) | time.getUTCDate();
  const seconds = (time.getUTCHours() << 11) | (time.getUTCMinutes() << 5) | (time.getUTCSeconds() >> 1);
  return ((date << 16) | seconds) >>> 0;
}
