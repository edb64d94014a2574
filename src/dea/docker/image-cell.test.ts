import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deaStop, type StartMessage } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { ImageRegistry } from '#testing/image-registry.ts';
import { pushGreeter } from '#testing/sample-image.ts';
import { sampleStaging, sampleStart } from '../testing/sample-messages.ts';
import { TestCell } from '../testing/test-cell.ts';

describe('a DEA with images', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  let cell: TestCell;
  let registry: ImageRegistry;
  before(async () => {
    registry = await ImageRegistry.start();
    await pushGreeter(registry);
    cell = await TestCell.start({ docker: { allows_local_registries: true } });
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  });
  after(async () => await registry[Symbol.asyncDispose]());
  after(async () => await cell[Symbol.asyncDispose]());

  const staged = async (image: string) => {
    const task_id = crypto.randomUUID();
    const droplet_upload_uri = `${cell.controller.url}/droplets/${task_id}`;
    const message = sampleStaging({ task_id, docker: { image }, package_uri: '', droplet_upload_uri });
    assert.deepEqual(await cell.stage(message), { accepted: true });
    const result = await eventually('the build ends', () => cell.controller.staged.get(task_id));
    return { result, uri: droplet_upload_uri };
  };
  const startOf = async (change: Partial<StartMessage> = {}): Promise<StartMessage> => {
    const { result, uri } = await staged(`${registry.host}/team/greeter:v1`);
    assert.ok(result.outcome === 'staged', JSON.stringify(result));
    assert.deepEqual(result.process_types, { web: '/usr/bin/perl server.pl' });
    return sampleStart({
      droplet: crypto.randomUUID(),
      docker: { image: `${registry.host}/team/greeter:v1` },
      droplet_uri: uri,
      droplet_sha256: result.droplet_sha256,
      start_command: '/usr/bin/perl server.pl',
      ports: [9090],
      ...change,
    });
  };
  const running = async (start: StartMessage) => {
    assert.deepEqual(await cell.order(start), { accepted: true });
    return await eventually('it runs', () => {
      const held = cell.held(start.instance);
      return held?.state === 'RUNNING' && held;
    });
  };
  const exitOf = async (start: StartMessage) =>
    await eventually('its end', () => cell.heard.exits.find((exit) => exit.instance === start.instance));
  const ask = async (port: number | undefined): Promise<string> =>
    await (await fetch(`http://127.0.0.1:${port}/`)).text();

  it('finds its instances again after kill -9, and starts more of the image when the registry is away', async () => {
    const first = await startOf({ env: [['NAME', 'you']] });
    const { port } = await running(first);
    assert.match(await ask(port), /^hello, you! port=9090 uid=1000 home=\/srv\/app files=server.pl index=0$/);
    await cell.dea.signal('SIGKILL');
    cell.heard.held.clear();
    await cell.dea.resume();
    await eventually('it is held', () => cell.held(first.instance)?.state === 'RUNNING');
    assert.match(await ask(port), /^hello, you!/);
    await registry[Symbol.asyncDispose]();
    const second = { ...first, instance: crypto.randomUUID(), index: 1 };
    assert.match(await ask((await running(second)).port), /index=1$/);
    cell.bus.publish(deaStop, { droplet: first.droplet });
    assert.deepEqual([(await exitOf(first)).reason, (await exitOf(second)).reason], ['STOPPED', 'STOPPED']);
    assert.equal((await readdir(join(cell.folder, 'dea/image-layers'))).length, 3);
    registry = await ImageRegistry.start();
    await pushGreeter(registry);
  });

  it('tells why an image cannot be staged or started', async () => {
    const { result } = await staged(`${registry.host}/team/greeter:v2`);
    assert.ok(result.outcome === 'failed');
    assert.match(
      result.error.message,
      /^Staging error: the registry 127\.0\.0\.1:\d+ does not have the image team\/greeter$/,
    );
    const start = await startOf();
    const broken = { ...start, start_command: '/no/such/program' };
    assert.deepEqual(await cell.order(broken), { accepted: true });
    const { reason, exit_description } = await exitOf(broken);
    assert.deepEqual([reason, exit_description], ['CRASHED', 'APP/PROC/WEB: Exited with status 127']);
  });
});
