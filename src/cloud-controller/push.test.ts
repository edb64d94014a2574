import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { packZip } from '#archive/pack-zip.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from './apps-testing.ts';

describe('cf push, as the public CLI speaks it', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('takes an app from a manifest to running instances', async () => {
    const manifest = { applications: [{ name: 'shop', 'default-route': true, memory: '64M', instances: 2 }] };
    const app = await cc.applyManifest(manifest);
    const package_guid = await cc.upload(app, { 'index.html': 'hello' });
    const build = await cc.stage(package_guid);
    assert.equal(build.at('state'), 'STAGED', build.text);
    const droplet_guid = build.string('droplet.guid');
    const droplet = await cc.admin.get(`/v3/droplets/${droplet_guid}`);
    assert.deepEqual(droplet.at('process_types'), { web: 'run-web' });
    await cc.startWith(app, droplet_guid);
    const processes = await cc.admin.get(`/v3/apps/${app}/processes`);
    assert.deepEqual(processes.each('guid'), [app]);
    assert.deepEqual(processes.each('command'), ['[PRIVATE DATA HIDDEN IN LISTS]']);
    const stats = await eventually('two instances run', async () => {
      const found = await cc.admin.get(`/v3/processes/${app}/stats`);
      return found.each('state').join() === 'RUNNING,RUNNING' && found;
    });
    assert.deepEqual(stats.each('index'), [0, 1]);
    await eventually('usage is shown', async () => {
      const found = await cc.admin.get(`/v3/processes/${app}/stats`);
      return found.at('resources.0.usage.cpu') === 0.25 && found.at('resources.0.usage.cpu_entitlement') === 0.5;
    });
    assert.deepEqual(stats.each('mem_quota'), [64 * 1024 * 1024, 64 * 1024 * 1024]);
    const [message] = dea.started;
    assert.equal(message?.start_command, 'run-web');
    assert.deepEqual(message?.uris, ['shop.apps.localhost']);
    assert.deepEqual(message?.ports, [8080]);
    assert.equal(message?.vcap_application['application_id'], app);
    const bits = Buffer.from(await (await fetch(message?.droplet_uri ?? '')).arrayBuffer());
    assert.equal(createHash('sha256').update(bits).digest('hex'), message?.droplet_sha256);
    const routes = await cc.admin.get(`/v3/apps/${app}/routes`);
    assert.deepEqual(routes.each('url'), ['shop.apps.localhost']);
    const current = await cc.admin.get(`/v3/apps/${app}/droplets/current`);
    assert.equal(current.guid, droplet_guid);
    const env = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.equal(env.at('application_env_json.VCAP_APPLICATION.name'), 'shop');
  });

  it('restarts with a new version, and stops', async () => {
    const app = await cc.pushed('restarted');
    const before = await eventually('it runs', () => dea.instancesOf(app)[0]);
    assert.equal((await cc.admin.post(`/v3/apps/${app}/actions/restart`)).at('state'), 'STARTED');
    const [now] = await eventually('another instance alone', () => {
      const held = dea.instancesOf(app);
      return held.length === 1 && held[0]?.instance !== before.instance && held;
    });
    assert.notEqual(now?.version, before.version);
    assert.equal((await cc.admin.post(`/v3/apps/${app}/actions/stop`)).at('state'), 'STOPPED');
    await eventually('nothing runs', () => dea.instancesOf(app).length === 0);
    assert.deepEqual((await cc.admin.get(`/v3/processes/${app}/stats`)).at('resources'), []);
    assert.equal((await cc.admin.post(`/v3/apps/${app}/actions/stop`)).status, 200);
  });

  it('scales up and down while it runs', async () => {
    const app = await cc.pushed('scaled');
    const scaled = await cc.admin.post(`/v3/apps/${app}/processes/web/actions/scale`, { instances: 3 });
    assert.deepEqual([scaled.status, scaled.at('instances')], [202, 3], scaled.text);
    await eventually('three run', () => dea.instancesOf(app).length === 3);
    await cc.admin.post(`/v3/apps/${app}/processes/web/actions/scale`, { instances: 1 });
    await eventually(
      'the first stays',
      () =>
        dea
          .instancesOf(app)
          .map(({ index }) => index)
          .join() === '0',
    );
  });

  it('sends only files that the platform lacks, and makes the package whole again', async () => {
    const known = 'x'.repeat(100);
    const first = await cc.pushed('first', { 'lib/known.txt': known });
    assert.ok(first);
    const sha1 = createHash('sha1').update(known).digest('hex');
    const resource = { checksum: { value: sha1 }, size_in_bytes: 100, path: 'other/name.txt', mode: '0640' };
    const unknown = { ...resource, checksum: { value: 'a'.repeat(40) }, path: 'new.txt' };
    const matched = await cc.admin.post('/v3/resource_matches', { resources: [resource, unknown] });
    assert.deepEqual([matched.status, matched.each('path')], [201, ['other/name.txt']], matched.text);
    const app = await cc.applyManifest({ applications: [{ name: 'second' }] });
    const package_guid = await cc.upload(app, { 'new.txt': 'new' }, [resource]);
    const bits = await cc.admin.get(`/v3/packages/${package_guid}/download`);
    assert.equal(bits.status, 200);
    assert.deepEqual(await cc.zipEntries(package_guid), { 'new.txt': 0o644, 'other/': 0o755, 'other/name.txt': 0o640 });
    const alone = await cc.upload(app, undefined, [resource]);
    assert.deepEqual(Object.keys(await cc.zipEntries(alone)).sort(), ['other/', 'other/name.txt']);
  });

  it('refuses uploads that are no package, with the reason', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'bad-bits' }] });
    const folder = await mkdtemp(join(tmpdir(), 'ingot-test-'));
    try {
      const evil = join(folder, 'evil.zip');
      const entry = { kind: 'file', mode: 0o644, source: () => Readable.from(['x']) } as const;
      await packZip([{ ...entry, path: 'aa/evil.txt' }], evil);
      // A zip with a name that escapes: one of the same length is put in its place.
      const bytes = Buffer.from(
        (await readFile(evil)).toString('latin1').replaceAll('aa/evil.txt', '../evil.txt'),
        'latin1',
      );
      const cases: [Buffer | undefined, number, RegExp][] = [
        [bytes, 400, /The resource file path is invalid: \.\.\/evil\.txt/],
        [Buffer.from('no zip'), 400, /The app upload is invalid: Invalid zip archive/],
        [undefined, 422, /Upload must include either resources or bits/],
      ];
      for (const [bits, status, text] of cases) {
        const package_guid = await cc.createPackage(app);
        const answer = await cc.uploadBits(package_guid, { bits });
        assert.equal(answer.status, status, answer.text);
        assert.match(String(answer.at('errors.0.detail')), text);
        const failed = await cc.admin.get(`/v3/packages/${package_guid}`);
        assert.equal(failed.at('state'), 'FAILED');
      }
      const traversal = await cc.createPackage(app);
      const resource = { checksum: { value: 'a'.repeat(40) }, size_in_bytes: 3, path: '../../etc/x', mode: '0644' };
      const answer = await cc.uploadBits(traversal, { resources: [resource] });
      assert.deepEqual([answer.status, answer.at('errors.0.code')], [400, 160004], answer.text);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('takes bits once', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'once' }] });
    const package_guid = await cc.upload(app, { a: '1' });
    const again = await cc.uploadBits(package_guid, { bits: Buffer.from('x') });
    assert.deepEqual([again.status, again.at('errors.0.code')], [400, 150004]);
  });

  it('tells why staging failed, and that no DEA has room', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'unstaged', memory: '64M' }] });
    const package_guid = await cc.upload(app, { a: '1' });
    dea.stagingError = { code: 'BuildpackCompileFailed', message: 'App staging failed in the buildpack compile phase' };
    const failed = await cc.stage(package_guid);
    dea.stagingError = undefined;
    assert.deepEqual(
      [failed.at('state'), failed.at('error')],
      ['FAILED', 'BuildpackCompileFailed - App staging failed in the buildpack compile phase'],
    );
    const huge = await cc.stage(package_guid, { staging_memory_in_mb: 999_999 });
    assert.equal(huge.at('state'), 'FAILED');
    assert.match(huge.string('error'), /^StagerUnavailable - no available stagers: insufficient resources: memory/);
  });

  it('stages one build of an app at a time', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'twice' }] });
    const package_guid = await cc.upload(app, { a: '1' });
    dea.endsStaging = false;
    try {
      const first = await cc.admin.post('/v3/builds', { package: { guid: package_guid } });
      assert.equal(first.status, 201, first.text);
      const second = await cc.admin.post('/v3/builds', { package: { guid: package_guid } });
      assert.deepEqual([second.status, second.at('errors.0.code')], [422, 170017]);
    } finally {
      dea.endsStaging = true;
    }
  });

  it('starts no app without a droplet', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'bare' }] });
    const answer = await cc.admin.post(`/v3/apps/${app}/actions/start`);
    assert.deepEqual(answer.error, [422, 'Assign a droplet before starting this app.']);
    assert.deepEqual((await cc.admin.get(`/v3/apps/${app}/droplets/current`)).error, [404, 'Droplet not found']);
  });

  it('deletes an app with all that is its own', async () => {
    const app = await cc.pushed('deleted');
    await eventually('it runs', () => dea.instancesOf(app).length === 1);
    const job = await cc.admin.job(await cc.admin.delete(`/v3/apps/${app}`));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    await eventually('nothing runs', () => dea.instancesOf(app).length === 0);
    assert.deepEqual((await cc.admin.get(`/v3/apps/${app}`)).error, [404, 'App not found']);
  });
});
