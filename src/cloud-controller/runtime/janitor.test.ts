import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import type { Blobstore } from '#blobs/blobstore.ts';
import { openBlobstore } from '#blobs/config.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import { Janitor } from './janitor.ts';

const DAY_MS = 24 * 3600 * 1000;

describe('what is kept', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let blobs: Blobstore;
  before(async () => {
    cc = await TestApps.start({ limits: { resource_min_bytes: 1, packages_kept: 1, droplets_kept: 1 } });
    dea = await cc.dea();
    blobs = await openBlobstore(cc.cc.config.blobstore);
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const keysIn = async (bucket: 'cc-packages' | 'cc-droplets' | 'cc-resources'): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of blobs.list(bucket)) keys.push(key);
    return keys.sort();
  };
  /** As the janitor would tidy up two months from now. */
  const tidy = async (): Promise<void> => {
    const clock = { ...systemClock, now: () => Date.now() + 60 * DAY_MS };
    await using janitor = new Janitor({
      db: cc.cc.database.query,
      blobs,
      clock,
      log: silentLog,
      task_retention_days: 1,
    });
    await janitor.sweep();
  };
  const inState = async (path: string, state: string): Promise<string[]> =>
    (await cc.admin.get(`${path}?states=${state}`)).each('guid').map(String);

  it('of an app is the newest of its packages and droplets, and what runs', async () => {
    const app = await cc.pushed('kept', { a: '1' });
    const running = (await cc.admin.get(`/v3/apps/${app}/droplets/current`)).guid;
    const staged: string[] = [];
    for (const text of ['2', '3', '4']) staged.push(await cc.stagedDroplet(app, { a: text }));
    const [packages, droplets] = [`/v3/apps/${app}/packages`, `/v3/apps/${app}/droplets`];
    assert.deepEqual(await inState(droplets, 'EXPIRED'), [staged[0]]);
    assert.deepEqual(await inState(droplets, 'STAGED'), [running, ...staged.slice(1)]);
    const expired = await inState(packages, 'EXPIRED');
    assert.ok(expired.length >= 1);
    await blobs.put('cc-packages', 'orphan', Readable.from(['x']), { max_bytes: 9 });
    await tidy();
    assert.deepEqual(await keysIn('cc-packages'), (await inState(packages, 'READY')).toSorted());
    const cache = (await keysIn('cc-droplets')).filter((key) => key.includes('-cache-'));
    assert.deepEqual(await keysIn('cc-droplets'), [running, ...staged.slice(1), ...cache].sort());
    assert.deepEqual(await keysIn('cc-resources'), []);
    await cc.admin.post(`/v3/apps/${app}/actions/restart`);
    await eventually('it runs from its droplet', () => dea.instancesOf(app).length === 1);
  });

  it('of an organization is nothing once it was deleted, running apps and all', async () => {
    await eventually('an app runs', () => dea.instances.length > 0);
    const app = await cc.pushed('second', { a: '1' }, { instances: 2 });
    await eventually('both run', () => dea.instancesOf(app).length === 2);
    await cc.admin.post(`/v3/apps/${app}/tasks`, { command: 'sleep' });
    const job = await cc.admin.job(await cc.admin.delete(`/v3/organizations/${cc.organization_guid}`));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    await eventually('nothing runs', () => dea.instances.length === 0);
    for (const list of ['apps', 'processes', 'packages', 'droplets', 'tasks', 'routes', 'spaces', 'organizations'])
      assert.deepEqual((await cc.admin.get(`/v3/${list}`)).at('resources'), [], list);
    await tidy();
    for (const bucket of ['cc-packages', 'cc-droplets', 'cc-resources'] as const)
      assert.deepEqual(await keysIn(bucket), [], bucket);
  });
});

describe('a disk that is nearly full', () => {
  it('refuses uploads before they break anything, and says so', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'ingot-cc-full-'));
    await using cc = await TestApps.start({
      blobstore: { kind: 'folder', folder: folder.path, min_free_mb: 1e9 },
    });
    const app = await cc.applyManifest({ applications: [{ name: 'a', memory: '64M' }] });
    await assert.rejects(cc.upload(app, { a: '1' }), /CF-BlobstoreUnavailable.*The blobstore is nearly full/);
    const packages = await cc.admin.get(`/v3/apps/${app}/packages`);
    // It may be tried again.
    assert.deepEqual(packages.each('state'), ['AWAITING_UPLOAD']);
    assert.equal((await cc.admin.delete(`/v3/apps/${app}`)).status, 202);
  });
});
