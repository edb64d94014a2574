import { hash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import ignore, { type Ignore } from 'ignore';
import { digestFile } from '#archive/digest.ts';
import { packZip, type ZipSource } from '#archive/pack-zip.ts';
import { unpackZip } from '#archive/unpack-zip.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import { CommandError } from '../errors.ts';

/** One thing that a push uploads; `path` relative to the app's folder, with `/`. */
export type PushFile =
  | { kind: 'file'; path: string; source: string; mode: number; size: number }
  | { kind: 'folder'; path: string; mode: number }
  | { kind: 'link'; path: string; target: string };

/** A file as the API's resource matching names it. */
export interface Resource {
  checksum: { value: string };
  size_in_bytes: number;
  path: string;
  mode: string;
}

/** What no push uploads. Source: cloudfoundry/cli. */
const ALWAYS_IGNORED = [
  '.cfignore',
  '.DS_Store',
  '.git',
  '.gitignore',
  '.hg',
  '.svn',
  '_darcs',
  'manifest.yaml',
  'manifest.yml',
];

/**
 * Lists what a push of `path` uploads: a folder's files without what .cfignore names, in a fixed order.
 * Errors: CommandError when the path is not there or holds nothing.
 */
export async function listFiles(path: string): Promise<PushFile[]> {
  const folder = resolve(path);
  const isFolder = (await statOf(folder)).isDirectory();
  if (!isFolder) throw new CommandError(`The path '${folder}' is neither a folder nor a zip file.`);
  const files: PushFile[] = [];
  walk(folder, '', await ignoreRules(folder), files);
  if (!files.some((file) => file.kind === 'file')) throw new CommandError(`No app files found in '${folder}'`);
  return files;
}

/** Unpacks a zip (.zip, .jar, .war) that is pushed in place of a folder. Errors: CommandError. */
export async function unpackPushedZip(path: string, target: string): Promise<void> {
  await statOf(path);
  try {
    await unpackZip(path, target, { max_bytes: 8 * 1024 ** 3, max_entries: 1_000_000, links: 'inside' });
  } catch (error) {
    throw new CommandError(
      `The file '${path}' cannot be read as a zip: ${error instanceof Error ? error.message : ''}`,
      { cause: error },
    );
  }
}

export async function isZip(path: string): Promise<boolean> {
  return (await statOf(resolve(path))).isFile();
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT')
      throw new CommandError(`The specified path '${path}' does not exist.`, { cause: error });
    throw new CommandError(`The specified path '${path}' cannot be read.`, { cause: error });
  }
}

async function ignoreRules(folder: string): Promise<Ignore> {
  const rules = ignore().add(ALWAYS_IGNORED);
  const own = await readFile(join(folder, '.cfignore'), 'utf8').catch(() => '');
  return rules.add(own);
}

function walk(folder: string, below: string, rules: Ignore, files: PushFile[]): void {
  const entries = readdirSync(join(folder, below), { withFileTypes: true });
  for (const entry of entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    const source = join(folder, path);
    if (rules.ignores(entry.isDirectory() ? `${path}/` : path)) continue;
    if (entry.isSymbolicLink()) files.push({ kind: 'link', path, target: readlinkSync(source) });
    else if (entry.isDirectory()) {
      files.push({ kind: 'folder', path, mode: lstatSync(source).mode & 0o777 });
      walk(folder, path, rules, files);
    } else if (entry.isFile()) {
      const { mode, size } = lstatSync(source);
      files.push({ kind: 'file', path, source, mode: mode & 0o777, size });
    }
    // Sockets, pipes and devices are nothing that one could upload.
  }
}

/** A file up to this size is read at once. */
const READ_AT_ONCE_BYTES = 1 << 20;

/** The resources of the files that are not empty, with their SHA-1. */
export async function hashFiles(files: readonly PushFile[]): Promise<Resource[]> {
  const resources: Resource[] = [];
  for (const file of files) {
    if (file.kind !== 'file' || file.size === 0) continue;
    // Nothing else waits for this process, and calls that block take a fraction of the time for many small files.
    const isSmall = file.size <= READ_AT_ONCE_BYTES;
    const sha1 = isSmall ? hash('sha1', readFileSync(file.source)) : (await digestFile(file.source, 'sha1')).sha1;
    resources.push({
      checksum: { value: sha1 },
      size_in_bytes: file.size,
      path: file.path,
      mode: `0${file.mode.toString(8)}`,
    });
  }
  return resources;
}

/** Zips what the platform lacks. */
export async function zipFiles(files: readonly PushFile[], known: ReadonlySet<string>, zip: string): Promise<void> {
  const sources = files.flatMap((file): ZipSource[] => {
    switch (file.kind) {
      case 'file':
        return known.has(file.path) ? [] : [{ kind: 'file', path: file.path, mode: file.mode, source: file.source }];
      case 'folder':
        return [{ kind: 'folder', path: `${file.path}/`, mode: file.mode }];
      case 'link':
        return [{ kind: 'link', path: file.path, target: file.target }];
      default:
        return file satisfies never;
    }
  });
  await packZip(sources, zip);
}
