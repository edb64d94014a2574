import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';

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
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

/** Writes a zip of the entries, in their order, to `path`. Errors: those of the sources and of the file system. */
export async function packZip(entries: Iterable<ZipSource>, path: string, options: PackZipOptions = {}): Promise<void> {
  await pipeline(zipStream(entries, options), createWriteStream(path));
}

/** As packZip, as a stream. A source is opened only when its turn comes. */
export function zipStream(entries: Iterable<ZipSource>, options: PackZipOptions = {}): Readable {
  const zip = new ZipFile();
  const output = new PassThrough();
  zip.outputStream.pipe(output);
  zip.on('error', (error: Error) => output.destroy(error));
  const level = options.compression_level ?? 6;
  for (const entry of entries) {
    // Local time would make the same tree differ from one machine to the next.
    const common = { mtime: entry.mtime ?? options.mtime ?? EARLIEST, forceDosTimestamp: false };
    if (entry.kind === 'folder') {
      zip.addEmptyDirectory(entry.path, { ...common, mode: S_IFDIR | (entry.mode & 0o777) });
    } else if (entry.kind === 'link') {
      zip.addBuffer(Buffer.from(entry.target), entry.path, { ...common, mode: S_IFLNK | 0o777, compress: false });
    } else {
      const { source } = entry;
      const settings = { ...common, mode: S_IFREG | (entry.mode & 0o777), compressionLevel: level };
      zip.addReadStreamLazy(entry.path, settings, (ready) => {
        void (async () => {
          try {
            const content = typeof source === 'string' ? createReadStream(source) : await source();
            // yazl does not listen for it.
            content.once('error', (error) => output.destroy(error));
            ready(null, content);
          } catch (error) {
            ready(error, Readable.from([]));
          }
        })();
      });
    }
  }
  zip.end();
  return output;
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
