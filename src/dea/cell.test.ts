import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  deaBeat,
  deaFindDroplet,
  type DeaHeartbeat,
  deaLocate,
  deaStop,
  deaUpdate,
  type StartMessage,
} from '#contracts/dea.ts';
import { componentDiscover } from '#contracts/collector.ts';
import { routerStart } from '#contracts/router.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { eventually } from '#testing/eventually.ts';
import { dropletOf, WEB_APP } from './testing/sample-archives.ts';
import { sampleStart } from './testing/sample-messages.ts';
import { TestCell } from './testing/test-cell.ts';

describe('a DEA', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  let cell: TestCell;
  let droplet: { uri: string; sha256: string };

  before(async () => {
    cell = await TestCell.start();
    droplet = cell.controller.serve(
      '/droplet',
      await dropletOf({ 'app/server.py': WEB_APP, 'profile.d/a.sh': 'export FROM_PROFILE=1' }),
    );
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
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

  const running = async (start: StartMessage) => {
    assert.deepEqual(await cell.order(start), { accepted: true });
    return await eventually(`instance ${start.instance} running`, () => {
      const held = cell.held(start.instance);
      return held?.state === 'RUNNING' ? held : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${cell.lines.slice(-20).join('\n')}\n${cell.dea.output.slice(-3000)}`);
    });
  };
  const exitOf = async (instance: string) =>
    await eventually(`the exit of ${instance}`, () => cell.heard.exits.find((exit) => exit.instance === instance));
  const ask = async (port: number | undefined, path: string): Promise<string> =>
    await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  const stopped = async (start: StartMessage) => {
    cell.bus.publish(deaStop, { droplet: start.droplet });
    return await exitOf(start.instance);
  };

  it('says what it can take', async () => {
    const [first] = cell.heard.advertisements;
    assert.deepEqual(first && { ...first, id: '' }, {
      id: '',
      ip: '127.0.0.1',
      version: '0.1.0',
      stacks: ['test'],
      available_memory: 1024,
      available_disk: 8192,
      total_memory: 1024,
      total_disk: 8192,
      app_id_to_count: {},
      placement_properties: { zone: 'default' },
    });
    const before = cell.heard.advertisements.length;
    cell.bus.publish(deaLocate, {});
    await eventually('an answer to dea.locate', () => cell.heard.advertisements.length > before);
  });

  it('runs an instance that serves, tells the router and the health manager, and stops it', async () => {
    const start = webStart({ index: 2, env: [['COLOR', 'blue']] });
    const held = await running(start);
    assert.equal(held.routable, true);
    assert.equal(await ask(held.port, '/'), 'hello from 2');
    const env = JSON.parse(await ask(held.port, '/env')) as Record<string, string>;
    assert.equal(env['COLOR'], 'blue');
    assert.equal(env['FROM_PROFILE'], '1');
    assert.equal(env['PWD'], '/home/vcap/app');
    assert.equal(env['CF_INSTANCE_ADDR'], `127.0.0.1:${held.port}`);
    const route = await eventually('a route', () =>
      cell.heard.registered.find((one) => one.private_instance_id === start.instance),
    );
    assert.deepEqual([route.host, route.port, route.uris, route.app], ['127.0.0.1', held.port, start.uris, 'app-1']);
    assert.equal(cell.heard.advertisements.length > 0, true);

    const exit = await stopped(start);
    assert.deepEqual([exit.reason, exit.exit_description, exit.exit_status], ['STOPPED', 'stopped', 0]);
    await eventually('its route gone', () =>
      cell.heard.unregistered.some((one) => one.private_instance_id === start.instance),
    );
    await eventually('its memory back', () => cell.heard.advertisements.at(-1)?.available_memory === 1024);
    await eventually('its last line', () =>
      cell.lines.includes(`CELL Cell ${cell.id} successfully destroyed container for instance ${start.instance}`),
    );
    const lines = cell.lines.filter((line) => line.includes(start.instance) || line.startsWith('APP'));
    assert.deepEqual(lines, [
      `CELL Cell ${cell.id} creating container for instance ${start.instance}`,
      `CELL Cell ${cell.id} successfully created container for instance ${start.instance}`,
      'APP/PROC/WEB listening',
      `CELL Cell ${cell.id} stopping instance ${start.instance}`,
      'APP/PROC/WEB bye',
      `CELL Cell ${cell.id} destroying container for instance ${start.instance}`,
      `CELL Cell ${cell.id} successfully destroyed container for instance ${start.instance}`,
    ]);
    assert.deepEqual(await cell.warden.client.list(), []);
  });

  it('fetches a droplet once for all instances', async () => {
    const starts = [0, 1].map((index) => webStart({ index }));
    await Promise.all(starts.map(running));
    assert.equal(cell.controller.fetched.filter((path) => path === '/droplet').length, 1);
    await Promise.all(starts.map(stopped));
  });

  it('reports a crash with its status and last words at once, and takes it out of routing', async () => {
    const start = webStart();
    const { port } = await running(start);
    await ask(port, '/log/farewell');
    await eventually('its last words', () => cell.lines.includes('APP/PROC/WEB farewell'));
    await ask(port, '/exit/7').catch(() => {});
    const exit = await exitOf(start.instance);
    assert.equal(exit.reason, 'CRASHED');
    assert.equal(exit.exit_status, 7);
    assert.equal(exit.exit_description, 'APP/PROC/WEB: Exited with status 7');
    assert.ok(exit.crash_timestamp);
    assert.deepEqual(exit.last_output, ['listening', 'farewell']);
    assert.ok(cell.heard.unregistered.some((one) => one.private_instance_id === start.instance));
    await eventually('the exit line', () => cell.lines.includes('APP/PROC/WEB Exit status 7'));
    await eventually('a beat without it', () => cell.held(start.instance) === undefined);
  });

  it('says out of memory of an app that eats it all', async () => {
    const start = webStart({ limits: { mem: 64, disk: 128, fds: 1024, log_rate: -1 } });
    const { port } = await running(start);
    await ask(port, '/eat').catch(() => {});
    const exit = await exitOf(start.instance);
    assert.match(exit.exit_description, /out of memory/);
    await eventually('the exit line', () => cell.lines.some((line) => /Exit status \d+ \(out of memory\)/.test(line)));
  });

  it('gives up an app that never listens', async () => {
    const start = webStart({ start_command: 'sleep 1000', health_check: { type: 'port', timeout_s: 1 } });
    await cell.order(start);
    const exit = await exitOf(start.instance);
    assert.equal(exit.reason, 'CRASHED');
    assert.equal(exit.exit_description, 'failed to accept connections within health check timeout');
    await eventually('containers gone', async () => (await cell.warden.client.list()).length === 0);
  });

  it('reports an app that crashes at start, one without a command, and one whose droplet is not there', async () => {
    const crashing = webStart({ start_command: 'echo no config >&2; exit 3' });
    const without = webStart({ start_command: '' });
    const absent = webStart({ droplet_uri: `${cell.controller.url}/absent`, droplet_sha256: '1'.repeat(64) });
    const wrong = webStart({ droplet_sha256: '2'.repeat(64) });
    for (const start of [crashing, without, absent, wrong]) await cell.order(start);
    assert.equal((await exitOf(crashing.instance)).exit_description, 'APP/PROC/WEB: Exited with status 3');
    assert.equal((await exitOf(without.instance)).exit_description, 'missing start command');
    assert.equal((await exitOf(absent.instance)).exit_description, 'failed to start');
    assert.equal((await exitOf(wrong.instance)).exit_description, 'failed to start');
    await eventually('its words', () => cell.lines.includes('APP/PROC/WEB no config'));
    await eventually('containers gone', async () => (await cell.warden.client.list()).length === 0);
  });

  it('refuses what it has no room for, and takes the same order twice as one', async () => {
    const big = webStart({ limits: { mem: 5000, disk: 128, fds: 1024, log_rate: -1 } });
    assert.deepEqual(await cell.order(big), {
      accepted: false,
      error: { code: 'insufficient_resources', message: 'Not enough memory resource available.' },
    });
    assert.equal((await cell.order(webStart({ stack: 'other' }))).error?.code, 'unknown_stack');
    const start = webStart();
    await running(start);
    assert.deepEqual(await cell.order(start), { accepted: true });
    assert.equal((await cell.warden.client.list()).length, 1);
    await stopped(start);
  });

  it('kills an app that ignores TERM, after its grace, and says so', async () => {
    const start = webStart({ env: [['IGNORE_TERM', '1']], graceful_shutdown_s: 1 });
    await running(start);
    const exit = await stopped(start);
    assert.deepEqual([exit.reason, exit.exit_status], ['STOPPED', 137]);
    await eventually('a line', () =>
      cell.lines.includes(`CELL Instance ${start.instance} did not stop within 1s of SIGTERM and was killed`),
    );
  });

  it('takes new routes of a process and drops old ones', async () => {
    const start = webStart({ uris: ['a.cf.localhost', 'b.cf.localhost/path'] });
    await running(start);
    cell.bus.publish(deaUpdate, {
      droplet: start.droplet,
      uris: ['b.cf.localhost/path', 'c.cf.localhost'],
      route_options: {
        'b.cf.localhost/path': { route_service_url: 'https://gate.example.org' },
        'c.cf.localhost': { loadbalancing: 'least-connection' },
      },
    });
    const mine = (routes: typeof cell.heard.registered) =>
      routes.filter((one) => one.private_instance_id === start.instance);
    await eventually('the old one gone', () =>
      mine(cell.heard.unregistered).some((one) => one.uris.join() === 'a.cf.localhost'),
    );
    const added = await eventually('the new one', () =>
      mine(cell.heard.registered).find((one) => one.uris.join() === 'c.cf.localhost'),
    );
    assert.deepEqual(added.options, { loadbalancing: 'least-connection' });
    assert.equal(added.route_service_url, undefined);
    const b = (): (typeof cell.heard.registered)[number] | undefined =>
      mine(cell.heard.registered).findLast((one) => one.uris.includes('b.cf.localhost/path'));
    assert.equal(b()?.route_service_url, 'https://gate.example.org');
    const before = mine(cell.heard.registered).length;
    cell.bus.publish(routerStart, {
      id: 'r',
      hosts: [],
      minimumRegisterIntervalInSeconds: 20,
      pruneThresholdInSeconds: 120,
    });
    await eventually('all again for a new router', () => mine(cell.heard.registered).length >= before + 2);
    cell.bus.publish(deaUpdate, { droplet: start.droplet, uris: ['b.cf.localhost/path', 'c.cf.localhost'] });
    await eventually('options that are gone are told no more', () => b()?.route_service_url === undefined);
    await stopped(start);
  });

  it('answers who asks for a process, with usage', async () => {
    const start = webStart();
    await running(start);
    const found = await eventually('usage', async () => {
      const [one] = await cell.bus.gather(deaFindDroplet, { droplet: start.droplet }, { timeout_ms: 200 });
      return one?.instances[0]?.usage ? one : undefined;
    });
    assert.equal(found.dea, cell.id);
    assert.ok((found.instances[0]?.usage?.mem ?? 0) > 1_000_000);
    assert.equal(typeof found.instances[0]?.usage?.cpu_entitlement, 'number');
    await eventually('usage is said to all', () => cell.heard.usage.has(start.instance));
    await eventually('gauges in its log', () =>
      cell.heard.envelopes.some(
        (one) => one.gauge?.metrics['memory'] && one.tags['process_instance_id'] === start.instance,
      ),
    );
    assert.deepEqual(await cell.bus.gather(deaFindDroplet, { droplet: 'unknown' }, { timeout_ms: 200 }), []);
    await stopped(start);
  });

  it('beats shortly while nothing changes, tells what changes and only that, and all of it when asked', async () => {
    const { beats } = cell.heard;
    const isShort = (beat: DeaHeartbeat | undefined) => beat && !beat.droplets && !beat.changes;
    const last = () => beats.at(-1);
    const full = () => beats.filter((beat) => beat.droplets !== undefined);
    await eventually('a short beat', () => isShort(last()));
    const seq = last()?.seq ?? 0;
    const others = webStart();
    await running(others);
    const start = webStart();
    await running(start);
    await stopped(start);
    await eventually('a short beat', () => isShort(last()));
    const changes = beats.filter((beat) => beat.seq > seq && beat.changes !== undefined);
    // In order, none left out, and the last instance's are its own.
    assert.deepEqual(
      changes.map((beat) => beat.seq),
      changes.map((_, n) => seq + n + 1),
    );
    const named = changes.filter(({ changes: one }) => one?.held.some(({ instance }) => instance === start.instance));
    for (const beat of named) assert.deepEqual(beat.changes?.held.length, 1);
    assert.deepEqual(changes.at(-1)?.changes, { held: [], gone: [start.instance] });

    const before = full().length;
    cell.bus.publish(deaBeat, { dea: 'another' });
    cell.bus.publish(deaBeat, { is_short: true });
    for (let n = 0; n < 3; n++) cell.bus.publish(deaBeat, { dea: cell.id });
    await eventually('a full beat', () => full().length > before);
    await eventually(
      'short beats that say the same',
      () => isShort(last()) && last()?.digest === full().at(-1)?.digest,
    );
    assert.deepEqual(
      full()
        .at(-1)
        ?.droplets?.map(({ instance }) => instance),
      [others.instance],
    );
    // One for the first who asks, one for all others.
    assert.ok(full().length <= before + 2);
    await stopped(others);
  });

  it('takes an instance that is not ready out of routing, and back in', async () => {
    const check = { type: 'http' as const, endpoint: '/readiness', interval_s: 0.2 };
    const start = webStart({ readiness_health_check: check });
    const { port } = await running(start);
    const routable = async (expected: boolean) =>
      await eventually(`routable ${expected}`, () => cell.held(start.instance)?.routable === expected);
    await routable(true);
    await ask(port, '/unready');
    await routable(false);
    assert.equal(cell.held(start.instance)?.state, 'RUNNING');
    await ask(port, '/ready');
    await routable(true);
    await stopped(start);
  });

  it('ends an instance that fails its liveness check', async () => {
    const start = webStart({ health_check: { type: 'http', endpoint: '/readiness', interval_s: 0.2 } });
    const { port } = await running(start);
    await ask(port, '/unready');
    const exit = await exitOf(start.instance);
    assert.deepEqual([exit.reason, exit.exit_description], ['CRASHED', 'failed its liveness health check']);
  });

  it('runs a task and reports its end until it is taken', async () => {
    const good = webStart({ kind: 'TASK', task_name: 'migrate', ports: [], uris: [], start_command: 'echo migrating' });
    const bad = webStart({ kind: 'TASK', task_name: 'fail', ports: [], uris: [], start_command: 'exit 5' });
    cell.controller.status = 503;
    await cell.order(good);
    await cell.order(bad);
    await eventually('its words', () => cell.lines.includes('APP/TASK/migrate migrating'));
    cell.controller.status = 200;
    assert.deepEqual(await eventually('a result', () => cell.controller.tasks.get(good.droplet)), {
      failed: false,
      failure_reason: null,
      exit_status: 0,
    });
    assert.deepEqual(await eventually('a result', () => cell.controller.tasks.get(bad.droplet)), {
      failed: true,
      failure_reason: 'APP/TASK/fail: Exited with status 5',
      exit_status: 5,
    });
    assert.ok(!cell.heard.exits.some((exit) => exit.instance === good.instance));
  });

  it('holds an app to its log rate and tells it', async () => {
    const limits = { mem: 64, disk: 128, fds: 1024, log_rate: 1000 };
    const command = 'head -c 100000 /dev/zero | tr "\\0" x | fold -w 99; echo; sleep 1000';
    const start = webStart({ app: 'chatty', limits, start_command: command, health_check: { type: 'process' } });
    await running(start);
    await eventually('a warning', () =>
      cell.lines.includes('APP/PROC/WEB app instance exceeded log rate limit (1000 bytes/sec)'),
    );
    assert.ok(cell.lines.filter((line) => line.includes('xxxx')).length < 200);
    await stopped(start);
  });

  it('makes itself known to the collector, with its figures', async () => {
    const [found] = await cell.bus.gather(componentDiscover, {}, { timeout_ms: 500 });
    assert.equal(found?.type, 'DEA');
    const Authorization = basicAuthHeader({ user: found.credentials[0], password: found.credentials[1] });
    assert.equal((await fetch(`http://${found.host}/healthz`)).status, 200);
    const metrics = await (await fetch(`http://${found.host}/metrics`, { headers: { Authorization } })).text();
    assert.match(metrics, /^dea_available_memory_mb 1024$/m);
    assert.match(metrics, /^dea_instances 0$/m);
  });

  it('destroys containers of its own that it does not know', async () => {
    const limits = { memory_in_bytes: 64 << 20, disk_in_bytes: 64 << 20 };
    await cell.warden.client.create({ handle: 'lost', stack: 'test', limits, properties: { dea: cell.id } });
    await cell.warden.client.create({ handle: 'other', stack: 'test', limits, properties: { dea: 'another' } });
    await eventually('the lost one gone', async () => {
      const handles = (await cell.warden.client.list()).map(({ handle }) => handle);
      return handles.join() === 'other';
    });
    await cell.warden.client.destroy('other');
  });
});
