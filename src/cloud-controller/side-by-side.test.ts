import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { hm9000Start } from '#contracts/health-manager.ts';
import { silentLog } from '#kernel/log.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { freePort } from '#testing/free-port.ts';
import { TestApps } from './apps-testing.ts';
import { TestUser } from './testing.ts';

describe('two cloud controllers side by side', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let folder: string;
  let second: ComponentProcess;
  /** Of the first and of the second. */
  let admins: [TestUser, TestUser];
  before(async () => {
    cc = await TestApps.start();
    folder = await mkdtemp(join(tmpdir(), 'ingot-cc-'));
    const { config, admin } = cc.cc;
    const [port, internal_port] = [await freePort(), await freePort()];
    second = await ComponentProcess.start({
      room: 'cloud-controller',
      schema: 'CloudControllerConfig',
      folder,
      config: {
        ...config,
        index: 1,
        external: { ...config.external, port },
        internal: { ...config.internal, port: internal_port },
        internal_url: `http://127.0.0.1:${internal_port}`,
      },
    });
    const { guid, username, token } = admin;
    admins = [admin, new TestUser({ guid, username, token, base: `http://127.0.0.1:${port}` })];
    // Both hear the same adverts.
    dea = await cc.dea();
  });
  after(async () => {
    await second[Symbol.asyncDispose]();
    await cc[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it('carry each job out once, and either tells how it goes', async () => {
    const organization = { data: { guid: cc.organization_guid } };
    const spaces = await Promise.all(
      Array.from({ length: 24 }, async (_, n) => {
        const created = await admins[n % 2 === 0 ? 0 : 1].post('/v3/spaces', {
          name: `by-either-${n}`,
          relationships: { organization },
        });
        return created.guid;
      }),
    );
    const states = await Promise.all(
      spaces.map(async (guid, n) => {
        const [asked, told] = n % 2 === 0 ? admins : admins.toReversed();
        const accepted = await asked?.delete(`/v3/spaces/${guid}`);
        return accepted && (await told?.job(accepted))?.at('state');
      }),
    );
    assert.deepEqual(new Set(states), new Set(['COMPLETE']));
    const events = await admins[1].get(
      `/v3/audit_events?types=audit.space.delete-request&per_page=100&target_guids=${spaces.join(',')}`,
    );
    assert.equal(events.each('target.guid').length, spaces.length);
  });

  it('start an instance that the health manager asks for once', async () => {
    const app = await cc.pushed('asked-once');
    const held = await eventually('it runs', () => dea.instancesOf(app)[0]);
    await using bus = await Bus.connect({ servers: [cc.cc.nats.url], name: 'test', log: silentLog });
    dea.crash(held.instance);
    await eventually('both know', async () => {
      const stats = await Promise.all(admins.map(async (admin) => await admin.get(`/v3/processes/${app}/stats`)));
      return stats.every((answer) => answer.at('resources.0.state') !== 'RUNNING');
    });
    const before = dea.started.length;
    const { version } = held;
    bus.publish(hm9000Start, { message_id: 'm', droplet: app, version, instance_index: 0, reason: 'crashed' });
    await eventually('it runs again', () => dea.instancesOf(app).length === 1);
    // Whatever the other would have ordered comes before what is asked for now.
    await cc.admin.post(`/v3/processes/${app}/actions/scale`, { instances: 2 });
    await eventually('the second instance', () => dea.instancesOf(app).length === 2);
    assert.equal(dea.started.length, before + 2);
  });

  it('lead a deployment to its end though one is killed on the way', async () => {
    const app = await cc.pushed('deployed', { a: '1' }, { instances: 4 });
    await eventually('all run', () => dea.instancesOf(app).length === 4);
    const droplet_guid = await cc.stagedDroplet(app, { a: '2' });
    const created = await admins[1].post('/v3/deployments', {
      droplet: { guid: droplet_guid },
      relationships: { app: { data: { guid: app } } },
    });
    const web = created.string('new_processes.0.guid');
    await eventually('it has begun', () => dea.instancesOf(web).length > 0);
    await second.signal('SIGKILL');
    await eventually(
      'it is deployed',
      async () => (await admins[0].get(`/v3/deployments/${created.guid}`)).at('status.reason') === 'DEPLOYED',
    );
    await eventually('the new ones alone run', () => dea.instancesOf(app).length === 0);
    assert.equal(dea.instancesOf(web).length, 4);
    await second.resume();
    assert.equal((await admins[1].get(`/v3/deployments/${created.guid}`)).at('status.value'), 'FINALIZED');
  });
});
