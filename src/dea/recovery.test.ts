import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { deaStop, type StartMessage } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { dropletOf, WEB_APP } from './testing/sample-archives.ts';
import { sampleStart } from './testing/sample-messages.ts';
import { TestCell } from './testing/test-cell.ts';

describe('a DEA that goes away', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  let cell: TestCell;
  let droplet: { uri: string; sha256: string };

  before(async () => {
    cell = await TestCell.start();
    droplet = cell.controller.serve('/droplet', await dropletOf({ 'app/server.py': WEB_APP }));
  });
  beforeEach(async () => {
    if (!cell.dea.isRunning) await cell.dea.resume();
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  });
  afterEach(async () => {
    await eventually('containers gone', async () => (await cell.warden.client.list()).length === 0);
  });
  after(async () => await cell[Symbol.asyncDispose]());

  const webStart = (change: Partial<StartMessage> = {}): StartMessage =>
    sampleStart({
      droplet: crypto.randomUUID(),
      droplet_uri: droplet.uri,
      droplet_sha256: droplet.sha256,
      start_command: 'exec python3 server.py',
      uris: ['shop.cf.localhost'],
      ...change,
    });
  const inState = async (start: StartMessage, state = 'RUNNING') =>
    await eventually(`instance ${state}`, () => {
      const held = cell.held(start.instance);
      return held?.state === state ? held : undefined;
    });
  const running = async (start: StartMessage) => {
    assert.deepEqual(await cell.order(start), { accepted: true });
    return await inState(start);
  };
  const exitOf = async (instance: string) =>
    await eventually(`the exit of ${instance}`, () => cell.heard.exits.find((exit) => exit.instance === instance));
  const ask = async (port: number | undefined, path: string): Promise<string> =>
    await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  const forget = (): void => {
    for (const list of Object.values(cell.heard)) if (list !== cell.heard.advertisements) list.length = 0;
  };

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`finds its instances again after ${signal}, with their output`, async () => {
      const start = webStart();
      const { port } = await running(start);
      await cell.dea.signal(signal);
      assert.equal(await ask(port, '/log/meanwhile'), 'hello from 0');
      forget();
      await cell.dea.resume();
      await inState(start);
      await eventually('its route', () =>
        cell.heard.registered.some((route) => route.private_instance_id === start.instance),
      );
      await eventually('what it said meanwhile', () => cell.lines.includes('APP/PROC/WEB meanwhile'));
      assert.equal(cell.heard.unregistered.length, 0);
      assert.equal(await ask(port, '/log/afterwards'), 'hello from 0');
      await eventually('what it says now', () => cell.lines.includes('APP/PROC/WEB afterwards'));
      assert.equal(cell.heard.advertisements.at(-1)?.available_memory, 1024 - 128);
      await ask(port, '/exit/9').catch(() => {});
      assert.equal((await exitOf(start.instance)).exit_status, 9);
    });
  }

  it('tells of what ended meanwhile, of what was just starting, and of what was to stop', async () => {
    const ending = webStart();
    const starting = webStart({ start_command: 'sleep 1000' });
    const stopping = webStart({ env: [['IGNORE_TERM', '1']], graceful_shutdown_s: 5 });
    const task = webStart({ kind: 'TASK', task_name: 't', ports: [], uris: [], start_command: 'sleep 1; exit 6' });
    await using hanging = await hangingServer();
    const waiting = webStart({ droplet_uri: hanging.url, droplet_sha256: '4'.repeat(64) });
    const { port } = await running(ending);
    await running(stopping);
    await cell.order(starting);
    await cell.order(task);
    await cell.order(waiting);
    cell.bus.publish(deaStop, { droplet: stopping.droplet });
    await inState(stopping, 'STOPPING');
    await inState(starting, 'STARTING');
    await eventually('four containers', async () => {
      const handles = (await cell.warden.client.list()).map(
        async ({ handle }) => (await cell.warden.client.info(handle)).job_ids.length,
      );
      return (await Promise.all(handles)).filter((jobs) => jobs > 0).length === 4;
    });
    // The record of the task's job is on disk by the time it is in the saved list.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await cell.dea.signal('SIGKILL');
    await ask(port, '/exit/8').catch(() => {});
    forget();
    await cell.dea.resume();
    const ended = await exitOf(ending.instance);
    assert.deepEqual([ended.reason, ended.exit_status], ['CRASHED', 8]);
    const lost = await exitOf(waiting.instance);
    assert.deepEqual([lost.reason, lost.exit_description], ['CRASHED', 'cannot be determined']);
    // All its jobs had begun, so its start goes on.
    await inState(starting, 'STARTING');
    cell.bus.publish(deaStop, { droplet: starting.droplet });
    assert.equal((await exitOf(starting.instance)).reason, 'STOPPED');
    assert.equal((await eventually('the result', () => cell.controller.tasks.get(task.droplet))).exit_status, 6);
    assert.equal((await exitOf(stopping.instance)).reason, 'STOPPED');
    await eventually('containers gone', async () => (await cell.warden.client.list()).length === 0);
  });

  it('says that an instance is gone whose container is gone', async () => {
    const start = webStart();
    await running(start);
    await cell.dea.signal('SIGKILL');
    await cell.warden.client.destroy(start.instance);
    await cell.dea.resume();
    const exit = await exitOf(start.instance);
    assert.deepEqual([exit.reason, exit.exit_description], ['CRASHED', 'cannot be determined']);
  });

  it('lets instances serve while warden is restarted, and sees their end afterwards', async () => {
    const start = webStart();
    const { port } = await running(start);
    await cell.warden.kill();
    assert.equal(await ask(port, '/log/alone'), 'hello from 0');
    await cell.warden.resume();
    await eventually('what it said', () => cell.lines.includes('APP/PROC/WEB alone'));
    assert.equal(cell.held(start.instance)?.state, 'RUNNING');
    await ask(port, '/exit/3').catch(() => {});
    assert.equal((await exitOf(start.instance)).exit_status, 3);
  });

  it('keeps crash reports and output while the bus is away', async () => {
    const start = webStart();
    const other = webStart();
    const { port } = await running(start);
    await running(other);
    await cell.nats.kill();
    await ask(port, '/log/unheard');
    await ask(port, '/exit/4').catch(() => {});
    await eventually('the container gone', async () => (await cell.warden.client.list()).length === 1);
    forget();
    await cell.nats.resume();
    assert.equal((await exitOf(start.instance)).exit_status, 4);
    await eventually('its output', () => cell.lines.includes('APP/PROC/WEB unheard'));
    await eventually('a full beat', () => cell.held(other.instance)?.state === 'RUNNING');
    await eventually('routes again', () =>
      cell.heard.registered.some((route) => route.private_instance_id === other.instance),
    );
    cell.bus.publish(deaStop, { droplet: other.droplet });
    await exitOf(other.instance);
  });

  it('leaves on SIGUSR2 only when its instances run elsewhere', async () => {
    const start = webStart();
    const { port } = await running(start);
    const left = cell.dea.signal('SIGUSR2');
    await inState(start, 'EVACUATING');
    assert.equal(cell.held(start.instance)?.routable, true);
    assert.equal(await ask(port, '/'), 'hello from 0');
    assert.equal((await cell.order(webStart())).error?.code, 'evacuating');
    cell.bus.publish(deaStop, { droplet: start.droplet, instances: [start.instance] });
    await left;
    assert.equal((await exitOf(start.instance)).reason, 'STOPPED');
    assert.deepEqual(await cell.warden.client.list(), []);
  });

  it('stops an instance at once that waits for its droplet', async () => {
    await using hanging = await hangingServer();
    const start = webStart({ droplet_uri: hanging.url, droplet_sha256: '3'.repeat(64) });
    await cell.order(start);
    await inState(start, 'STARTING');
    cell.bus.publish(deaStop, { droplet: start.droplet });
    assert.equal((await exitOf(start.instance)).reason, 'STOPPED');
  });

  it('stops all on SIGUSR1', async () => {
    const start = webStart();
    await running(start);
    await cell.dea.signal('SIGUSR1');
    assert.equal((await exitOf(start.instance)).reason, 'DEA_SHUTDOWN');
    assert.deepEqual(await cell.warden.client.list(), []);
    assert.ok(cell.heard.unregistered.some((route) => route.private_instance_id === start.instance));
  });
});

/** Takes every request and answers none. */
async function hangingServer(): Promise<AsyncDisposable & { url: string }> {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
