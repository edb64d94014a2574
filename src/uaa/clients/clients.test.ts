import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { RESOURCE_SECRET, TestUaa, type Answer } from '../testing.ts';

describe('the clients API', () => {
  let uaa: TestUaa;
  let token: string;
  before(async () => {
    uaa = await TestUaa.start({
      clients: {
        writer: {
          secret: RESOURCE_SECRET,
          authorities: ['clients.write', 'clients.read', 'clients.secret', 'shop.read'],
          authorized_grant_types: ['client_credentials'],
        },
      },
    });
    token = await uaa.machineToken();
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const send = async (method: string, path: string, json?: unknown, by = token): Promise<Answer> =>
    await uaa.request(path, { method, token: by, ...(json !== undefined && { json }) });
  const tokenStatus = async (user: string, password: string): Promise<number> =>
    (await uaa.grant({ grant_type: 'client_credentials' }, { user, password })).status;

  it('creates, shows, changes and deletes a client, and never shows its secret', async () => {
    const json = {
      client_id: 'robot',
      client_secret: 's3',
      authorized_grant_types: ['client_credentials'],
      authorities: ['a.b'],
      colour: 'red',
    };
    const created = await send('POST', '/oauth/clients', json);
    assert.equal(created.status, 201, created.text);
    assert.ok(!created.text.includes('s3') && !created.text.includes('argon2'));
    assert.equal((await send('POST', '/oauth/clients', json)).status, 409);
    assert.equal((await send('GET', '/oauth/clients/robot')).json<{ colour: string }>().colour, 'red');
    assert.equal(await tokenStatus('robot', 's3'), 200);
    const changed = await send('PUT', '/oauth/clients/robot', { ...json, authorities: ['c.d'], name: 'Robot' });
    assert.deepEqual(changed.json<{ authorities: string[] }>().authorities, ['c.d']);
    const found = await send('GET', `/oauth/clients?${new URLSearchParams({ filter: 'name eq "robot"' }).toString()}`);
    assert.equal(found.json<{ totalResults: number }>().totalResults, 1);
    assert.equal((await send('DELETE', '/oauth/clients/robot')).status, 200);
    assert.equal((await send('GET', '/oauth/clients/robot')).status, 404);
    assert.equal(await tokenStatus('robot', 's3'), 401);
  });

  it('takes two secrets at a time, so that a rotation refuses nobody', async () => {
    await send('POST', '/oauth/clients', {
      client_id: 'turn',
      client_secret: 'one',
      authorized_grant_types: ['client_credentials'],
    });
    const secret = async (json: object): Promise<number> =>
      (await send('PUT', '/oauth/clients/turn/secret', json)).status;
    assert.equal(await secret({ secret: 'two', changeMode: 'ADD' }), 200);
    assert.deepEqual([await tokenStatus('turn', 'one'), await tokenStatus('turn', 'two')], [200, 200]);
    assert.equal(await secret({ secret: 'three', changeMode: 'ADD' }), 400);
    assert.equal(await secret({ changeMode: 'DELETE' }), 200);
    assert.deepEqual([await tokenStatus('turn', 'one'), await tokenStatus('turn', 'two')], [401, 200]);
    assert.equal(await secret({ changeMode: 'DELETE' }), 400);
    assert.equal(await secret({ secret: 'four' }), 200);
    assert.deepEqual([await tokenStatus('turn', 'two'), await tokenStatus('turn', 'four')], [401, 200]);
  });

  it('makes several changes or none', async () => {
    const client = (client_id: string): object => ({
      client_id,
      client_secret: 'x',
      authorized_grant_types: ['client_credentials'],
    });
    const failed = await send('POST', '/oauth/clients/tx/modify', [
      { ...client('dash-1'), action: 'add' },
      { client_id: 'nobody', action: 'delete' },
    ]);
    assert.equal(failed.status, 404);
    assert.equal((await send('GET', '/oauth/clients/dash-1')).status, 404);
    const add = async (name: string, more: object): Promise<Answer> =>
      await send('POST', '/oauth/clients/tx/modify', [{ ...client(name), ...more }]);
    assert.equal((await add('dash-1', { action: 'add' })).status, 200);
    const changed = await add('dash-1', { client_secret: 'y', action: 'update,secret' });
    assert.equal(changed.status, 200, changed.text);
    assert.equal(await tokenStatus('dash-1', 'x'), 401);
    assert.equal(await tokenStatus('dash-1', 'y'), 200);
  });

  const refused: [string, object][] = [
    ['no grant type', { client_id: 'c', client_secret: 'x' }],
    ['a grant type that we do not have', { client_id: 'c', client_secret: 'x', authorized_grant_types: ['implicit'] }],
    ['no secret', { client_id: 'c', authorized_grant_types: ['client_credentials'] }],
    [
      'a code grant without a redirect',
      { client_id: 'c', client_secret: 'x', authorized_grant_types: ['authorization_code'] },
    ],
    [
      'a redirect to a script',
      {
        client_id: 'c',
        client_secret: 'x',
        authorized_grant_types: ['authorization_code'],
        redirect_uri: ['javascript://x/%0aalert(1)'],
      },
    ],
    [
      'a redirect to anywhere',
      {
        client_id: 'c',
        client_secret: 'x',
        authorized_grant_types: ['authorization_code'],
        redirect_uri: ['https://*.com/x'],
        has_redirect_wildcards: true,
      },
    ],
    [
      'a validity that is no number',
      {
        client_id: 'c',
        client_secret: 'x',
        authorized_grant_types: ['client_credentials'],
        access_token_validity: 'long',
      },
    ],
  ];
  for (const [what, json] of refused) {
    it(`refuses ${what}`, async () => assert.equal((await send('POST', '/oauth/clients', json)).status, 400));
  }

  it('lets a writer hand on what it has and no more', async () => {
    const writer = await uaa.machineToken('writer');
    const create = async (client_id: string, authorities: string[], type = 'client_credentials'): Promise<number> =>
      (
        await send(
          'POST',
          '/oauth/clients',
          { client_id, client_secret: 'x', authorities, authorized_grant_types: [type] },
          writer,
        )
      ).status;
    assert.equal(await create('w-1', ['shop.read', 'writer.mine']), 201);
    assert.equal(await create('w-2', ['uaa.admin']), 403);
    assert.equal(await create('w-3', ['*']), 403);
    assert.equal(await create('w-4', ['shop.read'], 'password'), 403);
    assert.equal((await send('PUT', '/oauth/clients/test-admin/secret', { secret: 'mine' }, writer)).status, 403);
    assert.equal((await send('DELETE', '/oauth/clients/test-admin', undefined, writer)).status, 403);
    assert.equal(
      (await send('PUT', '/oauth/clients/writer/secret', { oldSecret: 'wrong', secret: 'n' }, writer)).status,
      401,
    );
    assert.equal(
      (await send('PUT', '/oauth/clients/writer/secret', { oldSecret: RESOURCE_SECRET, secret: 'n' }, writer)).status,
      200,
    );
    assert.equal((await send('GET', '/oauth/clients', undefined, writer)).status, 401);
  });

  it('shows cf without admin rights to clients.read alone', async () => {
    const { access_token } = await uaa.login();
    assert.equal((await send('GET', '/oauth/clients/cf', undefined, access_token)).status, 200);
    await uaa.addUser('plain');
    assert.equal(
      (await send('GET', '/oauth/clients/cf', undefined, (await uaa.login('plain', 'secret')).access_token)).status,
      403,
    );
  });

  it('keeps what people said that clients may do, and a change of it is whole or none', async () => {
    await uaa.addUser('pia');
    const own = await uaa.personToken('pia', 'secret');
    const gone = { client_id: 'gone', client_secret: 's', authorized_grant_types: ['client_credentials'] };
    assert.equal((await send('POST', '/oauth/clients', gone)).status, 201);
    interface Said {
      clientId: string;
      scope: string;
      status: string;
    }
    const said = async (): Promise<string[]> =>
      (await send('GET', '/approvals', undefined, own))
        .json<Said[]>()
        .map(({ clientId, scope, status }) => `${clientId} ${scope} ${status}`);
    const say = (clientId: string, scope: string, status = 'APPROVED'): Said => ({ clientId, scope, status });
    const put = async (...all: Said[]): Promise<number> => (await send('PUT', '/approvals', all, own)).status;
    assert.equal(await put(say('cf', 'openid'), say('cf', 'scim.me', 'DENIED'), say('gone', 'openid')), 200);
    const before = ['cf openid APPROVED', 'cf scim.me DENIED', 'gone openid APPROVED'];
    assert.deepEqual(await said(), before);
    assert.equal(await put(say('cf', 'openid', 'DENIED'), say('nobody', 'openid')), 400);
    assert.equal(await put({ ...say('cf', 'openid'), status: 'MAYBE' }), 400);
    assert.deepEqual(await said(), before);
    // At another UAA, so that this one believes for a second that the client is still there.
    const database = new pg.Client({ connectionString: uaa.database_url });
    await database.connect();
    await uaa.grant({ grant_type: 'client_credentials' }, { user: 'gone', password: 's' });
    await database.query("delete from clients where client_id = 'gone'");
    await database.end();
    assert.equal(await put(say('cf', 'profile'), say('gone', 'openid')), 400);
    assert.deepEqual(await said(), before.slice(0, 2));
    assert.equal((await send('DELETE', '/approvals?clientId=cf', undefined, own)).status, 200);
    assert.deepEqual(await said(), []);
    const others = { ...say('cf', 'openid'), userId: 'somebody-else' };
    assert.equal(await put(others), 403);
    assert.equal((await send('GET', '/approvals')).status, 403);
  });
});
