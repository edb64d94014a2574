import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { BulkApps, type DesiredProcess, dropletUpdated } from '#contracts/cloud-controller.ts';
import { hm9000Start, hm9000Stop } from '#contracts/health-manager.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';

describe('the cloud controller and the health manager', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let bus: Bus;
  const updates: DesiredProcess[] = [];
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
    bus = await Bus.connect({ servers: [cc.cc.nats.url], name: 'test', log: silentLog });
    bus.subscribe(dropletUpdated, (update) => void updates.push(update));
    await bus.flush();
  });
  after(async () => {
    await bus[Symbol.asyncDispose]();
    await cc[Symbol.asyncDispose]();
  });

  const running = async (app: string): Promise<{ version: string; instance: string }> =>
    await eventually('it runs', () => dea.instancesOf(app)[0]);
  const internal = async (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    await fetch(cc.cc.config.internal_url + path, { headers });
  const login = (): Record<string, string> => ({ authorization: basicAuthHeader(cc.cc.config.internal_api) });

  it('hands out the desired state in batches, to components alone', async () => {
    assert.equal((await internal('/internal/bulk/apps')).status, 401);
    const guids = [await cc.pushed('bulk-1'), await cc.pushed('bulk-2')];
    const found: DesiredProcess[] = [];
    let token: string | null = '0';
    while (token !== null) {
      const page: BulkApps = BulkApps.parse(
        await (await internal(`/internal/bulk/apps?batch_size=1&bulk_token=${token}`, login())).json(),
      );
      found.push(...page.results);
      token = page.bulk_token;
    }
    assert.deepEqual(found.map(({ droplet }) => droplet).sort(), guids.sort());
    assert.deepEqual([found[0]?.state, found[0]?.instances, found[0]?.package_state], ['STARTED', 1, 'STAGED']);
    await cc.admin.post(`/v3/apps/${guids[0]}/actions/stop`);
    const after_stop = BulkApps.parse(await (await internal('/internal/bulk/apps', login())).json());
    assert.deepEqual(
      after_stop.results.map(({ droplet }) => droplet),
      [guids[1]],
    );
    await eventually('a stop is said', () =>
      updates.some((one) => one.droplet === guids[0] && one.state === 'STOPPED'),
    );
  });

  it('writes both events of a crash, shows it, and starts again when asked', async () => {
    const app = await cc.pushed('crashing');
    const { version, instance } = await running(app);
    dea.crash(instance, { status: 137, description: 'out of memory' });
    const events = await eventually('both events', async () => {
      const found = await cc.admin.get(`/v3/audit_events?target_guids=${app}&types=audit.app.process.crash,app.crash`);
      return found.each('type').length === 2 && found;
    });
    assert.deepEqual(new Set(events.each('type')), new Set(['app.crash', 'audit.app.process.crash']));
    assert.deepEqual(events.each('data.exit_description'), ['out of memory', 'out of memory']);
    assert.deepEqual(events.at('resources.0.data.last_output'), [`last words of ${instance}`]);
    const stats = await cc.admin.get(`/v3/processes/${app}/stats`);
    assert.deepEqual([stats.at('resources.0.state'), stats.at('resources.0.details')], ['CRASHED', 'out of memory']);
    bus.publish(hm9000Start, {
      message_id: randomUUID(),
      droplet: app,
      version,
      instance_index: 0,
      reason: 'crashed',
    });
    const again = await running(app);
    assert.notEqual(again.instance, instance);
  });

  it('starts nothing that the database does not bear out', async () => {
    const app = await cc.pushed('borne-out');
    const { version } = await running(app);
    const ask = (change: object): boolean =>
      bus.publish(hm9000Start, {
        message_id: randomUUID(),
        droplet: app,
        version,
        instance_index: 0,
        reason: 'missing',
        ...change,
      });
    ask({ version: 'old' });
    ask({ instance_index: 1 });
    ask({ droplet: 'none' });
    ask({});
    const other = await cc.pushed('later');
    await running(other);
    assert.equal(dea.instancesOf(app).length, 1);
    await cc.admin.post(`/v3/apps/${app}/processes/web/actions/scale`, { instances: 2 });
    await eventually('the second runs', () => dea.instancesOf(app).length === 2);
  });

  it('stops what is too much, and nothing that is wanted', async () => {
    const app = await cc.pushed('stopping');
    const { version, instance } = await running(app);
    const ask = (change: object): boolean =>
      bus.publish(hm9000Stop, {
        message_id: randomUUID(),
        droplet: app,
        version,
        instance_guid: instance,
        instance_index: 0,
        is_duplicate: false,
        ...change,
      });
    ask({});
    ask({ instance_guid: 'other', instance_index: 5 });
    await eventually('the extra one is stopped', () => dea.stops.some(({ instances }) => instances?.includes('other')));
    assert.equal(dea.instancesOf(app).length, 1);
    ask({ is_duplicate: true });
    await eventually('the duplicate is stopped', () => dea.instancesOf(app).length === 0);
  });

  it('tries the next DEA when one refuses, and tells the user when none has room', async () => {
    const second = await cc.dea();
    dea.refusal = { code: 'insufficient_resources', message: 'Not enough memory resource available.' };
    try {
      const app = await cc.pushed('refused');
      await eventually('the other one has it', () => second.instancesOf(app).length === 1);
      second.refusal = dea.refusal;
      await cc.admin.post(`/v3/apps/${app}/processes/web/actions/scale`, { instances: 2 });
      const stats = await eventually('the reason is shown', async () => {
        const found = await cc.admin.get(`/v3/processes/${app}/stats`);
        return found.at('resources.1.details') !== null && found;
      });
      assert.deepEqual(
        [stats.at('resources.1.state'), stats.at('resources.1.details')],
        ['DOWN', 'Not enough memory resource available.'],
      );
    } finally {
      dea.refusal = undefined;
      second.shutdown();
      await second[Symbol.asyncDispose]();
    }
  });

  it('waits for what a restart is about to free', async () => {
    const app = await cc.pushed('tight');
    const { instance } = await running(app);
    dea.refusal = { code: 'insufficient_resources', message: 'Not enough memory resource available.' };
    await cc.admin.post(`/v3/apps/${app}/actions/restart`);
    await eventually('the reason is shown', async () => {
      const stats = await cc.admin.get(`/v3/processes/${app}/stats`);
      return stats.at('resources.0.details') === 'Not enough memory resource available.';
    });
    dea.refusal = undefined;
    assert.notEqual((await running(app)).instance, instance);
  });

  it('says routes anew when they change', async () => {
    const app = await cc.pushed('routed');
    await running(app);
    await cc.applyManifest({ applications: [{ name: 'routed', routes: [{ route: 'other.apps.localhost/path' }] }] });
    await eventually('the route is said', () => dea.uris.get(app)?.join() === 'other.apps.localhost/path');
    await cc.applyManifest({ applications: [{ name: 'routed', 'no-route': true }] });
    await eventually('no route is said', () => dea.uris.get(app)?.length === 0);
  });

  it('lets a user read the logs of an app only with a role where it is', async () => {
    const app = await cc.pushed('logs');
    const stranger = await cc.cc.user('stranger');
    const ask = async (token: string): Promise<number> =>
      (await internal(`/internal/v4/log_access/${app}`, { authorization: `bearer ${token}` })).status;
    assert.deepEqual([await ask(cc.admin.token), await ask(stranger.token), await ask('none')], [200, 404, 401]);
  });

  it('lets blobs be read and written by signature alone', async () => {
    assert.equal((await internal('/internal/blobs/cc-droplets/abcd')).status, 403);
    const app = await cc.pushed('signed');
    await running(app);
    const message = dea.started.find((started) => started.droplet === app);
    const url = message?.droplet_uri ?? '';
    assert.equal((await fetch(url, { method: 'PUT', body: 'x' })).status, 403);
    assert.equal((await fetch(url.replace(message?.droplet_guid ?? '', 'abcd'))).status, 403);
    const part = await fetch(url, { headers: { range: 'bytes=0-1' } });
    assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 2]);
    const upload = dea.staged.find((staged) => staged.app === app)?.droplet_upload_uri ?? '';
    assert.equal((await fetch(upload, { method: 'PUT', body: 'other' })).status, 409);
  });
});
