import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deaStop, type StartMessage } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { dropletOf, WEB_APP } from './testing/sample-archives.ts';
import { sampleStart } from './testing/sample-messages.ts';
import { TestCell } from './testing/test-cell.ts';

describe('a DEA', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  let cell: TestCell;
  let droplet: { uri: string; sha256: string };
  before(async () => {
    cell = await TestCell.start();
    droplet = cell.controller.serve('/droplet', await dropletOf({ 'app/server.py': WEB_APP }));
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  });
  after(async () => await cell[Symbol.asyncDispose]());

  const webStart = (change: Partial<StartMessage>): StartMessage =>
    sampleStart({
      droplet: crypto.randomUUID(),
      droplet_uri: droplet.uri,
      droplet_sha256: droplet.sha256,
      start_command: 'exec python3 server.py',
      ...change,
    });

  it('lays service bindings into the container as files, where the app asked for them', async () => {
    const files = { 'db/type': 'postgresql', 'db/password': 'secret' };
    const start = webStart({
      vcap_services: { postgresql: [{ credentials: { uri: 'postgres://x' } }] },
      service_binding_files: { variable: 'SERVICE_BINDING_ROOT', files },
    });
    assert.deepEqual(await cell.order(start), { accepted: true });
    const { port } = await eventually('it runs', () => {
      const held = cell.held(start.instance);
      return held?.state === 'RUNNING' ? held : undefined;
    });
    const env = JSON.parse(await (await fetch(`http://127.0.0.1:${port}/env`)).text()) as Record<string, string>;
    assert.deepEqual([env['SERVICE_BINDING_ROOT'], env['VCAP_SERVICES']], ['/etc/cf-service-bindings', undefined]);
    const script = 'cat /etc/cf-service-bindings/db/password; echo x > /etc/cf-service-bindings/db/password';
    const read = await cell.warden.client.run(start.instance, { args: ['sh', '-c', script] });
    assert.equal(read.stdout, 'secret');
    assert.match(read.stderr ?? '', /Read-only|Permission/);
    const folder = join(cell.folder, 'dea/service-bindings');
    assert.deepEqual(await readdir(folder), [start.instance]);
    cell.bus.publish(deaStop, { droplet: start.droplet });
    await eventually('they are gone with it', async () => (await readdir(folder)).length === 0);
  });

  it('refuses an instance whose volume it does not have, so that the next DEA is asked', async () => {
    const mount = {
      driver: 'ingot-volume',
      container_dir: '/data',
      mode: 'rw' as const,
      device: { volume_id: 'nowhere' },
    };
    for (const [change, code] of [
      [{}, 'unknown_volume'],
      [{ driver: 'nfs' }, 'unknown_volume_driver'],
      [{ container_dir: '/etc' }, 'invalid_volume'],
      [{ container_dir: '/data/../etc' }, 'invalid_volume'],
    ] as const) {
      const reply = await cell.order(webStart({ volume_mounts: [{ ...mount, ...change }] }));
      assert.equal(reply.error?.code, code);
    }
  });
});
