import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import { Bus } from '#bus/bus.ts';
import { hm9000Start } from '#contracts/health-manager.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { freePort } from '#testing/free-port.ts';
import { TcpProxy } from '#testing/tcp-proxy.ts';
import { TestApps } from './apps-testing.ts';
import { start } from './main.ts';

describe('when a neighbour of the cloud controller is away', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
  });
  after(async () => await cc[Symbol.asyncDispose]());
  const now = sql<Date>`now()`;

  it('answers 503 while PostgreSQL is away, and goes on when it is back', async () => {
    const { config } = cc.cc;
    const real = new URL(config.database.url);
    await using proxy = await TcpProxy.start({ host: real.hostname, port: Number(real.port) });
    const proxied = new URL(real);
    proxied.port = String(proxy.port);
    const internal_port = await freePort();
    await using second = await start(
      {
        ...config,
        database: { ...config.database, url: proxied.href },
        internal: { ...config.internal, port: internal_port },
        internal_url: `http://127.0.0.1:${internal_port}`,
      },
      { log: silentLog, clock: systemClock },
    );
    const list = async (): Promise<number> =>
      (
        await fetch(`${second.addresses['external']}/v3/apps`, {
          headers: { authorization: `bearer ${cc.admin.token}` },
        })
      ).status;
    assert.equal(await list(), 200);
    proxy.cut();
    await eventually('503', async () => (await list()) === 503);
    proxy.join();
    await eventually('200 again', async () => (await list()) === 200);
  });

  it('takes starts and builds while NATS is away, and carries them out when it is back', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'bus-away', memory: '64M' }] });
    const droplet = await cc.stagedDroplet(app);
    const package_guid = await cc.upload(app, { b: '2' });
    await cc.cc.nats.kill();
    await cc.startWith(app, droplet);
    assert.equal((await cc.admin.get(`/v3/apps/${app}`)).at('state'), 'STARTED');
    const build = await cc.admin.post('/v3/builds', { package: { guid: package_guid } });
    assert.equal(build.status, 201);
    await cc.cc.nats.resume();
    await eventually('staged', async () => (await cc.admin.get(`/v3/builds/${build.guid}`)).at('state') === 'STAGED');
    await using bus = await Bus.connect({ servers: [cc.cc.nats.url], name: 'test', log: silentLog });
    const version = (await cc.admin.get(`/v3/processes/${app}`)).string('version');
    await eventually('the health manager is heard', () => {
      const message_id = randomUUID();
      bus.publish(hm9000Start, { message_id, droplet: app, version, instance_index: 0, reason: 'missing' });
      return dea.instancesOf(app).length > 0;
    });
    assert.equal(dea.instancesOf(app).length, 1);
  });

  it('finds a DEA for a build whose cloud controller died before it had one', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'orphan', memory: '64M' }] });
    const package_guid = await cc.upload(app, { a: '1' });
    dea.endsStaging = false;
    const build = await cc.admin.post('/v3/builds', { package: { guid: package_guid } });
    await eventually('taken', () => dea.staged.some(({ task_id }) => task_id === build.guid));
    dea.endsStaging = true;
    const { query } = cc.cc.database;
    await query
      .updateTable('builds')
      .set({ dea: null, leased_until: new Date(0) })
      .where('guid', '=', build.guid)
      .execute();
    await eventually('staged', async () => (await cc.admin.get(`/v3/builds/${build.guid}`)).at('state') === 'STAGED');
  });

  it('ends a build that nobody ends, so that the next push works', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'overdue', memory: '64M' }] });
    const package_guid = await cc.upload(app, { a: '1' });
    dea.endsStaging = false;
    const build = await cc.admin.post('/v3/builds', { package: { guid: package_guid } });
    await eventually('taken', () => dea.staged.some(({ task_id }) => task_id === build.guid));
    dea.endsStaging = true;
    await cc.cc.database.query
      .updateTable('builds')
      .set({ created_at: new Date(Date.now() - 3_600_000), updated_at: now })
      .where('guid', '=', build.guid)
      .execute();
    const failed = await eventually('it failed', async () => {
      const found = await cc.admin.get(`/v3/builds/${build.guid}`);
      return found.at('state') === 'FAILED' && found;
    });
    assert.equal(failed.at('error'), 'StagingTimeExpired - Staging time expired');
    assert.equal((await cc.stage(package_guid)).at('state'), 'STAGED');
  });

  it('takes bits again after an upload that broke off', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'broken-line', memory: '64M' }] });
    const package_guid = await cc.createPackage(app);
    const { port } = new URL(cc.cc.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `POST /v3/packages/${package_guid}/upload HTTP/1.1\r\nHost: x\r\nAuthorization: bearer ${cc.admin.token}\r\n` +
        'Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n' +
        '--b\r\nContent-Disposition: form-data; name="bits"; filename="p.zip"\r\n\r\nPK',
    );
    const state = async (): Promise<unknown> => (await cc.admin.get(`/v3/packages/${package_guid}`)).at('state');
    await eventually('it is under way', async () => (await state()) === 'PROCESSING_UPLOAD');
    socket.destroy();
    await eventually('it may be tried again', async () => (await state()) === 'AWAITING_UPLOAD');
  });
});
