import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packZip, zipSourcesOf } from '#archive/pack-zip.ts';
import { type Answer, TestCloudController } from '../testing.ts';

describe('buildpacks', () => {
  let cc: TestCloudController;
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-test-buildpack-'));
    await mkdir(join(folder, 'shipped/bin'), { recursive: true });
    await writeFile(join(folder, 'shipped/bin/detect'), '#!/bin/sh\n');
    await chmod(join(folder, 'shipped/bin/detect'), 0o755);
    await packZip(await zipSourcesOf(join(folder, 'shipped')), join(folder, 'uploaded.zip'));
    const shipped = { name: 'shipped_buildpack', file: join(folder, 'shipped'), stack: 'cflinuxfs4' };
    const absent = { name: 'absent_buildpack', file: join(folder, 'nowhere') };
    cc = await TestCloudController.start({ buildpacks: [absent, shipped] });
  });
  after(async () => {
    await cc[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const upload = async (guid: string, filename: string, content: Uint8Array<ArrayBuffer>): Promise<Response> => {
    const form = new FormData();
    form.set('bits', new Blob([content]), filename);
    return await fetch(`${cc.url}/v3/buildpacks/${guid}/upload`, {
      method: 'POST',
      body: form,
      headers: { authorization: `bearer ${cc.admin.token}` },
    });
  };
  const create = async (name: string, fields: object = {}): Promise<Answer> =>
    await cc.admin.post('/v3/buildpacks', { name, ...fields });
  const names = async (): Promise<unknown[]> => (await cc.admin.get('/v3/buildpacks')).each('name');

  it('that the configuration names are there from the start, ready; one that is absent stops nothing', async () => {
    const found = await cc.admin.get('/v3/buildpacks?names=shipped_buildpack&stacks=cflinuxfs4');
    assert.deepEqual(
      [found.at('resources.0.state'), found.at('resources.0.filename')],
      ['READY', 'shipped_buildpack.zip'],
    );
    const absent = await cc.admin.get('/v3/buildpacks?names=absent_buildpack');
    assert.equal(absent.at('resources.0.state'), 'AWAITING_UPLOAD');
  });

  it('are uploaded as zips and become ready, unless they are locked', async () => {
    const made = await create('uploaded');
    assert.equal(made.at('state'), 'AWAITING_UPLOAD');
    const zip = new Uint8Array(await readFile(join(folder, 'uploaded.zip')));
    const accepted = await upload(made.guid, 'uploaded.zip', zip);
    assert.equal(accepted.status, 202);
    const job = await cc.admin.get(new URL(accepted.headers.get('location') ?? '').pathname);
    assert.equal(job.at('operation'), 'buildpack.upload');
    assert.equal((await cc.admin.get(`/v3/buildpacks/${made.guid}`)).at('state'), 'READY');
    const refused = await upload(made.guid, 'uploaded.zip', new TextEncoder().encode('not a zip'));
    assert.equal(refused.status, 422);
    await cc.admin.patch(`/v3/buildpacks/${made.guid}`, { locked: true });
    assert.equal((await upload(made.guid, 'uploaded.zip', zip)).status, 422);
  });

  it('keep an order without gaps, and names that are theirs alone per stack', async () => {
    await create('first', { position: 1 });
    const last = await create('last', { position: 99 });
    const order = await names();
    assert.deepEqual([order[0], order.at(-1)], ['first', 'last']);
    await cc.admin.patch(`/v3/buildpacks/${last.guid}`, { position: 2 });
    assert.equal((await names())[1], 'last');
    assert.deepEqual((await create('last')).error, [
      422,
      "Buildpack with name 'last' and an unassigned stack already exists",
    ]);
    assert.deepEqual((await create('other', { stack: 'none' })).error, [422, "Stack 'none' does not exist"]);
    const job = await cc.admin.job(await cc.admin.delete(`/v3/buildpacks/${last.guid}`));
    assert.equal(job.at('state'), 'COMPLETE');
    const positions = (await cc.admin.get('/v3/buildpacks')).each('position');
    assert.deepEqual(
      positions,
      positions.map((_, index) => index + 1),
    );
  });
});
