import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestServices } from '../services-testing.ts';

const EVENTS = '/v3/service_usage_events';

describe('usage events of services', () => {
  let services: TestServices;
  before(async () => {
    services = await TestServices.start();
  });
  after(async () => await services[Symbol.asyncDispose]());

  const states = async (query = ''): Promise<string[]> => {
    const { admin } = services.cc;
    const list = await admin.get(`${EVENTS}${query}`);
    const [names, plans] = [list.each('service_instance.name'), list.each('service_plan.name')];
    return list.each('state').map((state, index) => `${String(state)} ${String(names[index])} ${String(plans[index])}`);
  };

  it('tell of instances that are made, renamed, given another plan, deleted and purged', async () => {
    const { admin } = services.cc;
    const guid = await services.instance('db');
    const path = `/v3/service_instances/${guid}`;
    const first = await admin.get(EVENTS);
    const { space_guid, organization_guid } = services.cc;
    assert.deepEqual(
      ['state', 'space', 'organization', 'service_instance', 'service_plan.name', 'service_broker.name'].map((at) =>
        first.at(`resources.0.${at}`),
      ),
      [
        'CREATED',
        { guid: space_guid, name: 's' },
        { guid: organization_guid },
        { guid, name: 'db', type: 'managed_service_instance' },
        'small',
        'the-broker',
      ],
    );
    await admin.patch(path, { tags: ['a'], metadata: { labels: { a: 'b' } } });
    await admin.patch(path, { name: 'store' });
    const plan = { service_plan: { data: { guid: await services.planGuid('large') } } };
    await admin.job(await admin.patch(path, { relationships: plan }));
    await services.deleted(path);
    const user_provided = await admin.post('/v3/service_instances', {
      type: 'user-provided',
      name: 'mine',
      relationships: { space: { data: { guid: space_guid } } },
    });
    await admin.delete(`/v3/service_instances/${user_provided.guid}`);
    await services.instance('lost');
    await admin.delete(`/v3/service_instances/${await services.guidOf('lost')}?purge=true`);
    assert.deepEqual(await states(), [
      'CREATED db small',
      'UPDATED store small',
      'UPDATED store large',
      'DELETED store large',
      'CREATED mine null',
      'DELETED mine null',
      'CREATED lost small',
      'DELETED lost small',
    ]);
  });

  it('are filtered, shown one by one, and read on from where a reader was', async () => {
    const { admin } = services.cc;
    const list = await admin.get(EVENTS);
    const [first, , , fourth] = list.each('guid').map(String);
    const offering = list.string('resources.0.service_offering.guid');
    assert.deepEqual(await states('?service_instance_types=user_provided_service_instance'), [
      'CREATED mine null',
      'DELETED mine null',
    ]);
    assert.equal((await states(`?service_offering_guids=${offering}`)).length, 6);
    assert.deepEqual(await states(`?after_guid=${fourth}&per_page=2`), ['CREATED mine null', 'DELETED mine null']);
    const unknown = await admin.get(`${EVENTS}?after_guid=none`);
    assert.deepEqual(unknown.error, [422, 'After guid filter must be a valid service usage event guid.']);
    assert.equal((await admin.get(`${EVENTS}/${first}`)).at('service_instance.name'), 'db');
    assert.deepEqual((await admin.get(`${EVENTS}/none`)).error, [404, 'Service usage event not found']);
  });

  it('begin anew with what there is', async () => {
    const { admin } = services.cc;
    await services.instance('kept');
    const purged = await admin.post(`${EVENTS}/actions/destructively_purge_all_and_reseed`);
    assert.equal(purged.status, 200);
    assert.deepEqual(await states(), ['CREATED kept small']);
  });
});
