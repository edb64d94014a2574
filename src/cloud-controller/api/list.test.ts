import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, TestCloudController, type TestUser } from '../testing.ts';
import { giveRoles, makeWorld } from './permissions-world.ts';

/** What each growth keeps: so some are many in an organization, some in a space, some of an app, a route or an instance. */
const KEPT = [
  'organizations other_organizations organization_quotas users',
  'organizations spaces other_spaces space_quotas organization_quotas apps users',
  'organizations other_organizations organization_quotas spaces other_spaces space_quotas apps packages processes domains routes \
service_instances service_brokers service_offerings service_plans security_groups isolation_segments',
  'organization_quotas space_quotas security_groups isolation_segments stacks service_brokers',
  '',
].map((names) => names.split(' '));
/** Further things that lists show when asked to. */
const ASKED: Readonly<Record<string, string>> = {
  '/v3/service_instances':
    'fields[service_plan.service_offering.service_broker]=name,guid&fields[space.organization]=name,guid',
  '/v3/service_offerings': 'fields[service_broker]=name,guid',
  '/v3/service_plans': 'fields[service_offering.service_broker]=name,guid',
  '/v3/processes': 'embed=process_instances',
  '/v3/apps/:guid/processes': 'embed=process_instances',
};
/** What has no rows of the world in it, is no list of rows, or tells of instances, of which none runs. */
const FIXED = [
  /features$|feature_flags$|revisions\/deployed$|\/(stats|process_instances)$/,
  /^\/v3\/(routes|security_groups)\/:guid$|relationships\/(spaces|shared_spaces)$|^\/v3\/stacks\/:guid\/apps$/,
];

describe('lists', () => {
  let cc: TestCloudController;
  let reader: TestUser;
  before(async () => {
    // What runs in the background runs not while statements are counted.
    cc = await TestCloudController.start({
      jobs: { poll_interval_s: 3600 },
      placement: { deployment_interval_s: 3600, sweep_interval_s: 3600 },
    });
    reader = await cc.user('reader');
    // Who is seen for the first time is written down.
    for (const user of [reader, cc.admin]) await user.get('/v3/organizations');
  });
  after(async () => await cc[Symbol.asyncDispose]());

  /** The fewest of three tries: what the background says in between counts to none of them all. */
  const count = async (user: TestUser, path: string): Promise<number> => {
    const counts: number[] = [];
    for (let tries = 0; tries < 3; tries++) {
      cc.statements.length = 0;
      const answer = await user.get(path);
      assert.ok([200, 403, 404].includes(answer.status), `${path}: ${answer.text}`);
      counts.push(cc.statements.length);
    }
    return Math.min(...counts);
  };

  it('take every parameter that /openapi.json tells of them, and refuse others', async () => {
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    const faults: string[] = [];
    let seen = 0;
    for (const [path, methods] of Object.entries(document.at('paths') as Record<string, { get?: Described }>)) {
      if (!methods.get || !path.startsWith('/v3/') || path.includes('{')) continue;
      const list = await cc.admin.get(path);
      if (list.at('pagination') === undefined) continue;
      seen += 1;
      const told = (methods.get.parameters ?? []).map(({ name }) => name);
      if (!told.includes('per_page')) faults.push(`${path} is not told to be a list`);
      for (const name of [...told, 'no_such_parameter']) {
        const answer = await cc.admin.get(`${path}?${encodeURIComponent(name)}=1`);
        const isUnknown = answer.status === 400 && answer.text.includes('Unknown query parameter');
        if (isUnknown !== (name === 'no_such_parameter')) faults.push(`${path}?${name}: ${answer.text.slice(0, 120)}`);
      }
    }
    assert.ok(seen > 25, `only ${seen} lists`);
    assert.deepEqual(faults, []);
  });

  it('cost the same statements whatever they hold, for admins and for others', async () => {
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    const world = await makeWorld(cc);
    await giveRoles(cc, world, new Map([['space_developer', reader]]));
    const lists: { endpoint: string; path: string; total: number }[] = [];
    for (const [path, methods] of Object.entries(document.at('paths') as Record<string, { get?: Described }>)) {
      if (!methods.get || !path.startsWith('/v3/')) continue;
      const endpoint = path.replaceAll(/\{(\w+)\}/g, ':$1');
      const include = methods.get.parameters?.find(({ name }) => name === 'include')?.schema.items?.enum?.join(',');
      const asked = [include === undefined ? [] : `include=${include}`, ASKED[endpoint] ?? []].flat();
      const url = `${world.requestFor(`GET ${endpoint}`).path}?${asked.join('&')}`;
      const answer = await cc.admin.get(url);
      const total = totalOf(answer);
      if (total !== undefined) lists.push({ endpoint, path: url, total });
    }
    assert.ok(lists.length >= 60, `only ${lists.length} lists`);
    const measure = async (): Promise<Record<string, number[]>> => {
      const counts: Record<string, number[]> = {};
      for (const { endpoint, path } of lists)
        counts[endpoint] = [await count(cc.admin, path), await count(reader, path)];
      return counts;
    };
    const few = await measure();
    for (let n = 0; n < 3; n++) for (const kept of KEPT) await world.grow(kept);
    assert.deepEqual(await measure(), few);
    assert.ok((few['/v3/organizations']?.[0] ?? 99) <= 3, 'more than the roles, the page and its count');
    // Else it would have proved nothing.
    const grown = await Promise.all(
      lists.map(async ({ endpoint, path, total }) => {
        const now = totalOf(await cc.admin.get(path)) ?? 0;
        return now > total || FIXED.some((one) => one.test(endpoint)) ? undefined : `${endpoint}: ${total}, ${now}`;
      }),
    );
    assert.deepEqual(
      grown.filter((one) => one !== undefined),
      [],
    );
  });
});

interface Described {
  parameters?: { name: string; schema: { items?: { enum?: string[] } } }[];
}

/** How many a list holds; undefined for what is no list. */
function totalOf(answer: Answer): number | undefined {
  const total = answer.at('pagination.total_results');
  if (typeof total === 'number') return total;
  for (const field of ['resources', 'data', 'destinations', 'rules']) {
    const found = answer.at(field);
    if (Array.isArray(found)) return found.length;
  }
  return undefined;
}
