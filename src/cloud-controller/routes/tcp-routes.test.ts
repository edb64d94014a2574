import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import type { Answer } from '../testing.ts';

const GROUP = { guid: 'group-1', name: 'default-tcp', reservable_ports: '1024-1026' };

describe('TCP routes', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let domain: Answer;
  before(async () => {
    cc = await TestApps.start({ router_groups: [GROUP] });
    dea = await cc.dea();
    domain = await cc.admin.post('/v3/domains', { name: 'tcp.localhost', router_group: { guid: GROUP.guid } });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const create = async (change: object = {}, domain_guid = domain.guid): Promise<Answer> =>
    await cc.admin.post('/v3/routes', {
      relationships: { space: { data: { guid: cc.space_guid } }, domain: { data: { guid: domain_guid } } },
      ...change,
    });

  it('are of domains of a router group, which clients find by the root', async () => {
    assert.equal((await cc.admin.get('/')).at('links.routing.href'), 'http://api.cf.localhost/routing');
    const groups = await cc.admin.get('/routing/v1/router_groups?name=default-tcp');
    assert.deepEqual(groups.body, [{ ...GROUP, type: 'tcp' }]);
    assert.deepEqual((await cc.admin.get('/routing/v1/router_groups?name=other')).body, []);
    assert.equal((await fetch(`${cc.cc.url}/routing/v1/router_groups`)).status, 401);
    assert.deepEqual([domain.at('router_group.guid'), domain.at('supported_protocols.0')], [GROUP.guid, 'tcp']);
    const unknown = await cc.admin.post('/v3/domains', { name: 'x.localhost', router_group: { guid: 'none' } });
    assert.deepEqual(unknown.error, [422, "Router group with guid 'none' not found."]);
  });

  it('lead to the app by a port of the routers', async () => {
    const app = await cc.pushed('tcp-app');
    await eventually('it runs', () => dea.instancesOf(app)[0]);
    const route = await create({ port: 1024 });
    assert.deepEqual([route.at('url'), route.at('protocol')], ['tcp.localhost:1024', 'tcp'], route.text);
    await cc.admin.post(`/v3/routes/${route.guid}/destinations`, { destinations: [{ app: { guid: app } }] });
    await eventually('the DEA is told', () => dea.uris.get(app)?.includes('tcp.localhost:1024'));
    await cc.admin.job(await cc.admin.delete(`/v3/routes/${route.guid}`));
    await eventually('and told otherwise', () => dea.uris.get(app)?.includes('tcp.localhost:1024') === false);
  });

  it('have a port of their own in the whole group, one that is free when none is asked for', async () => {
    const other = await cc.admin.post('/v3/domains', { name: 'tcp2.localhost', router_group: { guid: GROUP.guid } });
    const first = await create({ port: 1025 });
    assert.equal(first.status, 201, first.text);
    assert.deepEqual((await create({ port: 1025 })).error, [
      422,
      "Route already exists with port '1025' for domain 'tcp.localhost'.",
    ]);
    assert.deepEqual((await create({ port: 1025 }, other.guid)).error, [
      422,
      "Port '1025' is not available. Try a different port or use a different domain.",
    ]);
    assert.match(String((await create({ port: 80 })).error[1]), /router group 'default-tcp': 1024-1026/);
    assert.deepEqual((await create({ host: 'x' })).error, [422, 'Hosts are not supported for TCP routes.']);
    // Two at the same moment get two ports.
    const both = await Promise.all([create(), create({}, other.guid)]);
    assert.deepEqual(new Set(both.map((route) => route.at('port'))), new Set([1024, 1026]), both[0]?.text);
    assert.match(String((await create()).error[1]), /There are no more ports available for router group: default-tcp/);
  });

  it('count against the quota of reserved ports', async () => {
    const quota = (await cc.admin.get('/v3/organization_quotas')).string('resources.0.guid');
    await cc.admin.patch(`/v3/organization_quotas/${quota}`, { routes: { total_reserved_ports: 1 } });
    assert.deepEqual((await create()).error, [422, "Reserved route ports quota exceeded for organization 'o'."]);
  });
});
