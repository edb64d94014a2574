import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Answer, TestCloudController } from '../testing.ts';

const toOne = (guid: string): { data: { guid: string } } => ({ data: { guid } });

describe('what holds for spaces: security groups, isolation segments, quotas, variables', () => {
  let cc: TestCloudController;
  let org: Answer;
  let space: Answer;
  before(async () => {
    cc = await TestCloudController.start();
    org = await cc.admin.post('/v3/organizations', { name: 'o' });
    space = await cc.admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(org.guid) } });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('begins with groups that open the world outside and DNS, and nothing private', async () => {
    const groups = await cc.admin.get('/v3/security_groups?globally_enabled_running=true');
    assert.deepEqual(groups.each('name'), ['public_networks', 'dns']);
    const destinations = groups.at('resources.0.rules') as { destination: string }[];
    assert.ok(destinations.length > 0 && destinations.every(({ destination }) => !destination.startsWith('10.')));
  });

  it('binds a group to spaces for one phase, and shows it with those that hold everywhere', async () => {
    const rules = [{ protocol: 'tcp', destination: '10.0.0.0/8', ports: '5432' }];
    const group = await cc.admin.post('/v3/security_groups', { name: 'db', rules });
    assert.equal(group.status, 201, group.text);
    assert.deepEqual((await cc.admin.post('/v3/security_groups', { name: 'DB' })).error, [
      422,
      "Security group with name 'DB' already exists.",
    ]);
    const refused = await cc.admin.patch(`/v3/security_groups/${group.guid}`, {
      rules: [{ protocol: 'tcp', destination: 'x' }],
    });
    assert.deepEqual(refused.error, [422, 'Rules[0]: ports are required for protocols of type TCP and UDP']);
    const path = `/v3/security_groups/${group.guid}/relationships/running_spaces`;
    assert.equal((await cc.admin.post(path, { data: [{ guid: space.guid }] })).status, 200);
    const applying = async (phase: string): Promise<unknown[]> =>
      (await cc.admin.get(`/v3/spaces/${space.guid}/${phase}_security_groups`)).each('name');
    assert.deepEqual(await applying('running'), ['public_networks', 'dns', 'db']);
    assert.deepEqual(await applying('staging'), ['public_networks', 'dns']);
    assert.equal((await cc.admin.delete(`${path}/${space.guid}`)).status, 204);
    assert.match(
      String((await cc.admin.delete(`${path}/${space.guid}`)).error[1]),
      /Ensure the space is bound to this security group\.$/,
    );
    const job = await cc.admin.job(await cc.admin.delete(`/v3/security_groups/${group.guid}`));
    assert.equal(job.at('state'), 'COMPLETE');
  });

  it('puts a space into an isolation segment only when its organization is entitled, and holds on to it', async () => {
    const segment = await cc.admin.post('/v3/isolation_segments', { name: 'gpu' });
    const path = `/v3/isolation_segments/${segment.guid}`;
    const assign = async (): Promise<Answer> =>
      await cc.admin.patch(`/v3/spaces/${space.guid}/relationships/isolation_segment`, {
        data: { guid: segment.guid },
      });
    assert.equal((await assign()).status, 422);
    await cc.admin.post(`${path}/relationships/organizations`, { data: [{ guid: org.guid }] });
    assert.equal((await assign()).at('data.guid'), segment.guid);
    assert.equal((await cc.admin.delete(`${path}/relationships/organizations/${org.guid}`)).status, 422);
    assert.deepEqual((await cc.admin.delete(path)).error, [
      422,
      'Revoke the Organization entitlements for your Isolation Segment.',
    ]);
    const shared = await cc.admin.get('/v3/isolation_segments?names=shared');
    const kept = await cc.admin.delete(`/v3/isolation_segments/${shared.string('resources.0.guid')}`);
    assert.deepEqual(kept.error, [422, 'Cannot delete the shared Isolation Segment']);
  });

  it('limits a space by a quota of its organization', async () => {
    const body = { name: 'small', routes: { total_routes: 0 }, relationships: { organization: toOne(org.guid) } };
    const quota = await cc.admin.post('/v3/space_quotas', body);
    assert.equal(quota.status, 201, quota.text);
    assert.deepEqual((await cc.admin.post('/v3/space_quotas', body)).error, [
      422,
      "Space Quota 'small' already exists.",
    ]);
    const path = `/v3/space_quotas/${quota.guid}`;
    await cc.admin.post(`${path}/relationships/spaces`, { data: [{ guid: space.guid }] });
    assert.deepEqual((await cc.admin.get(path)).at('relationships.spaces.data'), [{ guid: space.guid }]);
    const domain = (await cc.admin.get('/v3/domains?names=apps.localhost')).string('resources.0.guid');
    const route = { host: 'h', relationships: { space: toOne(space.guid), domain: toOne(domain) } };
    assert.deepEqual((await cc.admin.post('/v3/routes', route)).error, [422, "Routes quota exceeded for space 's'."]);
    assert.equal((await cc.admin.delete(`${path}/relationships/spaces/${space.guid}`)).status, 204);
    assert.equal((await cc.admin.post('/v3/routes', route)).status, 201);
    assert.equal((await cc.admin.patch(path, { apps: { total_memory_in_mb: -1 } })).status, 422);
  });

  it("keeps the variables of all apps, and refuses names that are the platform's", async () => {
    const path = '/v3/environment_variable_groups/staging';
    const set = await cc.admin.patch(path, { var: { A: 'b', GONE: 'x' } });
    assert.deepEqual(set.at('var'), { A: 'b', GONE: 'x' });
    assert.deepEqual((await cc.admin.patch(path, { var: { GONE: null } })).at('var'), { A: 'b' });
    assert.deepEqual((await cc.admin.patch(path, { var: { vcap_x: 'y' } })).error, [
      422,
      'Var cannot start with VCAP_',
    ]);
    assert.deepEqual((await cc.admin.get('/v3/environment_variable_groups/other')).error, [
      404,
      'Environment variable group not found',
    ]);
  });

  it('knows all feature flags, with their defaults and what was set', async () => {
    const flags = await cc.admin.get('/v3/feature_flags');
    assert.ok(flags.each('name').includes('diego_docker'));
    const set = await cc.admin.patch('/v3/feature_flags/route_creation', {
      enabled: false,
      custom_error_message: 'Ask us.',
    });
    assert.equal(set.at('enabled'), false);
    assert.deepEqual((await cc.admin.get('/v3/feature_flags/none')).error, [404, 'Feature flag not found']);
  });
});
