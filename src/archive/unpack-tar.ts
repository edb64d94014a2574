import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { systemErrorCode } from '#kernel/errors.ts';
import { ArchiveInvalid } from './errors.ts';
import { isKnownFault } from './known-fault.ts';
import { TreeWriter, type TreeOptions } from './tree-writer.ts';

/**
 * Unpacks a tar.gz into a folder, with modes and links; hard links and devices are refused, unless owners are `as said`. On an error what was written so
 * far stays for the caller to remove.
 * Errors: ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge, TreeWriteFailed; ENOENT as Node gives it.
 */
export async function unpackTarGz(
  source: string | Readable,
  folder: string,
  options: TreeOptions,
): Promise<{ bytes: number; entries: number }> {
  const raw = typeof source === 'string' ? createReadStream(source) : source;
  return await judged(async () => {
    const gunzip = createGunzip();
    const fed = pipeline(raw, gunzip);
    fed.catch(() => {});
    try {
      const result = await unpackTar(gunzip, folder, options);
      await fed;
      return result;
    } catch (error) {
      raw.destroy();
      throw error;
    }
  });
}

/** As unpackTarGz, for a tar that is not compressed. */
export async function unpackTar(
  source: Readable,
  folder: string,
  options: TreeOptions,
): Promise<{ bytes: number; entries: number }> {
  return await judged(async () => {
    const tree = await TreeWriter.open(folder, options);
    const reader = extract();
    const fed = pipeline(source, reader);
    fed.catch((error: unknown) => reader.destroy(error instanceof Error ? error : new Error(String(error))));
    try {
      for await (const entry of reader) {
        await write(tree, entry.header, { content: entry, isWhole: options.owner === 'as said' });
        entry.resume();
      }
      await fed;
      return await tree.finish();
    } catch (error) {
      source.destroy();
      await tree.abort();
      throw error;
    }
  });
}

/** A file up to this size is handed on whole: streams would take most of the time that small files take. */
const BUFFERED_BYTES = 1 << 20;

/** `isWhole`: a root file system, which has hard links as well; devices are left out, since a container has its own. */
async function write(
  tree: TreeWriter,
  header: Header,
  { content, isWhole }: { content: AsyncIterable<unknown>; isWhole: boolean },
): Promise<void> {
  const entry = {
    path: isWhole ? header.name.replace(/^\/+/, '') : header.name,
    mode: header.mode ?? 0o644,
    mtime: header.mtime ?? new Date(0),
    uid: header.uid ?? 0,
    gid: header.gid ?? 0,
  };
  if (isWhole && header.type === 'link') return await tree.hardLink(entry, header.linkname?.replace(/^\/+/, '') ?? '');
  if (isWhole && ['character-device', 'block-device', 'fifo'].includes(header.type ?? '')) return;
  switch (header.type) {
    case 'directory':
      return await tree.folder(entry);
    case 'symlink':
      return await tree.link(entry, header.linkname ?? '');
    case 'file':
    case 'contiguous-file': {
      const size = header.size ?? 0;
      const isSmall = size <= BUFFERED_BYTES;
      return await tree.file({ ...entry, size }, isSmall ? await bytesOf(content) : Readable.from(content));
    }
    default:
      throw new ArchiveInvalid(`the tar's entry ${JSON.stringify(header.name)} is a ${header.type}`);
  }
}

async function bytesOf(content: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}

async function judged<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemErrorCode(error);
    // zlib's faults have codes as well, and are about the bytes.
    const isOfBytes = code === undefined || code.startsWith('Z_') || code.startsWith('ERR_');
    if (isKnownFault(error) || !isOfBytes) throw error;
    throw new ArchiveInvalid('the file is not a valid tar', { cause: error });
  }
}
