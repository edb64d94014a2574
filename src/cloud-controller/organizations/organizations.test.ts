import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestCloudController } from '../testing.ts';

describe('organizations, spaces and roles', () => {
  let cc: TestCloudController;
  before(async () => {
    cc = await TestCloudController.start();
  });
  after(async () => await cc[Symbol.asyncDispose]());
  const toOne = (guid: string): { data: { guid: string } } => ({ data: { guid } });

  it('lets the cf CLI log in, make an org and a space, and target them', async () => {
    const { admin } = cc;
    const org = await admin.post('/v3/organizations', { name: 'acme' });
    assert.equal(org.status, 201);
    assert.deepEqual(org.at('metadata'), { labels: {}, annotations: {} });
    const again = await admin.post('/v3/organizations', { name: 'ACME' });
    assert.deepEqual(again.error, [422, "Organization 'ACME' already exists."]);
    const space = await admin.post('/v3/spaces', {
      name: 'dev',
      relationships: { organization: toOne(org.guid) },
    });
    assert.equal(space.status, 201);
    const twice = await admin.post('/v3/spaces', { name: 'dev', relationships: { organization: toOne(org.guid) } });
    assert.deepEqual(twice.error, [422, 'Name must be unique per organization']);
    for (const [type, place] of [
      ['organization_user', { organization: toOne(org.guid) }],
      ['space_manager', { space: toOne(space.guid) }],
      ['space_developer', { space: toOne(space.guid) }],
    ] as const) {
      const user = { data: { username: 'admin', origin: 'uaa' } };
      const role = await admin.post('/v3/roles', { type, relationships: { user, ...place } });
      assert.equal(role.status, 201, role.text);
    }
    const listed = await admin.get(`/v3/spaces?names=dev&organization_guids=${org.guid}&include=organization`);
    assert.deepEqual(listed.each('guid'), [space.guid]);
    assert.equal(listed.at('included.organizations.0.guid'), org.guid);
    const renamed = await admin.patch(`/v3/organizations/${org.guid}/`, { name: 'acme2' });
    assert.equal(renamed.at('name'), 'acme2');
  });

  it('hides what a user has no role in, shows what the role allows, and refuses the rest', async () => {
    const { admin } = cc;
    const org = await admin.post('/v3/organizations', { name: 'hidden' });
    const space = await admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(org.guid) } });
    const eve = await cc.user('eve');
    assert.deepEqual((await eve.get(`/v3/organizations/${org.guid}`)).error, [404, 'Organization not found']);
    assert.deepEqual((await eve.get('/v3/spaces')).each('guid'), []);
    const user = { data: { username: 'EVE' } };
    const early = await admin.post('/v3/roles', {
      type: 'space_developer',
      relationships: { user, space: toOne(space.guid) },
    });
    assert.deepEqual(early.error, [
      422,
      "Users cannot be assigned roles in a space if they do not have a role in that space's organization.",
    ]);
    const member = { type: 'organization_user', relationships: { user, organization: toOne(org.guid) } };
    assert.equal((await admin.post('/v3/roles', member)).status, 201);
    assert.deepEqual((await admin.post('/v3/roles', member)).error, [
      422,
      "User 'eve' already has 'organization_user' role in organization 'hidden'.",
    ]);
    const developer = { type: 'space_developer', relationships: { user, space: toOne(space.guid) } };
    assert.equal((await admin.post('/v3/roles', developer)).status, 201);
    assert.deepEqual((await eve.get('/v3/organizations')).each('name'), ['hidden']);
    assert.deepEqual((await eve.get('/v3/spaces')).each('name'), ['s']);
    assert.deepEqual((await eve.patch(`/v3/spaces/${space.guid}`, { name: 't' })).error, [
      403,
      'You are not authorized to perform the requested action',
    ]);
    assert.deepEqual((await eve.post('/v3/organizations', { name: 'mine' })).status, 403);
    const roles = await admin.get(`/v3/roles?user_guids=${eve.guid}&types=organization_user&include=user`);
    assert.equal(roles.at('included.users.0.username'), 'eve');
    const held = await admin.delete(`/v3/roles/${roles.string('resources.0.guid')}`);
    assert.deepEqual(held.error, [
      422,
      'Cannot delete organization_user role while user has roles in spaces in that organization.',
    ]);
  });

  it('deletes an org with everything in it as a job', async () => {
    const { admin } = cc;
    const org = await admin.post('/v3/organizations', { name: 'doomed' });
    const space = await admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(org.guid) } });
    const domain = await admin.post('/v3/domains', {
      name: 'doomed.example.com',
      relationships: { organization: toOne(org.guid) },
    });
    assert.equal(domain.status, 201, domain.text);
    const route = await admin.post('/v3/routes', {
      host: 'www',
      relationships: { space: toOne(space.guid), domain: toOne(domain.guid) },
    });
    assert.equal(route.status, 201, route.text);
    assert.equal(route.at('url'), 'www.doomed.example.com');
    const app = await admin.post('/v3/apps', { name: 'a', relationships: { space: toOne(space.guid) } });
    const destinations = [{ app: { guid: app.guid } }];
    assert.equal((await admin.post(`/v3/routes/${route.guid}/destinations`, { destinations })).status, 200);
    const job = await admin.job(await admin.delete(`/v3/organizations/${org.guid}/`));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.equal(job.at('operation'), 'organization.delete');
    for (const path of [
      `organizations/${org.guid}`,
      `spaces/${space.guid}`,
      `routes/${route.guid}`,
      `apps/${app.guid}`,
    ]) {
      assert.equal((await admin.get(`/v3/${path}`)).status, 404);
    }
  });

  it('stops all writes in a suspended org but those of an admin', async () => {
    const { admin } = cc;
    const org = await admin.post('/v3/organizations', { name: 'suspended' });
    const manager = await cc.user('manager');
    const user = { data: { username: 'manager' } };
    await admin.post('/v3/roles', {
      type: 'organization_manager',
      relationships: { user, organization: toOne(org.guid) },
    });
    const create = async (name: string, as = manager): Promise<[number, unknown]> =>
      (await as.post('/v3/spaces', { name, relationships: { organization: toOne(org.guid) } })).error;
    assert.equal((await create('before'))[0], 201);
    await admin.patch(`/v3/organizations/${org.guid}`, { suspended: true });
    assert.deepEqual(await create('after'), [403, 'The organization is suspended']);
    assert.equal((await create('by-admin', admin))[0], 201);
    assert.deepEqual((await manager.get('/v3/spaces')).each('suspended'), [true, true]);
  });

  it('gives who makes an org the roles to use it, when users may', async () => {
    const { admin } = cc;
    await admin.patch('/v3/feature_flags/user_org_creation', { enabled: true });
    const maker = await cc.user('maker');
    const org = await maker.post('/v3/organizations', { name: 'made' });
    assert.equal(org.status, 201, org.text);
    const roles = await maker.get(`/v3/roles?organization_guids=${org.guid}`);
    assert.deepEqual(roles.each('type'), ['organization_user', 'organization_manager']);
    await admin.patch('/v3/feature_flags/user_org_creation', { enabled: false });
  });

  it('answers bad bodies and bad queries in words', async () => {
    const { admin } = cc;
    const cases: [() => ReturnType<typeof admin.get>, number, string][] = [
      [async () => await admin.post('/v3/organizations', {}), 422, "Name can't be blank"],
      [async () => await admin.post('/v3/organizations', { name: '' }), 422, "Name can't be blank"],
      [async () => await admin.post('/v3/organizations', { name: 7 }), 422, 'Name must be a string'],
      [async () => await admin.post('/v3/organizations', { name: 'x', y: 1 }), 422, "Unknown field(s): 'y'"],
      [
        async () => await admin.post('/v3/spaces', { name: 'x' }),
        422,
        'Relationships Organization must be structured like this: "organization: {"data": {"guid": "valid-guid"}}"',
      ],
      [
        async () => await admin.get('/v3/organizations?per_page=6000'),
        400,
        'The query parameter is invalid: Per page must be between 1 and 5000',
      ],
      [
        async () => await admin.get('/v3/organizations?order_by=color'),
        400,
        "The query parameter is invalid: Order by can only be: 'created_at', 'updated_at', 'name'",
      ],
      [
        async () => await admin.get('/v3/organizations?color=red'),
        400,
        "The query parameter is invalid: Unknown query parameter(s): 'color'. Valid parameters are: 'page', 'per_page', " +
          "'order_by', 'created_ats', 'updated_ats', 'label_selector', 'names', 'guids'",
      ],
    ];
    for (const [call, status, text] of cases) assert.deepEqual((await call()).error, [status, text]);
  });

  it('pages with absolute links, filters by labels and times, and orders', async () => {
    const { admin } = cc;
    for (const name of ['p1', 'p2', 'p3']) {
      await admin.post('/v3/organizations', { name, metadata: { labels: { page: name, tier: 'x' } } });
    }
    const first = await admin.get('/v3/organizations?label_selector=tier%3Dx&per_page=2&order_by=-name');
    assert.deepEqual(first.each('name'), ['p3', 'p2']);
    assert.equal(first.at('pagination.total_results'), 3);
    const next = new URL(first.string('pagination.next.href'));
    assert.equal(next.origin, 'http://api.cf.localhost');
    const second = await admin.get(next.pathname + next.search);
    assert.deepEqual([second.each('name'), second.at('pagination.next')], [['p1'], null]);
    const selected = await admin.get('/v3/organizations?label_selector=page+in+(p1,p2),!none,page!%3Dp2');
    assert.deepEqual(selected.each('name'), ['p1']);
    const later = await admin.get('/v3/organizations?created_ats[gt]=2999-01-01T00:00:00Z');
    assert.deepEqual(later.each('name'), []);
  });
});
