import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { holdPage } from '#testing/hold-page.ts';
import { Answer, TestCloudController } from '../testing.ts';
import { ENDPOINT_PERMISSIONS } from './endpoint-permissions.ts';
import { type EndpointRow, endpointRows, endpointsPage, type Walked } from './endpoints-page.ts';
import { makeWorld, type World } from './permissions-world.ts';
import { LEFT_OUT } from './published-endpoints.ts';
import { permissionsPage } from './permissions-page.ts';

describe('the pages about the API', () => {
  let cc: TestCloudController;
  before(async () => {
    cc = await TestCloudController.start();
    await cc.admin.patch('/v3/feature_flags/route_sharing', { enabled: true });
    await cc.admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: true });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('say who may call what', (t) => holdPage(t, 'api-permissions.md', permissionsPage()));

  it('tell of every published endpoint whether it works, as it answered', async (t) => {
    const rows = endpointRows(await walk(cc));
    const of = (state: EndpointRow['state']): string[] =>
      rows.filter((row) => row.state === state).map((row) => `${row.endpoint} ${row.remark}`);
    assert.deepEqual(of('fails'), []);
    assert.deepEqual(of('missing'), [], 'serve it, or say why not in published-endpoints.ts');
    const stale = rows.filter((row) => row.state !== 'left out' && LEFT_OUT[row.endpoint] !== undefined);
    assert.deepEqual(stale, [], 'works now: take it out of LEFT_OUT in published-endpoints.ts');
    assert.ok(of('works').length > 200);
    holdPage(t, 'api-endpoints.md', endpointsPage(rows));
  });
});

/** What the admin gets of each endpoint that the server describes. */
async function walk(cc: TestCloudController): Promise<Map<string, Walked>> {
  const response = await fetch(`${cc.url}/openapi.json`);
  const paths = new Answer(response, await response.text()).at('paths') as Record<string, object>;
  const served = new Set(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    ),
  );
  assert.ok(served.size > 200, `only ${served.size} endpoints were seen`);
  const walked = new Map<string, Walked>();
  let world: World | undefined;
  // In the order of that table, which is the same on every run.
  for (const endpoint of Object.keys(ENDPOINT_PERMISSIONS).filter((one) => served.has(one))) {
    world ??= await makeWorld(cc);
    const { method, path, body, headers } = world.requestFor(endpoint);
    const { status, error } = await cc.admin.request(method, path, body, headers);
    const detail = error[1];
    walked.set(endpoint, { status, ...(typeof detail === 'string' && { detail }) });
    if (method === 'DELETE' || /relationships|actions|cancel/.test(endpoint)) world = undefined;
  }
  return walked;
}
