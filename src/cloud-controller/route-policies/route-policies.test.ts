import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import type { Answer } from '../testing.ts';

const toOne = (guid: string): object => ({ data: { guid } });

describe('route policies', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let app: string;
  let route: string;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
    app = await cc.pushed('backend', { a: '1' }, { 'no-route': true });
    route = await routeOn(await domain({ name: 'identity.example', enforce_route_policies: true }), 'backend');
    await cc.admin.post(`/v3/routes/${route}/destinations`, { destinations: [{ app: { guid: app } }] });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const domain = async (wanted: object): Promise<string> =>
    (await cc.admin.post('/v3/domains', { route_policies_scope: 'org', ...wanted })).guid;
  const routeOn = async (domain_guid: string, host: string): Promise<string> =>
    (
      await cc.admin.post('/v3/routes', {
        host,
        relationships: { space: toOne(cc.space_guid), domain: toOne(domain_guid) },
      })
    ).guid;
  const add = async (source: unknown, route_guid = route): Promise<Answer> =>
    await cc.admin.post('/v3/route_policies', { source, relationships: { route: toOne(route_guid) } });
  const isTold = async (expected: string | undefined): Promise<void> => {
    await eventually(`the DEA is told ${expected}`, () => {
      const said = dea.routeOptions.get(app)?.['backend.identity.example'];
      return said?.route_policy_scope === 'org' && said.route_policy_sources === expected;
    });
  };

  it('are made, shown with what they name, found, labelled and deleted, and told to the router', async () => {
    await isTold(undefined);
    const of_app = await add(`cf:app:${app}`);
    assert.equal(of_app.status, 201, of_app.text);
    const of_space = await add(`cf:space:${cc.space_guid}`);
    const of_nobody = await add(`cf:org:${randomUUID()}`);
    await isTold([of_app, of_space, of_nobody].map((made) => made.string('source')).join(','));
    assert.deepEqual(
      ['relationships.app.data.guid', 'relationships.space.data', 'links.app.href'].map((at) => of_app.at(at)),
      [app, null, `http://api.cf.localhost/v3/apps/${app}`],
    );
    const list = await cc.admin.get(
      `/v3/route_policies?route_guids=${route}&include=source,route&order_by=-created_at`,
    );
    assert.deepEqual(list.each('guid'), [of_nobody.guid, of_space.guid, of_app.guid]);
    assert.deepEqual(
      ['apps.0.guid', 'spaces.0.guid', 'organizations', 'routes.0.guid'].map((at) => list.at(`included.${at}`)),
      [app, cc.space_guid, [], route],
    );
    const routes = await cc.admin.get('/v3/routes?hosts=backend&include=route_policies');
    assert.equal(routes.at('included.route_policies.0.guid'), of_app.guid);
    for (const filter of [`sources=cf:app:${app}`, `source_guids=${app}`, 'label_selector=team']) {
      if (filter.startsWith('label')) {
        const metadata = { labels: { team: 'x' } };
        const patched = await cc.admin.patch(`/v3/route_policies/${of_app.guid}`, { metadata });
        assert.equal(patched.at('metadata.labels.team'), 'x', patched.text);
      }
      assert.deepEqual((await cc.admin.get(`/v3/route_policies?${filter}`)).each('guid'), [of_app.guid], filter);
    }
    const events = await cc.admin.get(`/v3/audit_events?target_guids=${of_app.guid}`);
    assert.deepEqual(events.each('type'), ['audit.route_policy.create', 'audit.route_policy.update']);
    for (const made of [of_app, of_space, of_nobody]) {
      assert.equal((await cc.admin.delete(`/v3/route_policies/${made.guid}`)).status, 204);
    }
    await isTold(undefined);
  });

  it('refuse what contradicts, what is there already, and what the domain does not let in', async () => {
    const any = await add('cf:any');
    await isTold('cf:any');
    assert.match(String((await add('cf:any')).error[1]), /already exists for this route/);
    assert.match(String((await add(`cf:app:${app}`)).error[1]), /cannot coexist with the existing 'cf:any' policy/);
    await cc.admin.delete(`/v3/route_policies/${any.guid}`);
    await add(`cf:app:${app}`);
    assert.match(String((await add('cf:any')).error[1]), /'cf:any' cannot coexist with other route policies/);
    for (const source of ['app', 'cf:app:x', 'cf:user:1', '', 7]) assert.equal((await add(source)).status, 422);
    assert.equal((await cc.admin.get('/v3/route_policies?sources=cf:x')).status, 400);
    assert.deepEqual((await add('cf:any', 'none')).error, [404, 'Route not found']);
    const plain = await routeOn(await domain({ name: 'plain.example' }), 'r');
    assert.match(String((await add('cf:any', plain)).error[1]), /does not have enforce_route_policies enabled/);
    const narrow = { name: 'narrow.example', enforce_route_policies: true, route_policies_scope: 'space' };
    const refused = await add(`cf:org:${cc.organization_guid}`, await routeOn(await domain(narrow), 'r'));
    assert.match(String(refused.error[1]), /route_policies_scope is 'space'/);
    const unscoped = { name: 'x.example', enforce_route_policies: true };
    assert.match((await cc.admin.post('/v3/domains', unscoped)).text, /Route policies scope is required/);
    const internal = { ...unscoped, internal: true, route_policies_scope: 'any' };
    assert.match((await cc.admin.post('/v3/domains', internal)).text, /Internal domains cannot have/);
  });
});
