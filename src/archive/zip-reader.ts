import { open } from 'node:fs/promises';
import { PassThrough, Readable, Transform } from 'node:stream';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, getFileNameLowLevel, type ZipFile } from 'yauzl';
import { systemErrorCode } from '#kernel/errors.ts';
import { ArchiveInvalid } from './errors.ts';
import { isKnownFault } from './known-fault.ts';
import { DirectoryReader, WindowedFile } from './windowed-file.ts';

export interface ZipEntry {
  path: string;
  kind: 'file' | 'folder' | 'link';
  /** Permission bits alone. */
  mode: number;
  size: number;
  mtime: Date;
}

/** An entry with where its bytes are, for the reader that found it. */
export interface FoundEntry extends ZipEntry {
  readonly raw: Entry;
}

/** An entry's bytes as the zip has them. */
export interface PackedContent {
  method: number;
  crc32: number;
  size: number;
  compressed_size: number;
}

/** Content up to this size is had as a buffer: a stream for each would take most of the time that small files take. */
const BUFFERED_BYTES = 1 << 20;
const WINDOW_BYTES = 1 << 20;
const MAX_LINK_BYTES = 4096;
const LOCAL_HEADER_BYTES = 30;
const LOCAL_SIGNATURE = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const UNIX = 3;

/** Opens a zip for `work` and says in our own errors what is wrong with it. Errors: ArchiveInvalid, those of `work`; ENOENT. */
export async function readZip<T>(path: string, work: (zip: ZipReader) => Promise<T>): Promise<T> {
  let reader: ZipReader | undefined;
  try {
    reader = await ZipReader.open(path);
    return await work(reader);
  } catch (error) {
    if (isKnownFault(error) || systemErrorCode(error) !== undefined) throw error;
    throw new ArchiveInvalid('the file is not a valid zip', { cause: error });
  } finally {
    await reader?.close();
  }
}

/** Reads a zip's entries in its own order; neighbours are read from the file together. */
export class ZipReader {
  readonly #zip: ZipFile;
  readonly #file: WindowedFile;

  private constructor(zip: ZipFile, file: WindowedFile) {
    this.#zip = zip;
    this.#file = file;
  }

  static async open(path: string): Promise<ZipReader> {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      // The directory and what it tells of lie apart.
      const directory = new DirectoryReader(new WindowedFile(file));
      // Names are judged by our own ledger, so that an escape is told apart from a broken file.
      const zip = await fromRandomAccessReaderPromise(directory, size, {
        autoClose: false,
        decodeStrings: false,
        validateEntrySizes: true,
      });
      return new ZipReader(zip, new WindowedFile(file));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Errors: ArchiveInvalid. */
  async *entries(): AsyncGenerator<FoundEntry> {
    for await (const raw of this.#zip.eachEntry()) yield { ...describe(raw), raw };
  }

  /** The entry's bytes, whole when they are few. Errors: ArchiveInvalid, when they are not those that were packed. */
  async content(entry: FoundEntry): Promise<Buffer | Readable> {
    const { raw } = entry;
    if (raw.isEncrypted()) throw new ArchiveInvalid('the zip is encrypted');
    if (raw.compressionMethod !== STORED && raw.compressionMethod !== DEFLATED) {
      throw new ArchiveInvalid(`the zip's entry ${JSON.stringify(entry.path)} is compressed in an unknown way`);
    }
    if (raw.uncompressedSize > BUFFERED_BYTES || raw.compressedSize > BUFFERED_BYTES) return await this.#stream(raw);
    const packed = await this.#file.read(await this.#startOf(raw), raw.compressedSize);
    const bytes = raw.compressionMethod === STORED ? packed : inflate(packed, raw.uncompressedSize);
    if (bytes.length !== raw.uncompressedSize) throw new ArchiveInvalid('the zip says a size that is not true');
    if (crc32(bytes) !== raw.crc32) throw damaged();
    return bytes;
  }

  /** Where a link leads. */
  async link(entry: FoundEntry): Promise<string> {
    if (entry.raw.uncompressedSize > MAX_LINK_BYTES) throw new ArchiveInvalid('the zip has a link of over 4096 bytes');
    const content = await this.content(entry);
    if (!Buffer.isBuffer(content)) throw new ArchiveInvalid('the zip has a link of over 4096 bytes');
    return content.toString();
  }

  /** The entry's bytes as they are packed, unchecked, for another zip. Errors: ArchiveInvalid. */
  async packed(entry: FoundEntry): Promise<{ about: PackedContent; bytes: AsyncIterable<Buffer> }> {
    const { raw } = entry;
    const about = {
      method: raw.compressionMethod,
      crc32: raw.crc32,
      size: raw.uncompressedSize,
      compressed_size: raw.compressedSize,
    };
    return { about, bytes: this.#pieces(await this.#startOf(raw), raw.compressedSize) };
  }

  async *#pieces(start: number, length: number): AsyncGenerator<Buffer> {
    for (let done = 0; done < length; done += WINDOW_BYTES) {
      yield await this.#file.read(start + done, Math.min(WINDOW_BYTES, length - done));
    }
  }

  async #startOf(raw: Entry): Promise<number> {
    const header = await this.#file.read(raw.relativeOffsetOfLocalHeader, LOCAL_HEADER_BYTES);
    if (header.readUInt32LE(0) !== LOCAL_SIGNATURE)
      throw new ArchiveInvalid('the zip is damaged: an entry is not there');
    const names_bytes = header.readUInt16LE(26) + header.readUInt16LE(28);
    return raw.relativeOffsetOfLocalHeader + LOCAL_HEADER_BYTES + names_bytes;
  }

  async #stream(raw: Entry): Promise<Readable> {
    const start = await this.#startOf(raw);
    const source = Readable.from(this.#pieces(start, raw.compressedSize));
    let sum = 0;
    let size = 0;
    const check = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        sum = crc32(chunk, sum);
        size += chunk.length;
        // Nothing may come out that the ledger was not told of.
        if (size > raw.uncompressedSize) done(new ArchiveInvalid('the zip says a size that is not true'));
        else done(null, chunk);
      },
      flush(done) {
        done(sum === raw.crc32 && size === raw.uncompressedSize ? null : damaged());
      },
    });
    const unpacked = raw.compressionMethod === STORED ? new PassThrough() : createInflateRaw();
    source.once('error', (error) => check.destroy(error));
    unpacked.once('error', (cause) => check.destroy(new ArchiveInvalid('the file is not a valid zip', { cause })));
    check.once('close', () => {
      source.destroy();
      unpacked.destroy();
    });
    return source.pipe(unpacked).pipe(check);
  }
}

const damaged = (): ArchiveInvalid => new ArchiveInvalid('the zip is damaged: a checksum is wrong');

function inflate(packed: Buffer, size: number): Buffer {
  try {
    // Room for what is expected alone: zlib takes 16 KB unless it is told.
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, size) });
  } catch (error) {
    throw new ArchiveInvalid('the zip is damaged, or says a size that is not true', { cause: error });
  }
}

function describe(raw: Entry): ZipEntry {
  const path = getFileNameLowLevel(raw.generalPurposeBitFlag, raw.fileNameRaw, raw.extraFields, false);
  // Other makers than unix leave no mode; theirs are readable files.
  const bits = raw.versionMadeBy >>> 8 === UNIX ? raw.externalFileAttributes >>> 16 : 0;
  const type = bits & S_IFMT;
  if (type !== 0 && type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK) {
    throw new ArchiveInvalid(`the zip's entry ${JSON.stringify(path)} is neither file, folder nor link`);
  }
  const kind = path.endsWith('/') || type === S_IFDIR ? 'folder' : type === S_IFLNK ? 'link' : 'file';
  const permissions = bits & 0o777;
  const mode = permissions === 0 ? (kind === 'folder' ? 0o755 : 0o644) : permissions;
  return { path, kind, mode, size: kind === 'file' ? raw.uncompressedSize : 0, mtime: raw.getLastModDate() };
}
