import { createHash, hash } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DigestStream } from '#archive/digest.ts';
import { ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge } from '#archive/errors.ts';
import { ArchiveLedger } from '#archive/ledger.ts';
import { zipHead } from '#archive/pack-zip.ts';
import { type FoundEntry, readZip, type ZipReader } from '#archive/zip-reader.ts';
import { ZipWriter } from '#archive/zip-writer.ts';
import { type Blobstore, BlobNotFound, BlobstoreFull } from '#blobs/blobstore.ts';
import { CfError } from '#contracts/cf-errors.ts';
import { type CacheLimits, isCacheable, type Resource } from '../resource-matches/cache.ts';

export interface Sources {
  /** The zip that was sent, if any. */
  bits: string | undefined;
  /** What the platform has already. */
  resources: readonly Resource[];
  /** An empty folder to work in. */
  folder: string;
}

export interface AssembleLimits extends CacheLimits {
  /** Bytes of all files together. */
  max_bytes: number;
}

/** An entry that was sent, with the clean form of its path. */
interface Sent {
  entry: FoundEntry;
  path: string;
}

const MAX_ENTRIES = 1_000_000;
const READ_AT_ONCE_BYTES = 1 << 20;
/** Packages are read by few and soon replaced: time is worth more than bytes. */
const COMPRESSION_LEVEL = 1;

/**
 * Makes the package of what was sent and what the platform has: the path of one zip. Nothing is unpacked to the disk; what was
 * sent goes over as it is packed. Files worth it are kept for later matches.
 * Errors: AppBitsUploadInvalid, AppResourcesFilePathInvalid, PayloadTooLarge.
 */
export async function assemblePackage(blobs: Blobstore, sources: Sources, limits: AssembleLimits): Promise<string> {
  const { bits, resources } = sources;
  const ledger = new ArchiveLedger({ max_bytes: limits.max_bytes, max_entries: MAX_ENTRIES });
  return await judged(async () => {
    if (bits === undefined) return await merge(blobs, sources, { ledger });
    return await readZip(bits, async (zip) => {
      const sent = await examine(zip, ledger, keeper(blobs, limits));
      if (sent.length === 0 && resources.length === 0) throw invalid('the package has no files');
      return resources.length === 0 ? bits : await merge(blobs, sources, { ledger, zip, sent });
    });
  });
}

/** Reads all that was sent, so that nothing that is broken or leads astray becomes a package, and keeps what is worth it. */
async function examine(zip: ZipReader, ledger: ArchiveLedger, keep: Keeper): Promise<Sent[]> {
  const sent: Sent[] = [];
  for await (const entry of zip.entries()) {
    const path = ledger.enter(entry.path, entry.kind, entry.size);
    if (entry.kind === 'link') ledger.noteLink(path, await zip.link(entry));
    if (entry.kind === 'file') await keep(entry.size, async () => await zip.content(entry));
    sent.push({ entry, path });
  }
  ledger.refuseEscapingLinks();
  return sent;
}

type Keeper = (size: number, open: () => Promise<Buffer | Readable>) => Promise<void>;

/** Reads a file whatever it is worth; a cache that is full keeps nothing more, which harms nobody. */
function keeper(blobs: Blobstore, limits: CacheLimits): Keeper {
  return async (size, open) => {
    const content = await open();
    const sha1 = Buffer.isBuffer(content) ? hash('sha1', content) : await digestOf(content);
    if (!isCacheable(size, limits) || (await blobs.head('cc-resources', sha1))) return;
    try {
      if (Buffer.isBuffer(content)) return await blobs.keep('cc-resources', sha1, content);
      const again = await open();
      const source = Buffer.isBuffer(again) ? Readable.from([again]) : again;
      await blobs.put('cc-resources', sha1, source, { max_bytes: limits.resource_max_bytes });
    } catch (error) {
      if (!(error instanceof BlobstoreFull)) throw error;
    }
  };
}

async function digestOf(content: Readable): Promise<string> {
  const digest = createHash('sha1');
  for await (const chunk of content as AsyncIterable<Buffer>) digest.update(chunk);
  return digest.digest('hex');
}

async function merge(blobs: Blobstore, { resources, folder }: Sources, from: SentZip): Promise<string> {
  const { ledger, zip, sent = [] } = from;
  const path = join(folder, 'package.zip');
  const packed = await ZipWriter.create(path, COMPRESSION_LEVEL);
  try {
    const named = resources.map((resource) => ({ resource, path: enter(ledger, resource) }));
    const replaced = new Set(named.map((one) => one.path));
    const folders = new Set<string>();
    for (const { entry, path: name } of sent) {
      if (name === '' || replaced.has(name) || !zip) continue;
      if (entry.kind === 'folder') folders.add(name);
      const { about, bytes } = await zip.packed(entry);
      await packed.packed(zipHead({ ...entry, path: name }), about, bytes);
    }
    for (const { resource, path: name } of named) {
      await addParents(packed, name, folders);
      await addResource(blobs, packed, { ...resource, path: name });
    }
    await packed.finish();
    return path;
  } catch (error) {
    await packed.abort();
    throw error;
  }
}

interface SentZip {
  ledger: ArchiveLedger;
  zip?: ZipReader;
  sent?: readonly Sent[];
}

/** The path of a resource as the package has it. */
function enter(ledger: ArchiveLedger, { path, size }: Resource): string {
  if (path.split('/').includes('')) throw pathInvalid(path);
  if (ledger.isLink(path)) throw pathInvalid(path);
  try {
    return ledger.enter(path, 'file', size);
  } catch (error) {
    // A file beneath a link, or in place of a folder, would land elsewhere than it says.
    throw error instanceof ArchiveInvalid ? pathInvalid(path, error) : error;
  }
}

async function addParents(packed: ZipWriter, path: string, made: Set<string>): Promise<void> {
  for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1)) {
    const parent = path.slice(0, slash);
    if (made.has(parent)) continue;
    made.add(parent);
    await packed.bytes(zipHead({ path: parent, kind: 'folder', mode: 0o755 }), Buffer.alloc(0));
  }
}

async function addResource(blobs: Blobstore, packed: ZipWriter, resource: Resource): Promise<void> {
  const { path, sha1, size, mode } = resource;
  const head = zipHead({ path, kind: 'file', mode });
  try {
    let found: string;
    if (size <= READ_AT_ONCE_BYTES) {
      const bytes = await blobs.read('cc-resources', sha1);
      found = hash('sha1', bytes);
      await packed.bytes(head, bytes);
    } else {
      const digest = new DigestStream('sha1');
      const { stream } = await blobs.get('cc-resources', sha1);
      stream.once('error', (error) => digest.destroy(error));
      await packed.stream(head, stream.pipe(digest));
      found = digest.digest;
    }
    if (found === sha1) return;
  } catch (error) {
    if (!(error instanceof BlobNotFound)) throw error;
    throw unknown(path, error);
  }
  // The disk, or a loss of power, gave it other bytes: it is not what its name says, and goes.
  await blobs.delete('cc-resources', sha1);
  throw unknown(path);
}

/** What archives say, in the API's words. */
async function judged<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ArchivePathEscapes) throw pathInvalid(error.path, error);
    if (error instanceof ArchiveTooLarge) {
      throw new CfError('PayloadTooLarge', `The app package is too large: ${error.message}`, { cause: error });
    }
    if (error instanceof ArchiveInvalid) throw invalid(`Invalid zip archive: ${error.message}`, error);
    throw error;
  }
}

function unknown(path: string, cause?: unknown): CfError {
  return invalid(`the file '${path}' is not known here (any more). Please push again`, cause);
}

function invalid(why: string, cause?: unknown): CfError {
  return new CfError('AppBitsUploadInvalid', `The app upload is invalid: ${why}`, { cause });
}

function pathInvalid(path: string, cause?: unknown): CfError {
  return new CfError('AppResourcesFilePathInvalid', `The resource file path is invalid: ${path}`, { cause });
}
