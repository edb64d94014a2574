import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { Answer, TestCloudController } from '../testing.ts';
import { hostileBodies, type Schema } from './hostile-bodies.ts';
import { makeWorld } from './permissions-world.ts';

interface Described {
  method: string;
  path: string;
  body: Schema | undefined;
}

interface Operation {
  requestBody?: { content: { 'application/json': { schema: Schema } } };
}

/** What nobody means to send, as a path parameter. */
const PARAMETERS = ["'%20or%201=1%20--", '..%2F..%2Fetc', '%00', '%25', '%F0%9F%98%80', 'x'.repeat(900)];
const QUERIES = [
  'page=0',
  'page=99999999',
  'per_page=5001',
  'order_by=;drop',
  'created_ats[lt]=never',
  'label_selector=((',
  'label_selector=a,b%3Dc,d!%3De,f+in+(g)',
  'names=%00',
  'guids=%ff',
  'a[b]=c',
  'order_by=-updated_at&updated_ats[gt]=2020-01-01T00:00:00Z',
  'sequence_ids=99999999999999&ports=99999999999&versions=x',
];
const BODIES: unknown[] = [
  'no json{',
  [],
  7,
  {},
  { name: {}, data: 5 },
  { name: 'a\u0000b', metadata: { annotations: { a: '\ud800' } } },
  { name: 'x', relationships: [], unknown: 1 },
  { data: { guid: 'x'.repeat(10_000) } },
  { position: 1e300, instances: 1e300, memory_in_mb: -1, apps: { total_memory_in_mb: 1e30 } },
  { name: 'x'.repeat(100_000) },
];

describe('bad input', () => {
  let cc: TestCloudController;
  let endpoints: Described[];
  before(async () => {
    // What runs in the background writes nothing while rows are counted.
    cc = await TestCloudController.start({
      jobs: { poll_interval_s: 3600 },
      placement: { deployment_interval_s: 3600, sweep_interval_s: 3600 },
    });
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    const paths = document.at('paths') as Record<string, Record<string, Operation>>;
    endpoints = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        body: operation.requestBody?.content['application/json'].schema,
      })),
    );
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it("gets Cloud Foundry's error form from every endpoint, and never breaks one", async () => {
    assert.ok(endpoints.length > 150, `only ${endpoints.length} endpoints were seen`);
    const org = await cc.admin.post('/v3/organizations', { name: 'o' });
    const space = await cc.admin.post('/v3/spaces', {
      name: 's',
      relationships: { organization: { data: { guid: org.guid } } },
    });
    const relationships = { space: { data: { guid: space.guid } } };
    const app = await cc.admin.post('/v3/apps', { name: 'a', relationships });
    const guids = new Map([
      ['organizations', org.guid],
      ['spaces', space.guid],
      ['apps', app.guid],
    ]);
    const faults: string[] = [];
    const check = async (method: string, path: string, body?: unknown): Promise<void> => {
      const answer = await cc.admin.request(method, path, body);
      const isWell = answer.status < 400 || (answer.status < 500 && typeof answer.at('errors.0.detail') === 'string');
      if (!isWell) faults.push(`${method} ${path.slice(0, 120)}: ${answer.status} ${answer.text.slice(0, 120)}`);
    };
    for (const { method, path, body: schema } of endpoints) {
      if (path.includes('{')) {
        for (const text of PARAMETERS) await check(method, path.replaceAll(/\{\w+\}/g, text));
      }
      const known = path.replaceAll(/\{\w+\}/g, guids.get(path.split('/')[2] ?? '') ?? 'none');
      // What deletes the app itself would leave nothing to try the rest on.
      if (method === 'GET') for (const query of QUERIES) await check(method, `${known}?${query}`);
      else if (method !== 'DELETE')
        for (const body of schema ? BODIES.slice(0, 4) : BODIES) await check(method, known, body);
    }
    assert.deepEqual(faults, []);
  });

  it("by each endpoint's own schema is refused as such, and leaves nothing half written", async () => {
    for (const flag of ['route_sharing', 'service_instance_sharing'])
      await cc.admin.patch(`/v3/feature_flags/${flag}`, { enabled: true });
    const world = await makeWorld(cc);
    const { rows: tables } = await cc.database.pool.query<{ name: string }>(
      // Usage is written down when tasks end, which is later than the request.
      `select table_name as name from information_schema.tables
        where table_schema = 'public' and table_name <> 'app_usage_events'`,
    );
    const counts = tables.map(({ name }) => `select '${name}' as name, count(*) from ${name}`).join(' union all ');
    const countRows = async (): Promise<unknown[]> => (await cc.database.pool.query(counts)).rows;
    const isQuiet = async (): Promise<boolean> => {
      const { rows } = await cc.database.pool.query("select 1 from jobs where state = 'PROCESSING'");
      return rows.length === 0;
    };
    const faults: string[] = [];
    let tried = 0;
    for (const { method, path, body } of endpoints) {
      if (!body) continue;
      const request = world.requestFor(`${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`);
      const send = async (hostile: unknown): Promise<Answer> => {
        tried += 1;
        return await cc.admin.request(method, request.path, hostile);
      };
      const refused: unknown[] = [];
      let before = await countRows();
      let wasTaken = false;
      for (const { what, body: hostile } of hostileBodies(body, request.body)) {
        const answer = await send(hostile);
        const { status } = answer;
        const isRefused = [400, 404, 422].includes(status) && String(answer.at('errors.0.title')).startsWith('CF-');
        if (isRefused) refused.push(hostile);
        else if (status < 300) wasTaken = true;
        else faults.push(`${method} ${path} with ${what}: ${status} ${answer.text.slice(0, 160)}`);
      }
      if (wasTaken) {
        // What was taken wrote rows, and jobs of its own may: once those are done, what was refused alone again.
        await eventually('jobs are done', isQuiet);
        before = await countRows();
        for (const hostile of refused.filter((_, at) => at % 4 === 0)) await send(hostile);
      }
      try {
        assert.deepEqual(await countRows(), before);
      } catch (error) {
        faults.push(`${method} ${path} wrote what it refused: ${String(error)}`);
      }
    }
    assert.ok(tried > 2000, `only ${tried} bodies`);
    assert.deepEqual(faults, []);
  });
});
