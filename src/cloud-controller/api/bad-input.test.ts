import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, TestCloudController } from '../testing.ts';

interface Described {
  method: string;
  path: string;
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
    cc = await TestCloudController.start();
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    endpoints = Object.entries(document.at('paths') as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
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
    for (const { method, path } of endpoints) {
      if (path.includes('{')) {
        for (const text of PARAMETERS) await check(method, path.replaceAll(/\{\w+\}/g, text));
      }
      const known = path.replaceAll(/\{\w+\}/g, guids.get(path.split('/')[2] ?? '') ?? 'none');
      // What deletes the app itself would leave nothing to try the rest on.
      if (method === 'GET') for (const query of QUERIES) await check(method, `${known}?${query}`);
      else if (method !== 'DELETE') for (const body of BODIES) await check(method, known, body);
    }
    assert.deepEqual(faults, []);
  });
});
