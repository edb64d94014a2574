import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, it } from 'node:test';
import { deaStop } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { WEB_APP, zipOf } from './testing/sample-archives.ts';
import { sampleStaging, sampleStart } from './testing/sample-messages.ts';
import { TestCell } from './testing/test-cell.ts';

const skip = process.getuid?.() === 0 ? false : "TestWarden's way needs root";
let cell: TestCell;
before(async () => {
  if (skip === false) cell = await TestCell.start({}, { backend: 'process' });
});
after(async () => await cell?.[Symbol.asyncDispose]());

it('an app is staged, runs, is routed to and stops where containers are plain processes', { skip }, async () => {
  await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  const pack = cell.controller.serve('/package', await zipOf({ 'app.py': WEB_APP }));
  const pythonic = cell.controller.serve(
    '/buildpack',
    await zipOf({
      'bin/detect': '#!/bin/bash\n[ -f $1/app.py ] && echo python',
      'bin/compile': '#!/bin/bash\nmkdir $1/.profile.d; echo "export MADE=at_staging" >$1/.profile.d/made.sh',
      'bin/release': '#!/bin/bash\necho "default_process_types: {web: python3 app.py}"',
    }),
  );
  const order = sampleStaging({
    package_uri: pack.uri,
    package_sha256: pack.sha256,
    droplet_upload_uri: `${cell.controller.url}/droplet`,
    buildpacks: [{ key: 'p', name: 'p', url: pythonic.uri, sha256: pythonic.sha256, kind: 'admin' }],
  });
  assert.deepEqual(await cell.stage(order), { accepted: true });
  const staged = await eventually('the end of the build', () => cell.controller.staged.get(order.task_id));
  assert.equal(staged.outcome, 'staged', JSON.stringify(staged) + cell.lines.join('\n'));

  const droplet = cell.controller.files.get('/droplet');
  assert.ok(droplet);
  const start = sampleStart({
    start_command: 'python3 app.py',
    uris: ['shop.test'],
    droplet_uri: cell.controller.serve('/droplet-again', droplet).uri,
    droplet_sha256: createHash('sha256').update(droplet).digest('hex'),
  });
  for (const index of [0, 1])
    assert.deepEqual(await cell.order({ ...start, index, instance: `${start.instance}-${index}` }), { accepted: true });
  const routes = await eventually('both are routed to', () => {
    const ports = new Map(cell.heard.registered.map((route) => [route.private_instance_index, route]));
    return ports.size === 2 && [...ports.values()];
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${cell.lines.join('\n')}`);
  });
  for (const { host, port, private_instance_index } of routes) {
    const env = (await (await fetch(`http://${host}:${port}/env`)).json()) as Record<string, string>;
    assert.deepEqual([env['MADE'], env['CF_INSTANCE_INDEX']], ['at_staging', private_instance_index]);
  }
  cell.bus.publish(deaStop, { droplet: start.droplet });
  await eventually('both have gone', () => cell.heard.exits.length === 2);
  await eventually('its last word', () => cell.lines.includes('APP/PROC/WEB bye'));
  await eventually('nothing of them is left', async () => (await cell.warden.client.list()).length === 0);
});
