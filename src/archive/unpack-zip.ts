import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type Entry, getFileNameLowLevel, openPromise, type ZipFile } from 'yauzl';
import { systemErrorCode } from '#kernel/errors.ts';
import { ArchiveInvalid } from './errors.ts';
import { isKnownFault } from './known-fault.ts';
import { TreeWriter, type TreeOptions } from './tree-writer.ts';

export interface ZipEntry {
  path: string;
  kind: 'file' | 'folder' | 'link';
  /** Permission bits alone. */
  mode: number;
  size: number;
  mtime: Date;
}

const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const UNIX = 3;
const MAX_LINK_BYTES = 4096;

/**
 * Unpacks a zip into a folder, with unix modes and links. On an error what was written so far stays for the caller to remove.
 * Errors: ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge, TreeWriteFailed; ENOENT as Node gives it.
 */
export async function unpackZip(
  path: string,
  folder: string,
  options: TreeOptions,
): Promise<{ bytes: number; entries: number }> {
  return await reading(path, async (zip) => {
    const tree = await TreeWriter.open(folder, options);
    try {
      for await (const raw of zip.eachEntry()) {
        const entry = describe(raw);
        if (entry.kind === 'folder') await tree.folder(entry);
        else if (entry.kind === 'link') await tree.link(entry, await readLink(zip, raw));
        else await tree.file(entry, await checked(zip, raw));
      }
      return await tree.finish();
    } catch (error) {
      await tree.abort();
      throw error;
    }
  });
}

/** What a zip says that it holds, in its own order. Errors: ArchiveInvalid. */
export async function listZip(path: string): Promise<ZipEntry[]> {
  return await reading(path, async (zip) => {
    const entries: ZipEntry[] = [];
    for await (const raw of zip.eachEntry()) entries.push(describe(raw));
    return entries;
  });
}

async function reading<T>(path: string, work: (zip: ZipFile) => Promise<T>): Promise<T> {
  let zip: ZipFile | undefined;
  try {
    // Names are judged by our own ledger, so that an escape is told apart from a broken file.
    zip = await openPromise(path, { autoClose: false, decodeStrings: false, validateEntrySizes: true });
    return await work(zip);
  } catch (error) {
    if (isKnownFault(error) || systemErrorCode(error) !== undefined) throw error;
    throw new ArchiveInvalid('the file is not a valid zip', { cause: error });
  } finally {
    zip?.close();
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

async function readLink(zip: ZipFile, raw: Entry): Promise<string> {
  if (raw.uncompressedSize > MAX_LINK_BYTES) throw new ArchiveInvalid('the zip has a link of over 4096 bytes');
  return await text(await checked(zip, raw));
}

/** The entry's bytes; ends with ArchiveInvalid when they are not those that were packed. */
async function checked(zip: ZipFile, raw: Entry): Promise<Readable> {
  if (raw.isEncrypted()) throw new ArchiveInvalid('the zip is encrypted');
  let sum = 0;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum = crc32(chunk, sum);
      done(null, chunk);
    },
    flush(done) {
      done(sum === raw.crc32 ? null : new ArchiveInvalid('the zip is damaged: a checksum is wrong'));
    },
  });
  const source = await zip.openReadStreamPromise(raw);
  source.on('error', (error) => check.destroy(error));
  check.on('close', () => source.destroy());
  return source.pipe(check);
}
