import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { sql } from 'kysely';
import { SyslogDrainUrls } from '#contracts/cloud-controller.ts';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import { type Answer, TestCloudController } from '../testing.ts';

describe('user-provided services', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const to = (guid: string): object => ({ data: { guid } });
  const create = async (name: string, fields: object = {}, space_guid = cc.space_guid): Promise<Answer> =>
    await cc.admin.post('/v3/service_instances', {
      type: 'user-provided',
      name,
      relationships: { space: to(space_guid) },
      ...fields,
    });
  const bind = async (instance: string, app: string, fields: object = {}): Promise<Answer> =>
    await cc.admin.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { service_instance: to(instance), app: to(app) },
      ...fields,
    });

  it('are there at once, with what the user said of them and no secret in sight', async () => {
    const made = await create('db', {
      credentials: { uri: 'postgres://geheim@host/db' },
      tags: ['sql'],
      syslog_drain_url: 'syslog-tls://logs.example.org:6514',
    });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(
      [made.at('type'), made.at('tags'), made.at('syslog_drain_url'), made.at('route_service_url')],
      ['user-provided', ['sql'], 'syslog-tls://logs.example.org:6514', null],
    );
    assert.deepEqual([made.at('last_operation.type'), made.at('last_operation.state')], ['create', 'succeeded']);
    assert.doesNotMatch(made.text, /geheim/);
    const shown = await cc.admin.get(`/v3/service_instances/${made.guid}/credentials`);
    assert.deepEqual(shown.body, { uri: 'postgres://geheim@host/db' });
    const { rows } = await sql<{ text: string }>`
      select service_instances::text || coalesce((select string_agg(data::text, '') from audit_events), '') as text
      from service_instances where guid = ${made.guid}`.execute(cc.cc.database.query);
    assert.doesNotMatch(rows[0]?.text ?? 'geheim', /geheim/);
  });

  it('reach apps that are bound to them, in VCAP_SERVICES, at staging and at the start', async () => {
    const instance = await create('queue', { credentials: { uri: 'amqp://q' }, tags: ['mq'] });
    const app = await cc.applyManifest({ applications: [{ name: 'worker', memory: '64M' }] });
    const bound = await bind(instance.guid, app, { name: 'jobs' });
    assert.equal(bound.status, 201, bound.text);
    assert.deepEqual(
      [bound.at('type'), bound.at('name'), bound.at('last_operation.state')],
      ['app', 'jobs', 'succeeded'],
    );
    await cc.startWith(app, await cc.stagedDroplet(app));
    const message = await eventually('the start order', () => dea.started.find((order) => order.app === app));
    const wanted = {
      'user-provided': [
        {
          label: 'user-provided',
          name: 'jobs',
          tags: ['mq'],
          instance_guid: instance.guid,
          instance_name: 'queue',
          binding_guid: bound.guid,
          binding_name: 'jobs',
          credentials: { uri: 'amqp://q' },
          syslog_drain_url: null,
          volume_mounts: [],
        },
      ],
    };
    assert.deepEqual(message.vcap_services, wanted);
    assert.deepEqual(dea.staged.find((order) => order.app === app)?.vcap_services, wanted);
    const env = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.deepEqual(env.at('system_env_json.VCAP_SERVICES'), wanted);
    const details = await cc.admin.get(`/v3/service_credential_bindings/${bound.guid}/details`);
    assert.deepEqual(details.body, { credentials: { uri: 'amqp://q' } });
    await cc.admin.patch(`/v3/service_instances/${instance.guid}`, { credentials: { uri: 'amqp://new' } });
    const again = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.equal(again.at('system_env_json.VCAP_SERVICES.user-provided.0.credentials.uri'), 'amqp://new');
    assert.equal((await cc.admin.delete(`/v3/service_credential_bindings/${bound.guid}`)).status, 204);
    const without = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.deepEqual(without.at('system_env_json.VCAP_SERVICES'), {});
  });

  it('are listed with what `cf services` asks for', async () => {
    const instance = await create('listed');
    const app = await cc.applyManifest({ applications: [{ name: 'listing', memory: '64M' }] });
    const bound = await bind(instance.guid, app);
    const services = await cc.admin.get(
      `/v3/service_instances?space_guids=${cc.space_guid}&names=listed&fields[service_plan]=guid,name,relationships.service_offering` +
        '&fields[service_plan.service_offering]=guid,name,relationships.service_broker' +
        '&fields[service_plan.service_offering.service_broker]=guid,name&order_by=name&per_page=5000',
    );
    assert.deepEqual(services.each('name'), ['listed'], services.text);
    assert.deepEqual(services.at('included'), { service_plans: [], service_offerings: [], service_brokers: [] });
    const bindings = await cc.admin.get(
      `/v3/service_credential_bindings?service_instance_guids=${instance.guid}&include=app`,
    );
    assert.deepEqual(bindings.each('guid'), [bound.guid]);
    assert.equal(bindings.at('included.apps.0.name'), 'listing');
    const places = await cc.admin.get(
      `/v3/service_instances/${instance.guid}?fields[space]=name,relationships.organization&fields[space.organization]=name`,
    );
    assert.deepEqual(places.at('included'), {
      spaces: [{ name: 's', relationships: { organization: to(cc.organization_guid) } }],
      organizations: [{ name: 'o' }],
    });
    const bad = await cc.admin.get('/v3/service_instances?fields[space]=color');
    assert.equal(bad.status, 400);
  });

  it("are refused with Cloud Foundry's texts, which the cf CLI compares", async () => {
    const taken = await create('taken');
    const app = await cc.applyManifest({ applications: [{ name: 'refused', memory: '64M' }] });
    assert.deepEqual((await create('taken')).error, [422, 'The service instance name is taken: taken.']);
    await bind(taken.guid, app);
    assert.deepEqual((await bind(taken.guid, app)).error, [422, 'The app is already bound to the service instance']);
    const key = await cc.admin.post('/v3/service_credential_bindings', {
      type: 'key',
      name: 'k',
      relationships: { service_instance: to(taken.guid) },
    });
    assert.deepEqual(key.error, [
      422,
      "Service credential bindings of type 'key' are not supported for user-provided service instances.",
    ]);
    const parameters = await bind(taken.guid, app, { parameters: { a: 1 } });
    assert.deepEqual(parameters.error, [
      422,
      'Binding parameters are not supported for user-provided service instances',
    ]);
    assert.deepEqual((await create('x', {}, 'nowhere')).error, [
      422,
      'Invalid space. Ensure that the space exists and you have access to it.',
    ]);
    assert.deepEqual((await create('y', { route_service_url: 'http://plain' })).error, [
      422,
      'Route service url must be https',
    ]);
    assert.deepEqual((await bind('none', app)).error, [422, "The service instance could not be found: 'none'"]);
    assert.deepEqual((await bind(taken.guid, 'none')).error, [422, "The app could not be found: 'none'"]);
  });

  it('can have several bindings to an app, so that credentials can be rotated, of which the newest counts', async () => {
    const instance = await create('rotated');
    const app = await cc.applyManifest({ applications: [{ name: 'rotating', memory: '64M' }] });
    const guids: string[] = [];
    for (let index = 0; index < 5; index++) {
      guids.push((await bind(instance.guid, app, { strategy: 'multiple' })).guid);
    }
    const env = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.equal(env.at('system_env_json.VCAP_SERVICES.user-provided.0.binding_guid'), guids.at(-1));
    assert.equal(env.at('system_env_json.VCAP_SERVICES.user-provided.1'), undefined);
    assert.match(String((await bind(instance.guid, app, { strategy: 'multiple' })).error[1]), /too many bindings/);
  });

  it('drain logs of apps, and route requests of routes, that are bound to them', async () => {
    const drain = await create('drain', {
      syslog_drain_url: 'syslog://logs.example.org:514',
      credentials: { cert: 'C' },
    });
    const app = await cc.applyManifest({ applications: [{ name: 'drained', memory: '64M', 'default-route': true }] });
    await bind(drain.guid, app);
    const { internal_url, internal_api } = cc.cc.config;
    const authorization = `Basic ${Buffer.from(`${internal_api.user}:${internal_api.password}`).toString('base64')}`;
    const listed = await fetch(`${internal_url}/internal/v5/syslog_drain_urls`, { headers: { authorization } });
    const drains = SyslogDrainUrls.parse(await listed.json());
    assert.deepEqual(
      drains.results.filter(({ url }) => url === 'syslog://logs.example.org:514'),
      [
        {
          url: 'syslog://logs.example.org:514',
          credentials: [{ cert: 'C', key: '', ca: '', apps: [{ hostname: 'o.s.drained', app_id: app }] }],
        },
      ],
    );
    const service = await create('gate', { route_service_url: 'https://gate.example.org' });
    const route = (await cc.admin.get(`/v3/apps/${app}/routes`)).string('resources.0.guid');
    const relationships = { route: to(route), service_instance: to(service.guid) };
    const refused = await cc.admin.post('/v3/service_route_bindings', {
      relationships: { ...relationships, service_instance: to(drain.guid) },
    });
    assert.deepEqual(refused.error, [422, 'This service instance does not support route binding']);
    const bound = await cc.admin.post('/v3/service_route_bindings', { relationships });
    assert.deepEqual([bound.status, bound.at('route_service_url')], [201, 'https://gate.example.org']);
    const again = await cc.admin.post('/v3/service_route_bindings', { relationships });
    assert.equal(again.at('errors.0.title'), 'CF-ServiceInstanceAlreadyBoundToSameRoute');
    const list = await cc.admin.get(`/v3/service_route_bindings?route_guids=${route}&include=service_instance,route`);
    assert.equal(list.at('included.service_instances.0.name'), 'gate');
    assert.deepEqual((await cc.admin.get(`/v3/routes?service_instance_guids=${service.guid}`)).each('guid'), [route]);
    const job = await cc.admin.job(await cc.admin.delete(`/v3/routes/${route}`));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.equal((await cc.admin.get(`/v3/service_route_bindings/${bound.guid}`)).status, 404);
  });

  it('stand before the routes that are bound to them, as DEAs are told, until they are unbound', async () => {
    const app = await cc.pushed('gated', { a: '1' }, { 'default-route': true });
    const route = (await cc.admin.get(`/v3/apps/${app}/routes`)).string('resources.0.guid');
    const process_guid = (await cc.admin.get(`/v3/apps/${app}/processes`)).string('resources.0.guid');
    const told = (): unknown => Object.values(dea.routeOptions.get(process_guid) ?? {});
    const service = await create('front', { route_service_url: 'https://front.example.org' });
    const relationships = { route: to(route), service_instance: to(service.guid) };
    const bound = await cc.admin.post('/v3/service_route_bindings', { relationships });
    assert.equal(bound.status, 201, bound.text);
    await eventually('told', () => isDeepStrictEqual(told(), [{ route_service_url: 'https://front.example.org' }]));
    await cc.admin.patch(`/v3/service_instances/${service.guid}`, { route_service_url: 'https://other.example.org' });
    await eventually('told anew', () =>
      isDeepStrictEqual(told(), [{ route_service_url: 'https://other.example.org' }]),
    );
    await cc.admin.post(`/v3/apps/${app}/actions/restart`, {});
    const options = [{ route_service_url: 'https://other.example.org' }];
    await eventually('started so', () =>
      dea.started.some((one) => one.app === app && isDeepStrictEqual(Object.values(one.route_options ?? {}), options)),
    );
    await cc.admin.delete(`/v3/service_route_bindings/${bound.guid}`);
    await eventually('told that it is gone', () => isDeepStrictEqual(told(), []));
  });

  it('go with what they are in: apps, spaces, organizations', async () => {
    const org = await cc.admin.post('/v3/organizations', { name: 'doomed' });
    const space = await cc.admin.post('/v3/spaces', { name: 'd', relationships: { organization: to(org.guid) } });
    const app = await cc.admin.post('/v3/apps', { name: 'a', relationships: { space: to(space.guid) } });
    const instance = await create('gone', {}, space.guid);
    const bound = await bind(instance.guid, app.guid);
    await cc.admin.job(await cc.admin.delete(`/v3/apps/${app.guid}`));
    assert.equal((await cc.admin.get(`/v3/service_credential_bindings/${bound.guid}`)).status, 404);
    const other = await cc.admin.post('/v3/apps', { name: 'b', relationships: { space: to(space.guid) } });
    await bind(instance.guid, other.guid);
    const job = await cc.admin.job(await cc.admin.delete(`/v3/organizations/${org.guid}`));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.deepEqual((await cc.admin.get(`/v3/service_instances/${instance.guid}`)).error, [
      404,
      'Service instance not found',
    ]);
  });

  it('need a key in the configuration', async () => {
    await using bare = await TestCloudController.start({ encryption_key: undefined });
    const refused = await bare.admin.post('/v3/service_instances', { type: 'user-provided', name: 'x' });
    assert.equal(refused.status, 503);
    assert.match(String(refused.error[1]), /encryption_key/);
    assert.equal((await bare.admin.get('/v3/service_instances')).status, 200);
  });
});
