import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { readTarFiles } from '#archive/read-tar.ts';
import { deaStop } from '#contracts/dea.ts';
import { stagingStop, type StagingBuildpack, type StagingMessage, type StagingResult } from '#contracts/staging.ts';
import { eventually } from '#testing/eventually.ts';
import { zipOf } from '../testing/sample-archives.ts';
import { sampleStaging, sampleStart } from '../testing/sample-messages.ts';
import { TestCell } from '../testing/test-cell.ts';

const script = (text: string): string => `#!/bin/bash\n${text}\n`;

describe('staging', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  let cell: TestCell;

  before(async () => {
    cell = await TestCell.start({ staging: { memory_limit_mb: 128, disk_limit_mb: 256, max_concurrent: 1 } });
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  });
  after(async () => await cell[Symbol.asyncDispose]());

  const buildpack = async (name: string, files: Record<string, string>): Promise<StagingBuildpack> => {
    const { uri, sha256 } = cell.controller.serve(`/buildpacks/${name}`, await zipOf(files));
    return { key: name, name, url: uri, sha256, kind: 'admin' };
  };
  const message = async (
    files: Record<string, string | Buffer>,
    change: Partial<StagingMessage> = {},
  ): Promise<StagingMessage> => {
    const app = crypto.randomUUID();
    const { uri, sha256 } = cell.controller.serve(`/packages/${app}`, await zipOf(files));
    const droplet_upload_uri = `${cell.controller.url}/droplets/${app}`;
    return sampleStaging({ app, package_uri: uri, package_sha256: sha256, droplet_upload_uri, ...change });
  };
  const ended = async (order: StagingMessage): Promise<StagingResult> => {
    assert.deepEqual(await cell.stage(order), { accepted: true });
    return await result(order);
  };
  const result = async (order: StagingMessage): Promise<StagingResult> =>
    await eventually(`the end of ${order.task_id}`, () => cell.controller.staged.get(order.task_id)).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${logOf(order).join('\n')}\n${cell.dea.output.slice(-3000)}`);
      },
    );
  const logOf = (order: StagingMessage): string[] =>
    cell.heard.envelopes
      .filter((envelope) => envelope.source_id === order.app)
      .map((envelope) => Buffer.from(envelope.log?.payload ?? '', 'base64').toString('utf8'));
  const failureOf = (end: StagingResult) => (end.outcome === 'failed' ? end.error : assert.fail('it was staged'));

  it('makes a droplet of a package, with the first buildpack that detects it', async () => {
    const never = await buildpack('never', { 'bin/detect': script('exit 1') });
    const plain = await buildpack('plain', {
      'bin/detect': script('[ -f $1/index.html ] && echo "plain 1.0"'),
      'bin/compile': script(
        'echo "-----> building for $CF_STACK as $(whoami)"; echo made >$1/made; echo kept >$2/kept',
      ),
      'bin/release': script('echo "default_process_types: {web: serve}"'),
      VERSION: '1.0',
    });
    const order = await message(
      { 'index.html': 'hi', 'run.sh': script('true'), Procfile: 'worker: ./run.sh\n' },
      { buildpacks: [never, plain] },
    );
    const cache_upload_uri = `${cell.controller.url}/caches/1`;
    const cached = { ...order, cache_upload_uri, cache_download_uri: cache_upload_uri };
    const end = await ended(cached);
    const droplet = cell.controller.files.get(new URL(order.droplet_upload_uri).pathname);
    assert.ok(droplet);
    assert.equal(end.outcome, 'staged', JSON.stringify(end));
    if (end.outcome !== 'staged') return;
    assert.deepEqual(end.process_types, { web: 'serve', worker: './run.sh' });
    assert.deepEqual(end.buildpacks, [{ key: 'plain', name: 'plain', detect_output: 'plain 1.0', version: '1.0' }]);
    assert.equal(end.droplet_size, droplet.length);
    const kept = join(cell.folder, 'dea/droplets', end.droplet_sha256, 'layer/home/vcap/app/made');
    await eventually('it is unpacked here, for a start that needs no download', () => existsSync(kept));
    const files = await readTarFiles(Readable.from([gunzipSync(droplet)]), 1 << 20);
    assert.equal(String(files.get('app/made')), 'made\n');
    assert.equal(String(files.get('app/index.html')), 'hi');
    assert.deepEqual(JSON.parse(String(files.get('staging_info.yml'))), {
      detected_buildpack: 'plain 1.0',
      start_command: 'serve',
      effective_procfile: { web: 'serve', worker: './run.sh' },
    });
    assert.ok(cell.controller.files.get('/caches/1'));
    await eventually('the last line', () =>
      logOf(order).some((line) => line.includes('successfully destroyed container')),
    );
    const log = logOf(order);
    for (const line of [
      'Downloading app package...',
      '-----> building for test as vcap',
      'Exit status 0',
      'Staging complete',
    ]) {
      assert.ok(log.includes(line), `${line} is not in\n${log.join('\n')}`);
    }
    assert.ok(log.some((line) => /^Uploaded droplet \([\d.]+[BK]\)$/.test(line)));
    assert.deepEqual(await cell.warden.client.list(), []);
    assert.deepEqual(await readdir(join(cell.folder, 'dea/staging')), []);

    // The second build has the cache of the first, and the buildpack is not fetched again.
    const again = await buildpack('plain', {
      'bin/detect': script('true'),
      'bin/compile': script('cat $2/kept'),
    });
    const next = { ...cached, task_id: crypto.randomUUID(), buildpacks: [{ ...again, key: 'plain-2' }], detect: false };
    await ended(next);
    await eventually('what the first build kept', () => logOf(order).includes('kept'));
    assert.equal(cell.controller.fetched.filter((path) => path === '/buildpacks/never').length, 1);
  });

  it("fetches a user's own zip from within the container, and judges it outside", async () => {
    const zip = await zipOf({ 'bin/compile': script('echo my own buildpack') });
    const own = (url: string): StagingBuildpack => ({ key: url, name: url, url, kind: 'zip' });
    const files = { 'own.zip': zip, 'bad.zip': 'no zip' };
    const stage = async (url: string) => await message(files, { buildpacks: [own(url)], detect: false });
    const good = await stage('file:///tmp/app/own.zip');
    assert.equal((await ended(good)).outcome, 'staged');
    await eventually('its words', () => logOf(good).includes('my own buildpack'));
    assert.match(failureOf(await ended(await stage('file:///tmp/app/bad.zip'))).message, /not a valid zip/);
    const absent = await stage('file:///tmp/app/absent.zip');
    assert.match(failureOf(await ended(absent)).message, /a buildpack could not be used/);
    await eventually('why', () =>
      logOf(absent).includes('Failed to download the buildpack file:///tmp/app/absent.zip'),
    );
  });

  it('says so when no buildpack wants the app', async () => {
    const never = await buildpack('never', { 'bin/detect': script('exit 1') });
    const order = await message({ file: 'x' }, { buildpacks: [never] });
    assert.deepEqual(failureOf(await ended(order)), {
      code: 'NoAppDetectedError',
      message: 'An app was not successfully detected by any available buildpack',
    });
    await eventually('the line', () =>
      logOf(order).includes('None of the buildpacks detected a compatible application'),
    );
  });

  it('shows all that a failing buildpack says', async () => {
    const failing = await buildpack('failing', {
      'bin/compile': script('seq 1 3000; echo "npm ERR! missing" >&2; exit 1'),
    });
    const order = await message({ file: 'x' }, { buildpacks: [failing], detect: false });
    assert.equal(failureOf(await ended(order)).code, 'BuildpackCompileFailed');
    await eventually('the last line', () => logOf(order).includes('npm ERR! missing'));
    assert.equal(logOf(order).filter((line) => /^\d+$/.test(line)).length, 3000);
  });

  it('ends a build that takes too long, and names the phase', async () => {
    const slow = await buildpack('slow', { 'bin/compile': script('sleep 1000') });
    const order = await message({ file: 'x' }, { buildpacks: [slow], detect: false, timeout_s: 2 });
    assert.deepEqual(failureOf(await ended(order)), {
      code: 'StagingTimeExpired',
      message: 'Staging time expired while running the buildpacks (limit 2s)',
    });
  });

  it('ends a build that is stopped, while it runs and while it waits', async () => {
    const slow = await buildpack('slow', { 'bin/compile': script('echo begun; sleep 1000') });
    const orders = [
      await message({ file: 'x' }, { buildpacks: [slow], detect: false }),
      await message({ file: 'x' }, { buildpacks: [slow], detect: false }),
    ];
    for (const order of orders) assert.deepEqual(await cell.stage(order), { accepted: true });
    const [first, second] = orders;
    assert.ok(first && second);
    await eventually('the first begun', () => logOf(first).includes('begun'));
    assert.deepEqual(logOf(second), []);
    cell.bus.publish(stagingStop, { task_id: second.task_id });
    assert.match(failureOf(await result(second)).message, /stopped/);
    cell.bus.publish(stagingStop, { app: first.app });
    assert.match(failureOf(await result(first)).message, /stopped/);
  });

  it('refuses packages that are damaged, not what was promised, or not there', async () => {
    const plain = await buildpack('any', { 'bin/compile': script('true') });
    const settings = { buildpacks: [plain], detect: false };
    const good = await message({ file: 'x' }, settings);
    const wrong = { ...good, package_sha256: '1'.repeat(64), task_id: crypto.randomUUID() };
    const absent = { ...good, package_uri: `${cell.controller.url}/absent`, task_id: crypto.randomUUID() };
    const { uri, sha256 } = cell.controller.serve('/broken', Buffer.from('no zip'));
    const broken = { ...good, package_uri: uri, package_sha256: sha256, task_id: crypto.randomUUID() };
    assert.match(failureOf(await ended(wrong)).message, /has the digest/);
    assert.match(failureOf(await ended(absent)).message, /status 404/);
    assert.match(failureOf(await ended(broken)).message, /not a valid zip/);
    assert.equal((await ended(good)).outcome, 'staged');
  });

  it('keeps a build within its memory and disk', async () => {
    const eater = await buildpack('eater', { 'bin/compile': script('python3 -c "x = bytearray(1 << 30)"') });
    const filler = await buildpack('filler', { 'bin/compile': script('head -c 1000000000 /dev/zero >$1/big') });
    const memory = await ended(
      await message({ file: 'x' }, { buildpacks: [eater], detect: false, memory_limit_mb: 1 }),
    );
    assert.match(failureOf(memory).message, /out of memory/);
    const disk = await message({ file: 'x' }, { buildpacks: [filler], detect: false, disk_limit_mb: 1 });
    assert.equal(failureOf(await ended(disk)).code, 'BuildpackCompileFailed');
    assert.ok(
      logOf(disk).some((line) => /quota exceeded|No space left/.test(line)),
      logOf(disk).join('\n'),
    );
  });

  it('takes builds that there is room for only one after the other, and makes all of them', async () => {
    const plain = await buildpack('plain', { 'bin/compile': script('true') });
    const change = { buildpacks: [plain], detect: false, memory_limit_mb: 700 };
    const orders = [await message({ file: 'x' }, change), await message({ file: 'y' }, change)];
    for (const order of orders) assert.deepEqual(await cell.stage(order), { accepted: true });
    for (const order of orders) assert.equal((await result(order)).outcome, 'staged');
  });

  it('lets a build wait for the room that an app has, when it is told to', async () => {
    const plain = await buildpack('plain', { 'bin/compile': script('true') });
    const start = sampleStart({ limits: { mem: 900, disk: 64, fds: 64, log_rate: -1 }, start_command: 'none' });
    const order = await message({ file: 'x' }, { buildpacks: [plain], detect: false, memory_limit_mb: 700 });
    await cell.order(start);
    assert.deepEqual(await cell.stage({ ...order, waits_for_room: true }), { accepted: true });
    cell.bus.publish(deaStop, { droplet: start.droplet });
    assert.equal((await result(order)).outcome, 'staged');
  });

  it('refuses a build that it has no room for', async () => {
    const order = await message({ file: 'x' }, { memory_limit_mb: 4096 });
    assert.equal((await cell.stage(order)).error?.code, 'insufficient_resources');
  });

  it('tells the end of a build that it was killed in', async () => {
    const slow = await buildpack('slow', { 'bin/compile': script('echo begun; sleep 1000') });
    const order = await message({ file: 'x' }, { buildpacks: [slow], detect: false });
    await cell.stage(order);
    await eventually('it has begun', () => logOf(order).includes('begun'));
    await cell.dea.signal('SIGKILL');
    await cell.dea.resume();
    assert.match(failureOf(await result(order)).message, /restarted during staging/);
    await eventually('its container gone', async () => (await cell.warden.client.list()).length === 0);
  });
});
