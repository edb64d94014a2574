import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { JSONWebKeySet } from 'jose';
import pg from 'pg';
import { Bus } from '#bus/bus.ts';
import { revocationList, tokenRevoked, type Revocation } from '#contracts/uaa.ts';
import { TokenVerifier } from '#http/token-verifier.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { ADMIN_PASSWORD, claimsOf, signInByForm, TestUaa } from '../testing.ts';
import { REFRESH_AUDIENCE } from './issuer.ts';
import type { TokenResponse } from './endpoints.ts';

describe('tokens', () => {
  let uaa: TestUaa;
  before(async () => {
    uaa = await TestUaa.start({ tokens: { key_rotation_days: 10 } });
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const verifier = (): TokenVerifier =>
    new TokenVerifier({
      fetchKeys: async () => (await uaa.request('/token_keys')).json<JSONWebKeySet>(),
      issuer: 'http://uaa.test.example/oauth/token',
      audience: 'cloud_controller',
      clock: uaa.clock,
    });

  it('live through a change of keys, and the new key signs only when everybody can know it', async () => {
    const shared = verifier();
    const before = await uaa.login();
    const kid = (token: string): unknown =>
      (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;
    await shared.verify(before.access_token);
    uaa.clock.forward(10 * 86_400);
    await eventually(
      'a second key',
      async () => (await uaa.request('/token_keys')).json<JSONWebKeySet>().keys.length === 2,
    );
    assert.equal(kid((await uaa.login()).access_token), kid(before.access_token));
    uaa.clock.forward(21);
    const next = await uaa.login();
    assert.notEqual(kid(next.access_token), kid(before.access_token));
    assert.equal((await shared.verify(next.access_token)).user_name, 'admin');
    const refreshed = await uaa.grant({ grant_type: 'refresh_token', refresh_token: before.refresh_token ?? '' });
    assert.equal(refreshed.status, 200);
  });

  it('and sessions are the same at every UAA of one database', async () => {
    const other = await uaa.startAnother();
    const { access_token, refresh_token = '' } = await uaa.login();
    assert.equal((await uaa.request(`${other}/userinfo`, { token: access_token })).status, 200);
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token });
    const refreshed = await uaa.request(`${other}/oauth/token`, {
      method: 'POST',
      body,
      headers: { authorization: 'Basic Y2Y6' },
    });
    assert.equal(refreshed.status, 200, refreshed.text);
    const cookie = await signInByForm(uaa, 'admin');
    const account = await uaa.request(`${other}/`, { headers: { cookie, accept: 'text/html' } });
    assert.match(account.text, /Your account/);
    const jti = String(claimsOf(access_token)['jti']);
    await uaa.request(`/oauth/token/revoke/${jti}`, { method: 'DELETE', token: access_token });
    assert.equal((await uaa.request(`${other}/userinfo`, { token: access_token })).status, 401);
  });

  it('that are revoked are told of on the bus, and to whoever asks later', async () => {
    await using bus = await Bus.connect({ servers: [uaa.nats.url], name: 'listener', log: silentLog });
    const heard: Revocation[] = [];
    bus.subscribe(tokenRevoked, (revocation) => void heard.push(revocation));
    await bus.flush();
    const user_id = await uaa.addUser('rev');
    const { access_token } = await uaa.login('rev', 'secret');
    const token = await uaa.machineToken();
    assert.equal((await uaa.request(`/oauth/token/revoke/user/${user_id}`, { token })).status, 200);
    assert.equal((await uaa.request('/userinfo', { token: access_token })).status, 401);
    await eventually('the word of it', () => heard.some((revocation) => revocation.user_id === user_id));
    const { revocations } = await bus.request(revocationList, {}, { timeout_ms: 5_000 });
    assert.ok(revocations.some((revocation) => revocation.user_id === user_id));
    const told = heard.find((revocation) => revocation.user_id === user_id);
    const next = claimsOf((await uaa.login('rev', 'secret')).access_token);
    assert.ok(Number(next['iat']) > (told?.issued_until ?? Infinity), 'a sign-in right after it is not meant');
    assert.equal((await uaa.request('/oauth/token/revoke/client/cf', { token })).status, 200);
    await eventually('the word of the client', () => heard.some((revocation) => revocation.client_id === 'cf'));
  });

  it('are revoked by their owner or with tokens.revoke, and by nobody else', async () => {
    await uaa.addUser('one');
    const one = await uaa.login('one', 'secret');
    const two = await uaa.login();
    const revoke = async (of: TokenResponse, by: string): Promise<number> =>
      (
        await uaa.request(`/oauth/token/revoke/${String(claimsOf(of.access_token)['jti'])}`, {
          method: 'DELETE',
          token: by,
        })
      ).status;
    assert.equal(await revoke(two, one.access_token), 403);
    assert.equal(await revoke(one, await uaa.machineToken()), 200);
    assert.equal((await uaa.request('/userinfo', { token: one.access_token })).status, 401);
  });

  it('end with the refresh token that they came with', async () => {
    const given = await uaa.login();
    const body = new URLSearchParams({ token: given.refresh_token ?? '' });
    const headers = { authorization: 'Basic Y2Y6' };
    assert.equal((await uaa.request('/oauth/revoke', { method: 'POST', headers, body })).status, 200);
    assert.equal((await uaa.request('/userinfo', { token: given.access_token })).status, 401);
  });

  it('say what was asked for and never more than the user and the client have', async () => {
    const ask = async (scope: string): Promise<{ status: number; scope: string }> => {
      const answer = await uaa.grant({ grant_type: 'password', username: 'admin', password: ADMIN_PASSWORD, scope });
      return { status: answer.status, scope: answer.json<{ scope: string }>().scope };
    };
    assert.deepEqual(await ask('openid cloud_controller.read'), { status: 200, scope: 'openid cloud_controller.read' });
    assert.equal((await ask('uaa.admin')).status, 400);
    assert.equal((await ask('perm.admin')).status, 400);
    const { refresh_token = '' } = (
      await uaa.grant({
        grant_type: 'password',
        username: 'admin',
        password: ADMIN_PASSWORD,
        scope: 'openid cloud_controller.read',
      })
    ).json<TokenResponse>();
    assert.deepEqual(claimsOf(refresh_token)['aud'], [REFRESH_AUDIENCE]);
    const wider = await uaa.grant({ grant_type: 'refresh_token', refresh_token, scope: 'cloud_controller.write' });
    assert.equal(wider.status, 400);
    const narrower = await uaa.grant({ grant_type: 'refresh_token', refresh_token, scope: 'openid' });
    assert.equal(narrower.json<TokenResponse>().scope, 'openid');
  });

  it('are given for an assertion that is meant for the client', async () => {
    const { access_token } = await uaa.login();
    const exchange = async (assertion: string): Promise<number> =>
      (await uaa.grant({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion })).status;
    assert.equal(await exchange(access_token), 200);
    assert.equal(await exchange(await uaa.machineToken()), 400);
    assert.equal(await exchange('x.y.z'), 400);
  });

  it('leave a trail of who got what, and no secret in it', async () => {
    await uaa.grant({ grant_type: 'password', username: 'admin', password: 'a-wrong-password' });
    await uaa.login();
    const client = new pg.Client({ connectionString: uaa.database_url });
    await client.connect();
    try {
      const rows = await eventually('the trail', async () => {
        const { rows } = await client.query<{ event: string; data: object }>(
          'select event, data from audit_events order by id desc limit 50',
        );
        const events = new Set(rows.map((row) => row.event));
        return (
          ['user_authentication_failure', 'user_authentication_success', 'token_issued'].every((e) => events.has(e)) &&
          rows
        );
      });
      const text = JSON.stringify(rows);
      for (const secret of ['a-wrong-password', ADMIN_PASSWORD, 'eyJ']) assert.ok(!text.includes(secret));
      const { rows: kept } = await client.query<{ password_hash: string }>('select password_hash from users');
      assert.ok(kept.every((row) => row.password_hash.startsWith('$argon2id$v=19$')));
    } finally {
      await client.end();
    }
  });

  it('are given while the message bus is away', async () => {
    await uaa.nats.kill();
    const { access_token } = await uaa.login();
    assert.equal((await uaa.request('/userinfo', { token: access_token })).status, 200);
    const jti = String(claimsOf(access_token)['jti']);
    assert.equal(
      (await uaa.request(`/oauth/token/revoke/${jti}`, { method: 'DELETE', token: access_token })).status,
      200,
    );
    assert.equal((await uaa.request('/userinfo', { token: access_token })).status, 401);
    await uaa.nats.resume();
  });
});
