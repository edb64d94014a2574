import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type ZipHead, ZipWriter } from './zip-writer.ts';

export type ZipSource =
  | { path: string; kind: 'file'; mode: number; source: string | (() => Promise<Readable> | Readable); mtime?: Date }
  | { path: string; kind: 'folder'; mode: number; mtime?: Date }
  | { path: string; kind: 'link'; target: string; mtime?: Date };

export interface PackZipOptions {
  /** The same time for all entries, so that equal trees give equal zips; by default 1980-01-01, a zip's earliest. */
  mtime?: Date;
  /** 0 stores, 9 tries hardest; 6 unless said. */
  compression_level?: number;
}

const EARLIEST = new Date(Date.UTC(1980, 0, 1));
/** A file up to this size is read at once. */
const READ_AT_ONCE_BYTES = 1 << 20;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

/** The head of a zip's entry for one of ours. */
export function zipHead(
  entry: { path: string; kind: 'file' | 'folder' | 'link'; mode?: number; mtime?: Date },
  mtime = EARLIEST,
): ZipHead {
  const type = { file: S_IFREG, folder: S_IFDIR, link: S_IFLNK }[entry.kind];
  const path = entry.kind === 'folder' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
  return { path, unix_mode: type | ((entry.mode ?? 0o777) & 0o777), mtime: entry.mtime ?? mtime };
}

/**
 * Writes a zip of the entries, in their order, to `path`; a source is opened only when its turn comes. On an error nothing is
 * left. Errors: those of the sources and of the file system.
 */
export async function packZip(entries: Iterable<ZipSource>, path: string, options: PackZipOptions = {}): Promise<void> {
  const zip = await ZipWriter.create(path, options.compression_level);
  try {
    for (const entry of entries) await add(zip, entry, zipHead(entry, options.mtime));
    await zip.finish();
  } catch (error) {
    await zip.abort();
    await rm(path, { force: true });
    throw error;
  }
}

async function add(zip: ZipWriter, entry: ZipSource, head: ZipHead): Promise<void> {
  switch (entry.kind) {
    case 'folder':
      return await zip.bytes(head, Buffer.alloc(0));
    case 'link':
      return await zip.bytes(head, Buffer.from(entry.target));
    case 'file': {
      const { source } = entry;
      if (typeof source !== 'string') return await zip.stream(head, await source());
      return await addFile(zip, head, source);
    }
    default:
      return entry satisfies never;
  }
}

/** A file of the disk. */
async function addFile(zip: ZipWriter, head: ZipHead, path: string): Promise<void> {
  const { size } = await lstat(path);
  if (size <= READ_AT_ONCE_BYTES) await zip.bytes(head, await readFile(path));
  else await zip.stream(head, createReadStream(path, { highWaterMark: 1 << 18 }));
}

/**
 * Everything below `folder` as entries for packZip, sorted by path, links as links. `accepts` is asked with each relative
 * path (folders end in `/`); a folder that is not accepted is not entered. Sockets, devices and pipes are left out.
 */
export async function zipSourcesOf(
  folder: string,
  accepts: (path: string) => boolean = () => true,
): Promise<ZipSource[]> {
  const found: ZipSource[] = [];
  const visit = async (relative: string): Promise<void> => {
    for (const name of (await readdir(join(folder, relative))).sort()) {
      const path = relative === '' ? name : `${relative}/${name}`;
      const source = join(folder, path);
      const stat = await lstat(source);
      const mode = stat.mode & 0o777;
      if (stat.isDirectory()) {
        if (!accepts(`${path}/`)) continue;
        found.push({ path: `${path}/`, kind: 'folder', mode });
        await visit(path);
      } else if (!accepts(path)) {
        continue;
      } else if (stat.isSymbolicLink()) {
        found.push({ path, kind: 'link', target: await readlink(source) });
      } else if (stat.isFile()) {
        found.push({ path, kind: 'file', mode, source });
      }
    }
  };
  await visit('');
  return found;
}
