import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Deps } from '../deps.ts';
import { buildpackBlobKey } from '../staging/buildpack-blob-key.ts';
import { type Buildpack, setBuildpackBits } from './store.ts';

type Parts = Pick<Deps, 'db' | 'config' | 'apps'>;

/**
 * Puts a zip at `path` in the place of the buildpack's bits; staging takes the new ones from then on. The same bits again are
 * not stored again.
 * Errors: 422 for what is no zip; the blobstore's.
 */
export async function storeBits(
  parts: Parts,
  buildpack: Buildpack,
  bits: { path: string; filename: string },
): Promise<void> {
  const { db, config, apps } = parts;
  if (!(await isZip(bits.path))) throw unprocessable(`${bits.filename} is not a zip`);
  const checksum = await sha256(bits.path);
  const key = buildpackBlobKey(buildpack.guid, checksum);
  if (checksum !== buildpack.checksum || !(await apps.blobs.head('cc-buildpacks', key))) {
    await apps.blobs.put('cc-buildpacks', key, createReadStream(bits.path), {
      max_bytes: config.limits.upload_max_bytes,
    });
  }
  await setBuildpackBits(db, buildpack.guid, { filename: bits.filename, checksum });
  if (checksum !== buildpack.checksum) await takeBits(parts, buildpack);
}

/** Takes away the bits that the buildpack had; who reads them already reads them to the end. */
export async function takeBits({ apps }: Parts, buildpack: Pick<Buildpack, 'guid' | 'checksum'>): Promise<void> {
  if (buildpack.checksum === null) return;
  await apps.blobs.delete('cc-buildpacks', buildpackBlobKey(buildpack.guid, buildpack.checksum));
}

const ZIP_START = Buffer.from('PK\x03\x04', 'latin1');

async function isZip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
  return bytesRead === 4 && buffer.equals(ZIP_START);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
