import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { CATALOG, OsbBroker } from '#testing/osb-broker.ts';
import { TestServices } from '../services-testing.ts';

describe('service brokers', () => {
  let services: TestServices;
  before(async () => {
    services = await TestServices.start();
  });
  after(async () => await services[Symbol.asyncDispose]());

  it('are asked for their catalog, which becomes the marketplace', async () => {
    const { admin } = services.cc;
    const plans = await admin.get(
      '/v3/service_plans?include=service_offering&fields[service_offering.service_broker]=name,guid&available=true&order_by=-name&per_page=5000',
    );
    assert.deepEqual(plans.each('name'), ['small', 'large'], plans.text);
    assert.deepEqual(plans.at('resources.0.costs'), [{ amount: 9.5, currency: 'USD', unit: 'MONTHLY' }]);
    assert.deepEqual(plans.each('free'), [true, false]);
    assert.equal(plans.at('included.service_offerings.0.name'), 'postgres');
    assert.equal(plans.at('included.service_offerings.0.shareable'), true);
    assert.equal(plans.at('included.service_brokers.0.name'), 'the-broker');
    const [call] = services.broker.callsOf('catalog');
    assert.equal(call?.headers['x-broker-api-version'], '2.17');
    assert.ok(call?.headers['x-broker-api-request-identity']);
    const brokers = await admin.get('/v3/service_brokers');
    assert.deepEqual(brokers.each('name'), ['the-broker']);
    assert.doesNotMatch(brokers.text, /secret/);
  });

  it('make and bind databases, which apps are told', async () => {
    const { admin } = services.cc;
    const instance = await services.instance('db', { parameters: { size: 3 }, tags: ['mine'] });
    const shown = await admin.get(`/v3/service_instances/${instance}`);
    assert.equal(shown.at('last_operation.state'), 'succeeded');
    assert.equal(shown.at('dashboard_url'), `https://dash/${instance}`);
    assert.deepEqual(shown.at('maintenance_info'), { version: '1.0.0' });
    assert.deepEqual((await admin.get(`/v3/service_instances/${instance}/parameters`)).body, { size: 3 });
    const app = await services.cc.applyManifest({ applications: [{ name: 'user', memory: '64M' }] });
    const job = await services.bind(instance, app);
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    const env = await admin.get(`/v3/apps/${app}/env`);
    const bound = env.at('system_env_json.VCAP_SERVICES.postgres.0') as Record<string, unknown>;
    assert.deepEqual(
      [bound['label'], bound['plan'], bound['tags'], bound['instance_name'], bound['provider']],
      ['postgres', 'small', ['sql', 'mine'], 'db', null],
    );
    const guid = (await admin.get(`/v3/service_credential_bindings?app_guids=${app}`)).string('resources.0.guid');
    assert.deepEqual(bound['credentials'], { password: `of ${guid}` });
    const key = await services.createKey(instance, 'k');
    assert.equal(key.at('state'), 'COMPLETE', key.text);
    const key_guid = (await admin.get(`/v3/service_credential_bindings?type=key`)).string('resources.0.guid');
    const details = await admin.get(`/v3/service_credential_bindings/${key_guid}/details`);
    assert.deepEqual(details.body, { credentials: { password: `of ${key_guid}` } });
    const taken = await admin.post('/v3/service_credential_bindings', {
      type: 'key',
      name: 'k',
      relationships: { service_instance: { data: { guid: instance } } },
    });
    assert.match(String(taken.error[1]), /Key binding names must be unique/);
    const unbound = await services.deleted(`/v3/service_credential_bindings/${guid}`);
    assert.equal(unbound.at('state'), 'COMPLETE', unbound.text);
    // The key goes with the instance.
    const deleted = await services.deleted(`/v3/service_instances/${instance}`);
    assert.equal(deleted.at('state'), 'COMPLETE', deleted.text);
    assert.equal(services.broker.instances.size, 0);
    assert.equal(services.broker.bindings.size, 0);
  });

  it('are asked for the services of a manifest, whose job waits for them', async () => {
    const instance = await services.instance('listed');
    const { broker, cc } = services;
    broker.asynchronous = { polls: 2 };
    const wanted = [{ name: 'listed', binding_name: 'main', parameters: { role: 'reader' } }];
    const app = await cc.applyManifest({ applications: [{ name: 'declared', memory: '64M', services: wanted }] });
    const env = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.equal(env.at('system_env_json.VCAP_SERVICES.postgres.0.name'), 'main');
    assert.deepEqual(broker.callsOf('bind').at(-1)?.body['parameters'], { role: 'reader' });
    const calls = broker.countOf('bind');
    // Applied once more, it changes nothing.
    await cc.applyManifest({ applications: [{ name: 'declared', services: ['listed'] }] });
    assert.equal(broker.countOf('bind'), calls);
    const missing = cc.applyManifest({ applications: [{ name: 'declared', services: ['nothing'] }] });
    await assert.rejects(missing, /For service 'nothing': Service instance 'nothing' not found/);
    broker.asynchronous = false;
    await services.deleted(`/v3/service_instances/${instance}`);
  });

  it('are told who asks, where, and in which context', async () => {
    const instance = await services.instance('context');
    const call = services.broker.callsOf('provision').at(-1);
    const [, identity = ''] = String(call?.headers['x-broker-api-originating-identity']).split(' ');
    assert.deepEqual(JSON.parse(Buffer.from(identity, 'base64').toString()), { user_id: services.cc.admin.guid });
    assert.equal(call?.query['accepts_incomplete'], 'true');
    assert.deepEqual(call?.body, {
      service_id: 'postgres-id',
      plan_id: 'small-id',
      organization_guid: services.cc.organization_guid,
      space_guid: services.cc.space_guid,
      context: {
        platform: 'cloudfoundry',
        organization_guid: services.cc.organization_guid,
        organization_name: 'o',
        organization_annotations: {},
        space_guid: services.cc.space_guid,
        space_name: 's',
        space_annotations: {},
        instance_name: 'context',
        instance_annotations: {},
      },
      maintenance_info: { version: '1.0.0' },
    });
    await services.deleted(`/v3/service_instances/${instance}`);
  });

  it('with a catalog that breaks the rules are told all of them, and offer nothing', async () => {
    const catalogs: [unknown, RegExp][] = [
      [{ services: [] }, /at least one service/],
      [
        { services: [{ id: 1, name: 'x', plans: [{}] }] },
        /Service id must be a string[^]*Service "bindable" field is required[^]*Plan name is required/,
      ],
      [
        { services: [CATALOG.services[0], CATALOG.services[0]] },
        /Service ids must be unique[^]*Plan ids must be unique/,
      ],
      [{ services: [{ ...CATALOG.services[0], requires: ['money'] }] }, /unsupported value "money"/],
      [
        {
          services: [
            {
              ...CATALOG.services[0],
              plans: [{ id: 'a', name: 'a', description: 'a', maintenance_info: { version: 'new' } }],
            },
          ],
        },
        /Semantic Version/,
      ],
    ];
    const good = services.broker.catalog;
    for (const [index, [catalog, text]] of catalogs.entries()) {
      services.broker.catalog = catalog;
      const job = await services.register(`bad-${index}`);
      assert.equal(job.at('state'), 'FAILED');
      assert.equal(job.at('errors.0.code'), 270012);
      assert.match(job.string('errors.0.detail'), text);
    }
    services.broker.catalog = good;
    assert.equal((await services.cc.admin.get('/v3/service_offerings')).at('pagination.total_results'), 1);
    for (const [answer, title] of [
      [{ status: 500 }, 'CF-ServiceBrokerRequestRejected'],
      [{ status: 200, text: 'no json' }, 'CF-ServiceBrokerRequestMalformed'],
      [{ status: 401 }, 'CF-ServiceBrokerApiAuthenticationFailed'],
    ] as const) {
      services.broker.next('catalog', answer);
      assert.equal((await services.register(title)).at('errors.0.title'), title);
    }
    const gone = await services.cc.admin.job(
      await services.cc.admin.post('/v3/service_brokers', {
        name: 'nobody',
        url: 'http://127.0.0.1:1',
        authentication: { type: 'basic', credentials: { username: 'a', password: 'b' } },
      }),
    );
    assert.equal(gone.at('errors.0.title'), 'CF-ServiceBrokerApiUnreachable');
  });

  it('whose catalog changes: names follow, plans without instances go, those with instances stay for them', async () => {
    const { admin } = services.cc;
    const instance = await services.instance('staying');
    const broker_guid = (await admin.get('/v3/service_brokers?names=the-broker')).string('resources.0.guid');
    for (const list of ['service_brokers', 'service_offerings', 'service_plans']) {
      const [guid] = (await admin.get(`/v3/${list}`)).each('guid');
      assert.deepEqual((await admin.get(`/v3/${list}?guids=${String(guid)}`)).each('guid'), [guid]);
    }
    const [service] = CATALOG.services;
    const good = services.broker.catalog;
    services.broker.catalog = {
      services: [{ ...service, name: 'renamed', plans: [{ id: 'new-id', name: 'small', description: 'New' }] }],
    };
    const update = await admin.job(
      await admin.patch(`/v3/service_brokers/${broker_guid}`, { url: services.broker.url }),
    );
    assert.equal(update.at('state'), 'COMPLETE', update.text);
    assert.match(update.string('warnings.0.detail'), /Plans deactivated: small/);
    const plans = await admin.get('/v3/service_plans?order_by=created_at');
    assert.deepEqual(plans.each('name'), ['small', 'small']);
    assert.deepEqual(plans.each('available'), [false, true]);
    assert.deepEqual(plans.each('visibility_type'), ['public', 'admin']);
    // A failed update changes nothing.
    services.broker.catalog = { services: [] };
    const failed = await admin.job(
      await admin.patch(`/v3/service_brokers/${broker_guid}`, { name: 'other', url: services.broker.url }),
    );
    assert.equal(failed.at('state'), 'FAILED');
    assert.equal((await admin.get(`/v3/service_brokers/${broker_guid}`)).at('name'), 'the-broker');
    services.broker.catalog = good;
    await admin.job(await admin.patch(`/v3/service_brokers/${broker_guid}`, { url: services.broker.url }));
    for (const name of ['small', 'large']) {
      await admin.post(`/v3/service_plans/${await services.planGuid(name)}/visibility`, { type: 'public' });
    }
    const refused = await admin.delete(`/v3/service_brokers/${broker_guid}`);
    assert.equal(refused.at('errors.0.title'), 'CF-ServiceBrokerNotRemovable');
    await services.deleted(`/v3/service_instances/${instance}`);
  });

  it('offer plans to everybody, to organizations, or to admins alone', async () => {
    const { admin } = services.cc;
    const eve = await services.cc.cc.user('eve');
    const plan = await services.planGuid('large');
    const names = async (): Promise<unknown[]> => (await eve.get('/v3/service_plans?order_by=-name')).each('name');
    const path = `/v3/service_plans/${plan}/visibility`;
    assert.deepEqual(await names(), ['small', 'large']);
    await admin.patch(path, { type: 'admin' });
    assert.deepEqual(await names(), ['small']);
    const org = await admin.post('/v3/organizations', { name: 'of-eve' });
    await admin.post('/v3/roles', {
      type: 'organization_user',
      relationships: { user: { data: { guid: eve.guid } }, organization: { data: { guid: org.guid } } },
    });
    const applied = await admin.post(path, { type: 'organization', organizations: [{ guid: org.guid }] });
    assert.deepEqual(applied.body, { type: 'organization' });
    assert.deepEqual(await names(), ['small', 'large']);
    const shown = await eve.get(path);
    assert.deepEqual(shown.body, { type: 'organization', organizations: [{ guid: org.guid, name: 'of-eve' }] });
    assert.equal((await eve.patch(path, { type: 'public' })).status, 403);
    const refused = await services.request('elsewhere', {}, 'large');
    assert.match(String(refused.error[1]), /plan is not enabled in this organization/);
    assert.equal((await admin.delete(`${path}/${org.guid}`)).status, 204);
    assert.deepEqual(await names(), ['small']);
    assert.deepEqual((await admin.get(path)).body, { type: 'admin' });
    await admin.patch(path, { type: 'public' });
  });

  it('of a space are seen and used there alone', async () => {
    const { admin, space_guid } = services.cc;
    const dev = await services.cc.cc.user('dev');
    await dev.get('/v3/organizations');
    const to = (guid: string): object => ({ data: { guid } });
    await admin.post('/v3/roles', {
      type: 'organization_user',
      relationships: { user: to(dev.guid), organization: to(services.cc.organization_guid) },
    });
    await admin.post('/v3/roles', {
      type: 'space_developer',
      relationships: { user: to(dev.guid), space: to(space_guid) },
    });
    const authentication = { type: 'basic', credentials: { username: 'broker', password: 'secret' } };
    const own = { name: 'own', url: services.broker.url, authentication };
    assert.equal((await dev.post('/v3/service_brokers', own)).status, 403);
    const made = await dev.post('/v3/service_brokers', { ...own, relationships: { space: to(space_guid) } });
    assert.equal((await dev.job(made)).at('state'), 'COMPLETE');
    const seen = await dev.get('/v3/service_plans?service_broker_names=own&names=small&include=space.organization');
    assert.deepEqual(seen.each('visibility_type'), ['space']);
    assert.equal(seen.at('included.spaces.0.name'), 's');
    const stranger = await services.cc.cc.user('stranger');
    assert.deepEqual((await stranger.get('/v3/service_plans?service_broker_names=own')).each('name'), []);
    const guid = (await dev.get('/v3/service_brokers')).string('resources.0.guid');
    assert.equal((await stranger.get(`/v3/service_brokers/${guid}`)).status, 404);
    assert.equal((await dev.job(await dev.delete(`/v3/service_brokers/${guid}`))).at('state'), 'COMPLETE');
  });

  it('have clients of the UAA for their dashboards: made, changed and removed with the catalog and the broker', async () => {
    const { admin, cc } = services.cc;
    const { clients } = cc.uaa;
    const offering = (dashboard_client?: object): object => ({
      id: 'dashed',
      name: 'dashed',
      description: 'd',
      bindable: true,
      dashboard_client,
      plans: [{ id: 'dashed-plan', name: 'p', description: 'p' }],
    });
    const catalogIs = (client?: object): void => void (broker.catalog = { services: [offering(client)] });
    await using broker = await OsbBroker.start();
    const { url, username, password } = broker;
    const authentication = { type: 'basic', credentials: { username, password } };
    const register = async (name: string) =>
      await admin.job(await admin.post('/v3/service_brokers', { name, url, authentication }));
    const client = { id: 'dash', secret: 'first', redirect_uri: 'https://dash' };

    catalogIs(client);
    assert.equal((await register('dashed')).at('state'), 'COMPLETE');
    const { scope, ...made } = clients.get('dash') ?? {};
    assert.deepEqual(scope, ['openid', 'cloud_controller_service_permissions.read']);
    assert.deepEqual([made['client_secret'], made['redirect_uri']], ['first', ['https://dash']]);
    assert.deepEqual(made['authorized_grant_types'], ['authorization_code']);

    // Nobody's client is taken: neither another broker's, nor one that the UAA had before.
    clients.set('cf', { client_id: 'cf' });
    for (const id of ['dash', 'cf']) {
      catalogIs({ ...client, id });
      const refused = await register(`thief-of-${id}`);
      assert.equal(refused.at('state'), 'FAILED');
      assert.match(refused.text, /Service dashboard client id must be unique/);
      const thief = (await admin.get(`/v3/service_brokers?names=thief-of-${id}`)).string('resources.0.guid');
      await admin.job(await admin.delete(`/v3/service_brokers/${thief}`));
    }
    assert.deepEqual(clients.get('cf'), { client_id: 'cf' });
    assert.equal(clients.get('dash')?.['client_secret'], 'first');

    const guid = (await admin.get('/v3/service_brokers?names=dashed')).string('resources.0.guid');
    const change = async () => await admin.job(await admin.patch(`/v3/service_brokers/${guid}`, { url }));
    catalogIs({ ...client, secret: 'second' });
    assert.equal((await change()).at('state'), 'COMPLETE');
    assert.equal(clients.get('dash')?.['client_secret'], 'second');
    catalogIs({ ...client, id: 'other' });
    assert.equal((await change()).at('state'), 'COMPLETE');
    assert.deepEqual([clients.has('dash'), clients.has('other')], [false, true]);
    await admin.job(await admin.delete(`/v3/service_brokers/${guid}`));
    await eventually('it is gone with the broker', () => !clients.has('other'));
  });

  it('let dashboards ask what their users may do with an instance, and nothing else', async () => {
    const instance = await services.instance('asked-for');
    const { uaa, url } = services.cc.cc;
    const { guid } = services.cc.admin;
    const token = await uaa.token({
      guid,
      username: 'admin',
      scopes: ['openid', 'cloud_controller_service_permissions.read'],
      audience: ['cloud_controller_service_permissions'],
    });
    const ask = async (path: string) => await fetch(`${url}${path}`, { headers: { authorization: `bearer ${token}` } });
    const answer = await ask(`/v3/service_instances/${instance}/permissions`);
    assert.deepEqual(await answer.json(), { manage: false, read: false });
    assert.equal((await ask(`/v3/service_instances/${instance}`)).status, 403);
    assert.equal((await ask('/v3/apps')).status, 403);
  });
});
