import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RESOURCE_SECRET, TestUaa } from '../testing.ts';

interface Listed {
  resources: { id: string; userName: string; displayName: string; members?: unknown[] }[];
  totalResults: number;
  startIndex: number;
  itemsPerPage: number;
}
interface Shown {
  id: string;
  userName: string;
  phoneNumbers: { value: string }[];
  externalId?: string;
  active: boolean;
  meta: { version: number };
  members: { value: string; type: string }[];
  groups: { display: string; type: string }[];
}

describe('SCIM', () => {
  let uaa: TestUaa;
  let token: string;
  const ids: Record<string, string> = {};
  before(async () => {
    uaa = await TestUaa.start();
    token = await uaa.machineToken();
    ids['ann'] = await uaa.addUser('ann', { externalId: 'x-1', name: { givenName: 'Ann', familyName: 'Arbor' } });
    ids['bob'] = await uaa.addUser('bob', { active: false, phoneNumbers: [{ value: '555' }] });
    ids['b%b'] = await uaa.addUser('b_b', { origin: 'ldap' });
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const list = async (query: Record<string, string>, path = '/Users'): Promise<Listed> => {
    const answer = await uaa.request(`${path}?${new URLSearchParams(query).toString()}`, { token });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  };
  const names = async (filter: string): Promise<string[]> =>
    (await list({ filter, sortBy: 'userName' })).resources.map((user) => user.userName);

  it('sets the members of a group, and many who do it at once do not meet', async () => {
    const made = await uaa.request('/Groups', { method: 'POST', json: { displayName: 'crowd' }, token });
    const { id } = made.json<{ id: string }>();
    const members = [ids['ann'], ids['bob']].map((value) => ({ value }));
    const set = async (): Promise<number> =>
      (
        await uaa.request(`/Groups/${id}`, {
          method: 'PUT',
          json: { displayName: 'crowd', members },
          headers: { 'if-match': '*' },
          token,
        })
      ).status;
    assert.deepEqual(new Set(await Promise.all(Array.from({ length: 8 }, set))), new Set([200]));
    const shown = await uaa.request(`/Groups/${id}/members`, { token });
    assert.equal(shown.json<object[]>().length, 2);
    assert.equal((await uaa.request(`/Groups/${id}`, { method: 'DELETE', token })).status, 200);
  });

  const filters: [string, string[]][] = [
    ['userName eq "ANN"', ['ann']],
    ['userName ne "ann" and not (userName eq "admin")', ['b_b', 'bob']],
    ['userName co "B"', ['b_b', 'bob']],
    ['userName co "_"', ['b_b']],
    ['userName co "%"', []],
    ['userName sw "a"', ['admin', 'ann']],
    ['userName ew "B"', ['b_b', 'bob']],
    ['externalId pr', ['ann']],
    ['phoneNumbers.value eq "555"', ['bob']],
    ['active eq false', ['bob']],
    ['name.familyName eq "arbor" or origin eq "ldap"', ['ann', 'b_b']],
    ['emails[value eq "bob@example.com"]', ['bob']],
    ['(userName eq "ann" or userName eq "bob") and active eq true', ['ann']],
    ['meta.created gt "2020-01-01T00:00:00Z" and userName gt "b"', ['b_b', 'bob']],
    ['meta.version ge 1', []],
    ['urn:scim:schemas:core:1.0:userName eq "ann"', ['ann']],
    ['userName PR AND NOT (userName SW "a")', ['b_b', 'bob']],
    ['not (not (userName eq "ann"))', ['ann']],
    ['userName ge "b_b" and userName le "bob"', ['b_b', 'bob']],
    ['userName lt "ann"', ['admin']],
    ['externalId eq null and userName ne "admin"', ['b_b', 'bob']],
    ['externalId ne null', ['ann']],
    ['phoneNumbers pr or (externalId pr and (active eq true and (userName eq "ann")))', ['ann', 'bob']],
    ['emails[value sw "ann@" or value sw "bob@"] and verified eq true', ['ann', 'bob']],
    ['meta.created lt "2020-01-01T00:00:00Z"', []],
    ['name.givenName eq "ANN" and not (name.familyName pr and active eq false)', ['ann']],
    ["userName eq 'ann'", ['ann']],
    ['userName eq "x\' or 1=1 --"', []],
    ['userName eq "ann" or userName eq "\\u0027 union select password_hash from users --"', ['ann']],
    ['userName co "\\\\"', []],
    ["externalId sw \"x-1') or ('1'='1\"", []],
    ['userName eq "\\"; drop table users; --"', []],
  ];
  for (const [filter, expected] of filters) {
    it(`finds by ${filter}`, async () => assert.deepEqual(await names(filter), expected));
  }

  for (const query of [
    'filter=password+pr',
    'filter=passwordHash+sw+"$"',
    'filter=a+b',
    'filter=active+eq+"maybe"',
    'filter=meta.created+gt+"soon"',
    'sortBy=password_hash',
    'sortBy=id;drop',
    'sortOrder=up',
    'startIndex=x',
    'filter=userName+eq+"%00"',
    'filter=__proto__+eq+"x"',
    'filter=userName+eq+"a"+or+1=1',
    'filter=userName+eq+"a";drop+table+users',
    'filter=userName)+or+(1=1',
    'filter=lower(user_name)+eq+"ann"',
    'filter=user_name+eq+"ann"',
    'filter=userName+eq+null+and',
    'filter=userName+co+null',
    'filter=active+co+"t"',
    'sortBy=userName,(select+1)',
    'sortBy=userName+desc',
  ]) {
    it(`refuses ${query} with 400`, async () => {
      const answer = await uaa.request(`/Users?${query.replaceAll('"', '%22')}`, { token });
      assert.equal(answer.status, 400, answer.text);
    });
  }

  it('pages and sorts', async () => {
    const first = await list({ sortBy: 'userName', sortOrder: 'descending', count: '2' });
    assert.deepEqual(
      [first.resources.map((user) => user.userName), first.totalResults, first.itemsPerPage],
      [['bob', 'b_b'], 4, 2],
    );
    const second = await list({
      sortBy: 'userName',
      sortOrder: 'descending',
      count: '2',
      startIndex: '3',
      attributes: 'userName',
    });
    assert.deepEqual(second.resources, [{ userName: 'ann' }, { userName: 'admin' }]);
  });

  it('changes a user only from the version that was read', async () => {
    const path = `/Users/${ids['bob']}`;
    const json = { userName: 'bob', emails: [{ value: 'new@example.com' }], active: true };
    const put = async (version: string | undefined): Promise<number> =>
      (
        await uaa.request(path, {
          method: 'PUT',
          token,
          json,
          headers: version === undefined ? {} : { 'if-match': version },
        })
      ).status;
    assert.equal(await put(undefined), 400);
    assert.equal(await put('"7"'), 412);
    assert.equal(await put('"0"'), 200);
    assert.equal(await put('0'), 412);
    const patched = await uaa.request(path, {
      method: 'PATCH',
      token,
      json: { externalId: 'e', phoneNumbers: [{ value: '1' }] },
      headers: { 'if-match': '1' },
    });
    assert.equal(patched.headers.get('etag'), '"2"');
    const emptied = await uaa.request(path, {
      method: 'PATCH',
      token,
      json: { meta: { attributes: ['phoneNumbers', 'externalId'] } },
      headers: { 'if-match': '*' },
    });
    const user = emptied.json<Shown>();
    assert.deepEqual([user.phoneNumbers, user.externalId, user.active, user.userName], [[], undefined, true, 'bob']);
  });

  it('lets people change their own name and nothing that gives power', async () => {
    const id = await uaa.addUser('self');
    const web = { grant_type: 'password', username: 'self', password: 'secret' };
    const own = (await uaa.grant(web)).json<{ access_token: string }>().access_token;
    const patch = async (who: string | undefined, json: object): Promise<number> =>
      (await uaa.request(`/Users/${who}`, { method: 'PATCH', token: own, json, headers: { 'if-match': '*' } })).status;
    assert.equal(await patch(id, { name: { givenName: 'Me' } }), 200);
    assert.equal(await patch(id, { userName: 'root' }), 403);
    assert.equal(await patch(id, { emails: [{ value: 'other@example.com' }] }), 403);
    assert.equal(await patch(ids['ann'], { name: { givenName: 'Me' } }), 403);
    assert.equal((await uaa.request('/Users', { token: own })).status, 403);
    assert.equal((await uaa.request(`/Users/${ids['ann']}`, { token: own })).status, 403);
  });

  it('keeps groups, and groups in groups give their scopes', async () => {
    const make = async (displayName: string, members: object[]): Promise<Shown> =>
      (await uaa.request('/Groups', { method: 'POST', token, json: { displayName, members } })).json<Shown>();
    const inner = await make('team.inner', [{ value: ids['ann'] }]);
    const outer = await make('team.outer', [{ value: inner.id, type: 'GROUP' }]);
    const ann = (await uaa.request(`/Users/${ids['ann']}`, { token })).json<Shown>();
    const groups = new Map(ann.groups.map((group) => [group.display, group.type]));
    assert.deepEqual(
      [groups.get('team.inner'), groups.get('team.outer'), groups.get('openid')],
      ['DIRECT', 'INDIRECT', 'DIRECT'],
    );
    const post = async (json: object): Promise<number> =>
      (await uaa.request(`/Groups/${outer.id}/members`, { method: 'POST', token, json })).status;
    assert.equal(await post({ value: ids['bob'] }), 201);
    assert.equal(await post({ value: ids['bob'] }), 409);
    assert.equal(await post({ value: 'nobody' }), 400);
    const patch = { members: [{ value: ids['bob'], operation: 'delete' }, { value: ids['ann'] }] };
    const patched = await uaa.request(`/Groups/${outer.id}`, {
      method: 'PATCH',
      token,
      json: patch,
      headers: { 'if-match': '*' },
    });
    const left = new Set(patched.json<Shown>().members.map((member) => member.value));
    assert.deepEqual(left, new Set([inner.id, ids['ann']]));
    assert.equal(
      (await uaa.request('/Groups', { method: 'POST', token, json: { displayName: 'TEAM.inner' } })).status,
      409,
    );
    assert.equal((await list({ filter: 'displayName sw "team."' }, '/Groups')).totalResults, 2);
    assert.equal((await uaa.request(`/Groups/${inner.id}`, { method: 'DELETE', token })).status, 200);
    assert.equal((await uaa.request(`/Groups/${inner.id}`, { token })).status, 404);
  });

  it('gives resource servers names for ids and nothing else', async () => {
    const lookup = await uaa.machineToken('cloud_controller_username_lookup', RESOURCE_SECRET);
    const ask = async (filter: string): Promise<{ status: number; json<T>(): T }> =>
      await uaa.request(`/ids/Users?${new URLSearchParams({ filter }).toString()}`, { token: lookup });
    const found = (await ask(`id eq "${ids['ann']}" or id eq "${ids['b%b']}"`)).json<Listed>();
    assert.deepEqual(
      found.resources.toSorted((a, b) => a.userName.localeCompare(b.userName)),
      [
        { id: ids['ann'], userName: 'ann', origin: 'uaa' },
        { id: ids['b%b'], userName: 'b_b', origin: 'ldap' },
      ].toSorted((a, b) => a.userName.localeCompare(b.userName)),
    );
    assert.equal((await ask('userName co "a"')).status, 400);
    assert.equal((await ask('id pr')).status, 400);
  });
});
