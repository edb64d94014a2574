import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { packZip, type ZipSource } from '#archive/pack-zip.ts';
import { listZip, unpackZip } from '#archive/unpack-zip.ts';
import { readFile } from 'node:fs/promises';
import type { Blobstore } from '#blobs/blobstore.ts';
import { type BlobstoreConfig, openBlobstore } from '#blobs/config.ts';
import { CfError } from '#contracts/cf-errors.ts';
import { Assembler } from './assembler.ts';

const limits = { max_bytes: 1 << 26, resource_min_bytes: 1, resource_max_bytes: 1 << 26 };
/** More than is done without a thread. */
const MANY = 250;

describe('a package is assembled', () => {
  let home: string;
  let folder: string;
  let blobs: Blobstore;
  let assembler: Assembler;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'ingot-assembler-'));
    const blobstore: BlobstoreConfig = { kind: 'folder', folder: join(home, 'blobs'), min_free_mb: 0 };
    blobs = await openBlobstore(blobstore);
    assembler = new Assembler({ blobs, blobstore });
  });
  beforeEach(async () => void (folder = await mkdtemp(join(home, 'work-'))));
  after(async () => {
    await blobs[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  const zipOf = async (files: Record<string, Buffer | string>): Promise<string> => {
    const path = join(folder, 'bits.zip');
    const sources = Object.entries(files).map(([name, content]): ZipSource => {
      return { path: name, kind: 'file', mode: 0o644, source: () => Readable.from([Buffer.from(content)]) };
    });
    await packZip(sources, path);
    return path;
  };
  const resource = (path: string, content: Buffer | string, mode = 0o640) => {
    const bytes = Buffer.from(content);
    return { path, sha1: hash('sha1', bytes), size: bytes.length, mode };
  };
  const isRefused = (title: string) => (error: unknown) => error instanceof CfError && error.title === title;

  it('of what was sent and what is known, by a thread and without one alike', async () => {
    const large = randomBytes(3 << 20);
    await assembler.assemble({ bits: await zipOf({ large, small: 'small' }), resources: [], folder }, limits);
    for (const count of [2, MANY]) {
      const work = await mkdtemp(join(home, 'work-'));
      const resources = [
        resource('lib/large', large),
        ...Array.from({ length: count }, (_, n) => resource(`lib/${n}`, 'small', 0o755)),
      ];
      const bits = await zipOf({ 'lib/1': 'replaced by what is known', new: 'new' });
      const path = await assembler.assemble({ bits, resources, folder: work }, limits);
      assert.equal((await listZip(path)).length, count + 3);
      await unpackZip(path, join(work, 'out'), { max_bytes: 1 << 26, max_entries: 1000, links: 'inside' });
      assert.deepEqual(await readFile(join(work, 'out/lib/large')), large);
      assert.equal(await readFile(join(work, 'out/lib/1'), 'utf8'), 'small');
      assert.equal(await readFile(join(work, 'out/new'), 'utf8'), 'new');
    }
  });

  it('never of bytes that are not what they are called: such leave the cache, and the user is told to push again', async () => {
    const sha1 = hash('sha1', 'right');
    await blobs.keep('cc-resources', sha1, Buffer.from('wrong'));
    const resources = Array.from({ length: MANY }, (_, n) => resource(`f${n}`, 'right'));
    await assert.rejects(assembler.assemble({ bits: undefined, resources, folder }, limits), (error: unknown) => {
      assert.ok(isRefused('AppBitsUploadInvalid')(error));
      return /not known here \(any more\)\. Please push again/.test(String(error));
    });
    assert.equal(await blobs.head('cc-resources', sha1), undefined);
  });

  it('never of more than is allowed, nor outside its folder', async () => {
    await assembler.assemble({ bits: await zipOf({ a: 'known' }), resources: [], folder }, limits);
    const known = resource('a', 'known');
    const refusals: [string, typeof known][] = [
      ['PayloadTooLarge', { ...known, size: 1 << 27 }],
      ['AppResourcesFilePathInvalid', { ...known, path: '../a' }],
      ['AppResourcesFilePathInvalid', { ...known, path: '/a' }],
      ['AppResourcesFilePathInvalid', { ...known, path: 'a//b' }],
      ['AppResourcesFilePathInvalid', { ...known, path: 'a\0' }],
      ['AppResourcesFilePathInvalid', { ...known, path: '' }],
      ['AppBitsUploadInvalid', resource('b', 'never sent')],
    ];
    for (const [title, one] of refusals) {
      const all = { bits: undefined, resources: [one], folder };
      await assert.rejects(assembler.assemble(all, limits), isRefused(title), `${title} ${one.path}`);
    }
    const broken = join(folder, 'broken.zip');
    await writeFile(broken, randomBytes(2 << 20));
    await assert.rejects(
      assembler.assemble({ bits: broken, resources: [], folder }, limits),
      isRefused('AppBitsUploadInvalid'),
    );
  });
});
