import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { z } from 'zod';
import { Bus } from '#bus/bus.ts';
import { networkPoliciesChanged, networkPoliciesList } from '#contracts/networking.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { type Answer, TestCloudController, type TestUser } from '../testing.ts';

const toOne = (guid: string): { data: { guid: string } } => ({ data: { guid } });
const PATH = '/networking/v1/external/policies';
const API = ['cloud_controller.read', 'cloud_controller.write'];

describe('network policies', () => {
  let cc: TestCloudController;
  let bus: Bus;
  let admin: TestUser;
  let developer: TestUser;
  let plain: TestUser;
  let space: Answer;
  const apps: Record<string, string> = {};
  const said: z.output<typeof networkPoliciesChanged.message>[] = [];
  before(async () => {
    cc = await TestCloudController.start();
    const org = await cc.admin.post('/v3/organizations', { name: 'o' });
    space = await cc.admin.post('/v3/spaces', { name: 's', relationships: { organization: toOne(org.guid) } });
    const other = await cc.admin.post('/v3/spaces', { name: 't', relationships: { organization: toOne(org.guid) } });
    admin = await cc.user('network-admin', ['network.admin']);
    developer = await cc.user('developer', [...API, 'network.write']);
    plain = await cc.user('plain', API);
    for (const user of [developer, plain]) {
      await user.get('/v3/organizations');
      for (const [type, place] of [
        ['organization_user', { organization: toOne(org.guid) }],
        ['space_developer', { space: toOne(space.guid) }],
      ] as const) {
        const role = { type, relationships: { user: toOne(user.guid), ...place } };
        const given = await cc.admin.post('/v3/roles', role);
        assert.equal(given.status, 201, given.text);
      }
    }
    for (const [name, where] of [
      ['front', space],
      ['back', space],
      ['far', other],
    ] as const) {
      const app = await cc.admin.post('/v3/apps', { name, relationships: { space: toOne(where.guid) } });
      apps[name] = app.guid;
    }
    bus = await Bus.connect({ servers: [cc.nats.url], name: 'test', log: silentLog });
    bus.subscribe(networkPoliciesChanged, (message) => void said.push(message));
    await bus.flush();
  });
  after(async () => {
    await bus[Symbol.asyncDispose]();
    await cc[Symbol.asyncDispose]();
  });

  const policy = (from: string, to: string, ports = { start: 8080, end: 8080 }, protocol = 'tcp') => ({
    source: { id: apps[from] ?? from },
    destination: { id: apps[to] ?? to, protocol, ports },
  });
  const add = async (user: TestUser, ...policies: unknown[]) => await user.post(PATH, { policies });
  const remove = async (user: TestUser, ...policies: unknown[]) => await user.post(`${PATH}/delete`, { policies });
  const list = async (user: TestUser, query = '') => (await user.get(`${PATH}${query}`)).at('policies');
  const listed = async () => (await bus.request(networkPoliciesList, { after: 0 }, { timeout_ms: 3000 })).policies;

  it('are made, listed and removed as the cf CLI does it, and DEAs are told of each change', async () => {
    const one = policy('front', 'back');
    const two = policy('back', 'front', { start: 5000, end: 5010 }, 'udp');
    const made = await add(developer, one, two);
    assert.deepEqual([made.status, made.body], [200, {}]);
    assert.deepEqual((await add(developer, one)).body, {}, 'twice is once');
    assert.deepEqual(await list(developer), [one, two]);
    assert.deepEqual(await list(developer, `?id=${apps['front']}`), [one, two]);
    assert.deepEqual(await list(developer, `?source_id=${apps['front']}`), [one]);
    assert.deepEqual(await list(developer, `?dest_id=${apps['front']},nothing`), [two]);
    assert.equal((await developer.get('/networking/v0/external/policies')).at('total_policies'), 2);
    const told = await eventually('DEAs are told', () => said.find(({ added }) => added.length === 2));
    assert.equal(told.before, told.revision - 1);
    assert.equal((await listed()).length, 2);
    await remove(developer, two, policy('back', 'front'));
    const gone = await eventually('DEAs are told', () => said.find(({ removed }) => removed.length > 0));
    assert.deepEqual([gone.before, gone.removed.map(({ protocol }) => protocol)], [told.revision, ['udp']]);
    assert.deepEqual(await list(developer), [one]);
    await remove(developer, one);
    assert.deepEqual(await listed(), []);
  });

  it('are for network.admin, and for developers of both spaces who have network.write', async () => {
    const far = policy('front', 'far');
    const refused = await add(developer, far);
    assert.deepEqual(
      [refused.status, refused.at('error')],
      [403, 'one or more applications cannot be found or accessed'],
    );
    assert.equal((await add(admin, far)).status, 200);
    assert.deepEqual(await list(developer), [], 'what leads out of sight is not seen');
    assert.deepEqual(await list(admin), [far]);
    assert.equal((await remove(developer, far)).status, 403);
    for (const answer of [await plain.get(PATH), await add(plain, policy('front', 'back')), await remove(plain, far)]) {
      assert.equal(answer.status, 403);
      assert.match(answer.string('error'), /do not include allowed scopes \[network.admin network.write\]/);
    }
    const response = await fetch(cc.url + PATH);
    assert.equal(response.status, 401);
    assert.equal((await remove(admin, far)).status, 200);
  });

  it('that make no sense are refused with a reason', async () => {
    for (const [body, reason] of [
      [{}, 'missing policies'],
      [{ policies: [] }, 'missing policies'],
      [{ policies: [{ destination: {} }] }, 'missing source'],
      [{ policies: [policy('', 'back')] }, 'missing id'],
      [{ policies: [policy('front', 'back', undefined, 'icmp')] }, 'specify either udp or tcp'],
      [{ policies: [policy('front', 'back', { start: 9, end: 8 })] }, 'start must be less than or equal to end'],
      [{ policies: [policy('front', 'back', { start: 0, end: 8 })] }, 'invalid start port'],
      [{ policies: [policy('front', 'back', { start: 1, end: 65_536 })] }, 'invalid end port'],
    ] as const) {
      const answer = await developer.post(PATH, body);
      assert.equal(answer.status, 400, answer.text);
      assert.ok(answer.string('error').includes(reason), answer.text);
    }
    const unknown = await add(admin, policy('no-such-app', 'back'));
    assert.equal(unknown.status, 403);
  });

  it('of one source are limited, but for network.admin', async () => {
    const many = Array.from({ length: 151 }, (_, n) => policy('front', 'back', { start: n + 1, end: n + 1 }));
    const refused = await add(developer, ...many);
    assert.equal(refused.status, 403);
    assert.match(refused.string('error'), /policy quota exceeded/);
    assert.equal((await add(admin, ...many)).status, 200);
    assert.equal((await remove(admin, ...many)).status, 200);
  });

  it('go with their apps, and DEAs see by the number that they missed it', async () => {
    const app = await cc.admin.post('/v3/apps', { name: 'brief', relationships: { space: toOne(space.guid) } });
    apps['brief'] = app.guid;
    await add(admin, policy('brief', 'back'));
    const { revision } = await eventually('DEAs are told', () =>
      said.find(({ added }) => added.some(({ source }) => source === app.guid)),
    );
    await cc.admin.job(await cc.admin.delete(`/v3/apps/${app.guid}`));
    assert.deepEqual(await listed(), []);
    const later = await eventually('the number is said', () => said.find((message) => message.revision > revision));
    assert.deepEqual([later.before, later.added, later.removed], [later.revision, [], []]);
  });
});
