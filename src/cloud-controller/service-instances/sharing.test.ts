import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestServices } from '../services-testing.ts';

describe('sharing of service instances', () => {
  let services: TestServices;
  let space: string;
  let instance: string;
  let path: string;
  before(async () => {
    services = await TestServices.start();
    const { admin } = services.cc;
    space = await newSpace('other');
    instance = await services.instance('db');
    path = `/v3/service_instances/${instance}/relationships/shared_spaces`;
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: true });
  });
  after(async () => await services[Symbol.asyncDispose]());

  async function newSpace(name: string): Promise<string> {
    const { admin, organization_guid } = services.cc;
    const organization = { data: { guid: organization_guid } };
    return (await admin.post('/v3/spaces', { name, relationships: { organization } })).string('guid');
  }
  async function newApp(name: string, space_guid: string): Promise<string> {
    const relationships = { space: { data: { guid: space_guid } } };
    return (await services.cc.admin.post('/v3/apps', { name, relationships })).string('guid');
  }

  it('is there when the flag is on, for those who may write in both spaces', async () => {
    const { admin } = services.cc;
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: false });
    assert.equal((await admin.post(path, { data: [{ guid: space }] })).status, 403);
    await admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: true });
    const absent = await admin.post(path, { data: [{ guid: 'nowhere' }] });
    assert.match(absent.text, /with spaces \['nowhere'\]\. Ensure the spaces exist and that you have access to them/);
    const own = await admin.post(path, { data: [{ guid: services.cc.space_guid }] });
    assert.match(own.text, /cannot be shared into the space where they were created/);
  });

  it('lets apps of the other space be bound, and unshared ends what bound them', async () => {
    const { admin } = services.cc;
    const app = await newApp('elsewhere', space);
    assert.match((await services.requestBind(instance, app)).text, /are in different spaces/);
    const shared = await admin.post(path, { data: [{ guid: space }] });
    assert.equal(shared.status, 200, shared.text);
    assert.equal((await services.bind(instance, app)).at('state'), 'COMPLETE');
    const seen = await admin.get(`/v3/service_instances?space_guids=${space}`);
    assert.deepEqual(seen.each('guid'), [instance]);
    const listed = await admin.get(
      `${path}?fields[space]=guid,name,relationships.organization&fields[space.organization]=guid,name`,
    );
    assert.equal(listed.string('included.spaces.0.name'), 'other');
    const summary = await admin.get(`${path}/usage_summary`);
    assert.deepEqual(summary.at('usage_summary'), [{ space: { guid: space }, bound_app_count: 1 }]);
    const before = services.broker.bindings.size;
    assert.equal((await admin.delete(`${path}/${space}`)).status, 204);
    assert.equal(services.broker.bindings.size, before - 1);
    assert.deepEqual((await admin.get(path)).at('data'), []);
    assert.match((await services.requestBind(instance, app)).text, /are in different spaces/);
  });

  it('refuses what cannot be shared, with the texts of Cloud Foundry', async () => {
    const { admin } = services.cc;
    const taken = await newSpace('taken');
    const provided = async (name: string): Promise<string> =>
      (
        await admin.post('/v3/service_instances', {
          type: 'user-provided',
          name,
          relationships: { space: { data: { guid: taken } } },
        })
      ).string('guid');
    const own = await provided('db');
    assert.match(
      (await admin.post(path, { data: [{ guid: taken }] })).text,
      /A service instance called db already exists in taken/,
    );
    const other = `/v3/service_instances/${own}/relationships/shared_spaces`;
    assert.match(
      (await admin.post(other, { data: [{ guid: space }] })).text,
      /User-provided services cannot be shared/,
    );
    const plan = await services.planGuid('small');
    const organizations = [{ guid: (await admin.post('/v3/organizations', { name: 'elsewhere' })).string('guid') }];
    await admin.patch(`/v3/service_plans/${plan}/visibility`, { type: 'organization', organizations });
    assert.match((await admin.post(path, { data: [{ guid: space }] })).text, /is not enabled in .*\/other/);
    await admin.post(`/v3/service_plans/${plan}/visibility`, { type: 'public' });
  });
});
