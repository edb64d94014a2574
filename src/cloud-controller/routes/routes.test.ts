import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Answer, TestCloudController } from '../testing.ts';

const toOne = (guid: string): { data: { guid: string } } => ({ data: { guid } });

describe('domains and routes', () => {
  let cc: TestCloudController;
  let org: Answer;
  let space: Answer;
  let shared_guid: string;
  let internal_guid: string;
  before(async () => {
    cc = await TestCloudController.start();
    org = await cc.admin.post('/v3/organizations', { name: 'o' });
    space = await cc.admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(org.guid) } });
    shared_guid = (await cc.admin.get('/v3/domains?names=APPS.localhost')).string('resources.0.guid');
    internal_guid = (await cc.admin.get('/v3/domains?names=apps.internal')).string('resources.0.guid');
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const create = async (fields: Record<string, unknown>, domain_guid = shared_guid): Promise<Answer> =>
    await cc.admin.post('/v3/routes', {
      ...fields,
      relationships: { space: toOne(space.guid), domain: toOne(domain_guid) },
    });
  const createApp = async (name: string, space_guid = space.guid): Promise<string> => {
    const app = await cc.admin.post('/v3/apps', { name, relationships: { space: toOne(space_guid) } });
    assert.equal(app.status, 201, app.text);
    return app.guid;
  };

  it('gives the first shared domain as the default', async () => {
    const found = await cc.admin.get(`/v3/organizations/${org.guid}/domains/default`);
    assert.equal(found.at('name'), 'apps.localhost');
    assert.deepEqual(found.at('supported_protocols'), ['http']);
  });

  it('refuses addresses that are taken or make no sense, in the words that the cf CLI knows', async () => {
    assert.equal((await create({ host: 'taken' })).status, 201);
    assert.equal((await create({ host: 'taken', path: '/p' })).status, 201);
    const cases: [Record<string, unknown>, string, string?][] = [
      [{ host: 'Taken' }, "Route already exists with host 'Taken' for domain 'apps.localhost'."],
      [
        { host: 'taken', path: '/P' },
        "Route already exists with host 'taken' and path '/P' for domain 'apps.localhost'.",
      ],
      [{}, 'Missing host. Routes in shared domains must have a host defined.'],
      [{ host: 'a.b' }, 'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'],
      [{ host: 'x'.repeat(64) }, 'Host is too long (maximum is 63 characters)'],
      [{ host: 'x', path: 'y' }, 'Path must begin with /'],
      [{ host: 'x', path: '/' }, "Path cannot be exactly '/'"],
      [{ host: 'x', path: '/a?b' }, "Path cannot contain '?'"],
      [{ host: 'x', port: 80 }, "Routes with protocol 'http' do not support ports."],
      [{ host: '*' }, 'Wildcard hosts are not supported for internal domains.', internal_guid],
      [{ host: 'x', path: '/p' }, 'Paths are not supported for internal domains.', internal_guid],
      [{ host: 'x' }, 'Invalid domain. Ensure that the domain exists and you have access to it.', 'nowhere'],
      [{ host: 'x', options: { color: 1 } }, "Options Unknown field(s): 'color'"],
      [
        { host: 'x', options: { loadbalancing: 'best' } },
        "Options Loadbalancing must be one of 'round-robin, least-connection, hash' if present",
      ],
    ];
    for (const [fields, text, domain_guid] of cases) {
      assert.deepEqual((await create(fields, domain_guid)).error, [422, text], JSON.stringify(fields));
    }
  });

  it('tells whether an address is reserved', async () => {
    await create({ host: 'reserved', path: '/x' });
    const ask = async (query: string): Promise<unknown> =>
      (await cc.admin.get(`/v3/domains/${shared_guid}/route_reservations?${query}`)).at('matching_route');
    assert.deepEqual([await ask('host=reserved&path=%2Fx'), await ask('host=reserved')], [true, false]);
  });

  it('maps a route to apps, once each, and finds it by app', async () => {
    const app_guid = await createApp('mapped');
    const route = await create({ host: 'mapped' });
    const path = `/v3/routes/${route.guid}/destinations`;
    const destinations = [{ app: { guid: app_guid } }];
    for (let n = 0; n < 2; n++) {
      const mapped = await cc.admin.post(path, { destinations });
      assert.equal(mapped.status, 200, mapped.text);
      assert.equal(mapped.at('destinations.length'), 1);
    }
    const listed = await cc.admin.get(`/v3/apps/${app_guid}/routes`);
    assert.equal(listed.at('resources.0.destinations.0.app.process.type'), 'web');
    assert.deepEqual((await cc.admin.get(`/v3/routes?app_guids=${app_guid},other`)).each('guid'), [route.guid]);
    const guid = listed.string('resources.0.destinations.0.guid');
    const changed = await cc.admin.patch(`${path}/${guid}`, { protocol: 'http2' });
    assert.equal(changed.at('protocol'), 'http2');
    assert.deepEqual((await cc.admin.patch(`${path}/${guid}`, { protocol: 'tcp' })).error, [
      422,
      "Cannot use 'tcp' protocol for http routes; valid options are: [http1, http2].",
    ]);
    const replaced = await cc.admin.patch(path, {
      destinations: [{ app: { guid: app_guid, process: { type: 'api' } } }],
    });
    assert.equal(replaced.at('destinations.0.app.process.type'), 'api');
    const gone = await cc.admin.delete(`${path}/${guid}`);
    assert.equal(gone.status, 422);
    assert.equal((await cc.admin.delete(`${path}/${replaced.string('destinations.0.guid')}`)).status, 204);
    const events = await cc.admin.get(`/v3/audit_events?target_guids=${app_guid}&types=audit.app.map-route`);
    assert.equal(events.at('pagination.total_results'), 2);
    const absent = await cc.admin.post(path, { destinations: [{ app: { guid: 'none' } }] });
    assert.deepEqual(absent.error, [422, 'App(s) with guid(s) "none" do not exist.']);
  });

  it('maps a route to apps of another space only while it is shared with that space', async () => {
    await cc.admin.patch('/v3/feature_flags/route_sharing', { enabled: true });
    const other = await cc.admin.post('/v3/spaces', {
      name: 'other',
      relationships: { organization: toOne(org.guid) },
    });
    const app_guid = await createApp('elsewhere', other.guid);
    const route = await create({ host: 'shared' });
    const path = `/v3/routes/${route.guid}`;
    const destinations = [{ app: { guid: app_guid } }];
    assert.deepEqual((await cc.admin.post(`${path}/destinations`, { destinations })).error, [
      422,
      "Routes destinations must be in either the route's space or the route's shared spaces",
    ]);
    const shared = await cc.admin.post(`${path}/relationships/shared_spaces`, { data: [{ guid: other.guid }] });
    assert.deepEqual(shared.at('data'), [{ guid: other.guid }]);
    assert.equal((await cc.admin.post(`${path}/destinations`, { destinations })).status, 200);
    assert.equal((await cc.admin.delete(`${path}/relationships/shared_spaces/${other.guid}`)).status, 204);
    assert.equal((await cc.admin.get(`${path}/destinations`)).at('destinations.length'), 0);
    const moved = await cc.admin.patch(`${path}/relationships/space`, { data: { guid: other.guid } });
    assert.equal(moved.status, 200, moved.text);
    assert.equal((await cc.admin.get(path)).at('relationships.space.data.guid'), other.guid);
  });

  it('holds the quotas of organization and space', async () => {
    const quota = await cc.admin.post('/v3/organization_quotas', { name: 'tiny', routes: { total_routes: 1 } });
    assert.deepEqual((await cc.admin.post('/v3/organization_quotas', { name: 'Tiny' })).error, [
      422,
      "Organization Quota 'Tiny' already exists.",
    ]);
    const small = await cc.admin.post('/v3/organizations', { name: 'small' });
    const applied = await cc.admin.post(`/v3/organization_quotas/${quota.guid}/relationships/organizations`, {
      data: [{ guid: small.guid }],
    });
    assert.equal(applied.status, 200);
    const inside = await cc.admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(small.guid) } });
    const relationships = { space: toOne(inside.guid), domain: toOne(shared_guid) };
    assert.equal((await cc.admin.post('/v3/routes', { host: 'one', relationships })).status, 201);
    assert.deepEqual((await cc.admin.post('/v3/routes', { host: 'two', relationships })).error, [
      422,
      "Routes quota exceeded for organization 'small'.",
    ]);
    const held = await cc.admin.delete(`/v3/organization_quotas/${quota.guid}`);
    assert.equal(held.status, 422);
  });

  it('deletes a route and the unmapped routes of a space as jobs', async () => {
    const route = await create({ host: 'gone' });
    const job = await cc.admin.job(await cc.admin.delete(`/v3/routes/${route.guid}`));
    assert.deepEqual([job.at('operation'), job.at('state')], ['route.delete', 'COMPLETE']);
    assert.deepEqual((await cc.admin.get(`/v3/routes/${route.guid}`)).error, [404, 'Route not found']);
    const app_guid = await createApp('kept');
    const kept = await create({ host: 'kept' });
    await cc.admin.post(`/v3/routes/${kept.guid}/destinations`, { destinations: [{ app: { guid: app_guid } }] });
    await cc.admin.job(await cc.admin.delete(`/v3/spaces/${space.guid}/routes?unmapped=true`));
    const left = await cc.admin.get(`/v3/routes?space_guids=${space.guid}&hosts=kept,taken,reserved,mapped`);
    assert.deepEqual(left.each('host'), ['kept']);
  });

  it('lets a private domain be shared, and hides it from others', async () => {
    const name = 'private.example.com';
    const domain = await cc.admin.post('/v3/domains', { name, relationships: { organization: toOne(org.guid) } });
    const eve = await cc.user('eve');
    assert.deepEqual((await eve.get(`/v3/domains/${domain.guid}`)).error, [404, 'Domain not found']);
    assert.deepEqual((await eve.get('/v3/domains')).each('name'), ['apps.localhost', 'apps.internal']);
    const other = await cc.admin.post('/v3/organizations', { name: 'partner' });
    const path = `/v3/domains/${domain.guid}/relationships/shared_organizations`;
    assert.equal((await cc.admin.post(path, { data: [{ guid: other.guid }] })).status, 200);
    assert.deepEqual((await cc.admin.delete(`/v3/domains/${domain.guid}`)).error, [
      422,
      'This domain is shared with other organizations. Unshare before deleting.',
    ]);
    assert.equal((await cc.admin.delete(`${path}/${other.guid}`)).status, 204);
    assert.deepEqual((await cc.admin.post('/v3/domains', { name })).error, [
      422,
      `The domain name "${name}" is already in use`,
    ]);
    const below = { name: `below.${name}`, relationships: { organization: toOne(other.guid) } };
    assert.deepEqual((await cc.admin.post('/v3/domains', below)).error, [
      422,
      `The domain name "below.${name}" cannot be created because "${name}" is already reserved by another domain`,
    ]);
    const job = await cc.admin.job(await cc.admin.delete(`/v3/domains/${domain.guid}`));
    assert.equal(job.at('state'), 'COMPLETE');
  });
});
