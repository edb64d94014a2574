import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, TestCloudController, type TestUser } from '../testing.ts';
import { giveRoles, makeWorld } from './permissions-world.ts';

/** Lists whose rows are many, with what they may include. */
const INCLUDES: Readonly<Record<string, string>> = {
  '/v3/apps': 'space,space.organization',
  '/v3/roles': 'user,space,organization',
  '/v3/routes': 'domain,space,space.organization',
  '/v3/spaces': 'organization',
};

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

  const fill = async (): Promise<void> => {
    const world = await makeWorld(cc);
    await giveRoles(cc, world, new Map([['space_developer', reader]]));
  };
  /** The fewest of three tries: what the background says in between counts to none of them all. */
  const count = async (user: TestUser, path: string): Promise<number> => {
    const counts: number[] = [];
    for (let tries = 0; tries < 3; tries++) {
      cc.statements.length = 0;
      const answer = await user.get(path);
      assert.equal(answer.status, 200, `${path}: ${answer.text}`);
      counts.push(cc.statements.length);
    }
    return Math.min(...counts);
  };

  it('cost the same statements whatever they hold, for admins and for others', async () => {
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    const paths = Object.entries(document.at('paths') as Record<string, object>)
      .filter(([path, methods]) => 'get' in methods && path.startsWith('/v3/') && !path.includes('{'))
      .map(([path]) => path)
      .filter((path) => !path.startsWith('/v3/info'))
      .map((path) => (INCLUDES[path] === undefined ? path : `${path}?include=${INCLUDES[path]}`));
    assert.ok(paths.length > 25, `only ${paths.length} lists`);
    await fill();
    const measure = async (): Promise<Record<string, number[]>> => {
      const counts: Record<string, number[]> = {};
      for (const path of paths) counts[path] = [await count(cc.admin, path), await count(reader, path)];
      return counts;
    };
    const few = await measure();
    for (let n = 0; n < 10; n++) await fill();
    assert.deepEqual(await measure(), few);
    assert.ok((few['/v3/organizations']?.[0] ?? 99) <= 3, 'more than the roles, the page and its count');
  });
});
