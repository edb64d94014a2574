import { chmod, lstat, mkdir } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { digestFile } from '#archive/digest.ts';
import { ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge } from '#archive/errors.ts';
import { packZip, type ZipSource, zipSourcesOf } from '#archive/pack-zip.ts';
import { unpackZip } from '#archive/unpack-zip.ts';
import { type Blobstore, BlobNotFound } from '#blobs/blobstore.ts';
import { CfError } from '#contracts/cf-errors.ts';
import { cacheFiles, type CacheLimits, inLanes, isCacheable, type Resource } from '../resource-matches/cache.ts';

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

const MAX_ENTRIES = 1_000_000;

/**
 * Makes the package of what was sent and what the platform has: the path of one zip. Files worth it are kept for later
 * matches. Errors: AppBitsUploadInvalid, AppResourcesFilePathInvalid, PayloadTooLarge.
 */
export async function assemblePackage(blobs: Blobstore, sources: Sources, limits: AssembleLimits): Promise<string> {
  const tree = join(sources.folder, 'tree');
  await mkdir(tree);
  if (sources.bits !== undefined) await unpack(sources.bits, tree, limits);
  const sent = await zipSourcesOf(tree);
  if (sent.length === 0 && sources.resources.length === 0) throw invalid('the package has no files');
  await keepForMatches(blobs, sent, limits);
  if (sources.resources.length === 0 && sources.bits !== undefined) return sources.bits;
  const links = sent.flatMap((entry) => (entry.kind === 'link' ? [entry.path] : []));
  for (const resource of sources.resources) checkPath(resource.path, links);
  await inLanes(sources.resources, async (resource) => await fetchResource(blobs, tree, resource));
  const packed = join(sources.folder, 'package.zip');
  await packZip(await zipSourcesOf(tree), packed);
  return packed;
}

async function unpack(zip: string, tree: string, limits: AssembleLimits): Promise<void> {
  try {
    await unpackZip(zip, tree, { max_bytes: limits.max_bytes, max_entries: MAX_ENTRIES, links: 'inside' });
  } catch (error) {
    if (error instanceof ArchivePathEscapes) throw pathInvalid(error.path, error);
    if (error instanceof ArchiveTooLarge) {
      throw new CfError('PayloadTooLarge', `The app package is too large: ${error.message}`, { cause: error });
    }
    if (error instanceof ArchiveInvalid) throw invalid(`Invalid zip archive: ${error.message}`, error);
    throw error;
  }
}

async function keepForMatches(blobs: Blobstore, sent: readonly ZipSource[], limits: CacheLimits): Promise<void> {
  const files = sent.flatMap((entry) =>
    entry.kind === 'file' && typeof entry.source === 'string' ? [entry.source] : [],
  );
  const sized = await inLanes(files, async (source) => ({ source, size: (await lstat(source)).size }));
  const worthy = sized.filter(({ size }) => isCacheable(size, limits));
  const digested = await inLanes(worthy, async (file) => ({ ...file, ...(await digestFile(file.source, 'sha1')) }));
  await cacheFiles(blobs, digested, limits);
}

function checkPath(path: string, links: readonly string[]): void {
  const parts = path.split('/');
  const isSafe =
    path !== '' && !path.startsWith('/') && !path.includes('\0') && !parts.some((part) => part === '..' || part === '');
  // A link may lead anywhere inside; a file beneath one would land elsewhere than it says.
  const isBeneathLink = links.some((link) => path === link || path.startsWith(`${link}/`));
  if (!isSafe || isBeneathLink) throw pathInvalid(path);
}

async function fetchResource(blobs: Blobstore, tree: string, resource: Resource): Promise<void> {
  const path = join(tree, resource.path);
  await mkdir(dirname(path), { recursive: true });
  try {
    const { stream } = await blobs.get('cc-resources', resource.sha1);
    await pipeline(stream, createWriteStream(path));
  } catch (error) {
    if (!(error instanceof BlobNotFound)) throw error;
    throw invalid(`the file '${resource.path}' is not known here (any more). Please push again`, error);
  }
  await chmod(path, resource.mode);
}

function invalid(why: string, cause?: unknown): CfError {
  return new CfError('AppBitsUploadInvalid', `The app upload is invalid: ${why}`, { cause });
}

function pathInvalid(path: string, cause?: unknown): CfError {
  return new CfError('AppResourcesFilePathInvalid', `The resource file path is invalid: ${path}`, { cause });
}
