import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { DigestMismatch, DownloadFailed } from './download.ts';
import { DropletCache } from './droplet-cache.ts';
import { dropletOf } from './testing/sample-archives.ts';
import { SimulatedController } from './testing/simulated-controller.ts';

describe('the droplet cache', () => {
  let folder: string;
  let controller: SimulatedController;
  const open = async (max_cached_mb = 100, max_droplet_bytes = 1 << 20) =>
    await DropletCache.open({ folder, max_cached_mb, max_droplet_bytes, clock: systemClock, log: silentLog });
  const serve = async (name: string, size = 10) =>
    controller.serve(`/${name}`, await dropletOf({ 'app/name': name, 'app/data': 'x'.repeat(size) }));

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-cache-'));
    controller = await SimulatedController.start();
  });
  afterEach(async () => {
    await controller[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it('unpacks a droplet once for all who want it, as a layer below home/vcap', async () => {
    const cache = await open();
    const { uri, sha256 } = await serve('a');
    const layers = await Promise.all([1, 2, 3].map(async () => await cache.acquire(sha256, uri)));
    assert.equal(new Set(layers).size, 1);
    assert.equal(await readFile(join(layers[0] ?? '', 'home/vcap/app/name'), 'utf8'), 'a');
    if (process.getuid?.() === 0) assert.equal((await stat(join(layers[0] ?? '', 'home/vcap/app'))).uid, 2000);
    assert.equal(controller.fetched.length, 1);
    await (await open()).acquire(sha256, uri);
    assert.equal(controller.fetched.length, 1);
  });

  it('keeps nothing of what is not what was promised, is not there, is too large or is no droplet', async () => {
    const cache = await open(100, 1000);
    const { uri } = await serve('a');
    await assert.rejects(cache.acquire('0'.repeat(64), uri), DigestMismatch);
    await assert.rejects(cache.acquire('1'.repeat(64), `${controller.url}/absent`), DownloadFailed);
    const large = await serve('large', 5000);
    await assert.rejects(cache.acquire(large.sha256, large.uri), { code: 'archive_too_large' });
    const broken = controller.serve('/broken', Buffer.from('no tar'));
    await assert.rejects(cache.acquire(broken.sha256, broken.uri), { code: 'archive_invalid' });
    assert.deepEqual(await readdir(folder), []);
  });

  it('evicts what is unused, the longest unused first, and nothing that is used', async () => {
    const cache = await open(0.001);
    const droplets = [await serve('a', 600), await serve('b', 601), await serve('c', 602)];
    for (const { sha256, uri } of droplets) await cache.acquire(sha256, uri);
    await cache.reap();
    assert.equal((await readdir(folder)).length, 3);
    const [a, b] = droplets;
    assert.ok(a && b);
    cache.release(a.sha256);
    cache.release(b.sha256);
    await cache.reap();
    assert.deepEqual(await readdir(folder), [droplets[2]?.sha256]);
  });

  it('clears away what a killed DEA left half done', async () => {
    await mkdir(join(folder, 'abc.1234.partial/layer'), { recursive: true });
    await open();
    assert.deepEqual(await readdir(folder), []);
  });
});
