import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { tarOf } from '#testing/image-registry.ts';
import { unpackCache } from './unpack-cache.ts';

const folder = await mkdtemp(join(tmpdir(), 'ingot-cache-'));
after(async () => await rm(folder, { recursive: true }));
const options = { max_bytes: 1 << 20, max_entries: 10, links: 'kept' as const };
const tar = await tarOf([{ name: 'kept', text: 'kept' }]);

for (const [name, packed] of Object.entries({ gzip: gzipSync(tar), zstd: zstdCompressSync(tar) })) {
  it(`a cache packed by ${name} is unpacked, in whatever pieces it comes`, async () => {
    const pieces = [...packed].map((byte) => Buffer.from([byte]));
    await unpackCache(Readable.from(pieces), join(folder, name), options);
    assert.equal(await readFile(join(folder, name, 'kept'), 'utf8'), 'kept');
  });
}

it('a cache that is none, or breaks off, is refused', async () => {
  for (const bad of [Buffer.from(''), Buffer.from('nothing of the kind'), zstdCompressSync(tar).subarray(0, 20)])
    await assert.rejects(unpackCache(Readable.from([bad]), join(folder, 'bad'), options));
  const broken = Readable.from(
    (async function* () {
      yield zstdCompressSync(tar).subarray(0, 20);
      throw new Error('the connection broke off');
    })(),
  );
  await assert.rejects(unpackCache(broken, join(folder, 'broken'), options));
});
