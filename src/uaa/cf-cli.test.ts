import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { JSONWebKeySet } from 'jose';
import { TokenVerifier } from '#http/token-verifier.ts';
import { ADMIN_PASSWORD, claimsOf, RESOURCE_SECRET, TestUaa } from './testing.ts';
import type { TokenResponse } from './tokens/endpoints.ts';

/** What the cf CLI sends, in its order and with its headers. Source: the CLI's api/uaa package. */
describe('the cf CLI', () => {
  let uaa: TestUaa;
  before(async () => {
    uaa = await TestUaa.start();
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  it('reads the prompts and a version that knows --origin', async () => {
    const headers = { accept: 'application/json', 'content-type': 'application/json' };
    const info = (await uaa.request('/login', { headers })).json<{
      app: { version: string };
      prompts: Record<string, string[]>;
    }>();
    assert.deepEqual(info.prompts['username'], ['text', 'Email']);
    assert.deepEqual(info.prompts['password'], ['password', 'Password']);
    assert.match(info.prompts['passcode']?.[1] ?? '', /One Time Code \( Get one at http.*\/passcode \)/);
    assert.ok(Number(info.app.version.split('.')[0]) > 4);
  });

  it('logs in with the empty secret of cf and gets claims that it can read', async () => {
    const tokens = await uaa.login();
    assert.equal(tokens.token_type, 'bearer');
    assert.equal(tokens.expires_in, 1200);
    const claims = claimsOf(tokens.access_token);
    assert.equal(claims['user_name'], 'admin');
    assert.equal(claims['origin'], 'uaa');
    assert.equal(claims['sub'], claims['user_id']);
    assert.equal(claims['cid'], 'cf');
    assert.equal(claims['zid'], 'uaa');
    assert.ok((claims['scope'] as string[]).includes('cloud_controller.admin'));
    assert.ok((claims['aud'] as string[]).includes('cloud_controller'));
    assert.equal(Number(claims['exp']) - Number(claims['iat']), 1200);
  });

  it('is believed by the verifier that the components share, and its refresh token is not', async () => {
    const tokens = await uaa.login();
    const verifier = new TokenVerifier({
      fetchKeys: async () => (await uaa.request('/token_keys')).json<JSONWebKeySet>(),
      issuer: 'http://uaa.test.example/oauth/token',
      audience: 'cloud_controller',
      clock: uaa.clock,
    });
    assert.equal((await verifier.verify(tokens.access_token)).user_name, 'admin');
    await assert.rejects(verifier.verify(tokens.refresh_token ?? ''));
  });

  it('is told Bad credentials in UAA words, whether the user exists or not', async () => {
    for (const username of ['admin', 'nobody']) {
      const answer = await uaa.grant({ grant_type: 'password', username, password: 'wrong' });
      assert.equal(answer.status, 401);
      assert.deepEqual(answer.json(), { error: 'unauthorized', error_description: 'Bad credentials' });
      assert.equal(answer.headers.get('cache-control'), 'no-store');
    }
  });

  it('takes the origin in the query', async () => {
    const form = { grant_type: 'password', username: 'admin', password: ADMIN_PASSWORD };
    const hint = (origin: string): string =>
      `?${new URLSearchParams({ login_hint: JSON.stringify({ origin }) }).toString()}`;
    assert.equal((await uaa.grant(form, undefined, hint('uaa'))).status, 200);
    assert.equal((await uaa.grant(form, undefined, hint('ldap'))).status, 401);
  });

  it('refreshes, and so does a second command that shares the token', async () => {
    const { refresh_token = '' } = await uaa.login();
    const first = (await uaa.grant({ grant_type: 'refresh_token', refresh_token })).json<TokenResponse>();
    assert.equal(claimsOf(first.access_token)['user_name'], 'admin');
    assert.notEqual(first.refresh_token, refresh_token);
    assert.equal((await uaa.grant({ grant_type: 'refresh_token', refresh_token })).status, 200);
    const next = await uaa.grant({ grant_type: 'refresh_token', refresh_token: first.refresh_token ?? '' });
    assert.equal(next.status, 200);
  });

  it('logs in as a client', async () => {
    const form = { grant_type: 'client_credentials', client_id: 'doppler', client_secret: RESOURCE_SECRET };
    const body = new URLSearchParams(form);
    const answer = await uaa.request('/oauth/token', { method: 'POST', body });
    const tokens = answer.json<TokenResponse>();
    assert.equal(tokens.refresh_token, undefined);
    const claims = claimsOf(tokens.access_token);
    assert.deepEqual(
      [claims['authorities'], claims['client_id'], claims['sub']],
      [['uaa.resource'], 'doppler', 'doppler'],
    );
    assert.equal(claims['user_id'], undefined);
  });

  it('gets a one-time code for ssh by a redirect', async () => {
    const { access_token } = await uaa.login();
    const answer = await uaa.request('/oauth/authorize?response_type=code&client_id=ssh-proxy', {
      token: access_token,
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(answer.status, 302);
    const location = new URL(answer.headers.get('location') ?? '');
    assert.equal(`${location.origin}${location.pathname}`, 'http://login.test.example/login');
    assert.match(location.searchParams.get('code') ?? '', /^[\w-]{20,}$/);
  });

  it('creates, finds and deletes a user', async () => {
    const { access_token: token } = await uaa.login();
    const json = {
      userName: 'ann@example.com',
      password: 'pass',
      origin: '',
      name: { familyName: 'ann@example.com', givenName: 'ann@example.com' },
      emails: [{ value: 'ann@example.com', primary: true }],
    };
    const created = await uaa.request('/Users', { method: 'POST', json, token });
    assert.equal(created.status, 201);
    const { id, origin } = created.json<{ id: string; origin: string }>();
    assert.equal(origin, 'uaa');
    const again = await uaa.request('/Users', { method: 'POST', json, token });
    assert.equal(again.status, 409);
    assert.equal(again.json<{ error: string }>().error, 'scim_resource_already_exists');
    const filter = encodeURIComponent('userName eq "ANN@example.com" and origin eq "uaa"');
    const found = (await uaa.request(`/Users?filter=${filter}`, { token })).json<{
      resources: { id: string }[];
      totalResults: number;
    }>();
    assert.deepEqual([found.totalResults, found.resources[0]?.id], [1, id]);
    const own = await uaa.login('ann@example.com', 'pass');
    assert.ok(own.scope.split(' ').includes('cloud_controller.write'));
    assert.ok(!own.scope.split(' ').includes('cloud_controller.admin'));
    assert.equal((await uaa.request(`/Users/${id}`, { method: 'DELETE', token })).status, 200);
    assert.equal(
      (await uaa.grant({ grant_type: 'refresh_token', refresh_token: own.refresh_token ?? '' })).status,
      401,
    );
    assert.equal((await uaa.request('/Users', { token: own.access_token })).status, 401);
  });

  it('changes a password, and the old tokens end', async () => {
    const id = await uaa.addUser('carl');
    const { access_token: token } = await uaa.login('carl', 'secret');
    const change = async (oldPassword: string, password: string): Promise<number> =>
      (await uaa.request(`/Users/${id}/password`, { method: 'PUT', token, json: { oldPassword, password } })).status;
    assert.equal(await change('wrong', 'new'), 401);
    assert.equal(await change('secret', 'secret'), 422);
    assert.equal(await change('secret', 'new'), 200);
    assert.equal((await uaa.request(`/Users/${id}`, { token })).status, 401);
    await uaa.login('carl', 'new');
  });

  it('logs out: both tokens end', async () => {
    await uaa.addUser('lou');
    const { access_token, refresh_token = '' } = await uaa.login('lou', 'secret');
    for (const token of [refresh_token, access_token]) {
      const jti = String(claimsOf(token)['jti']);
      assert.equal((await uaa.request(`/oauth/token/revoke/${jti}`, { method: 'DELETE', token })).status, 200);
    }
    assert.equal((await uaa.grant({ grant_type: 'refresh_token', refresh_token })).status, 401);
    const id = String(claimsOf(access_token)['user_id']);
    assert.equal((await uaa.request(`/Users/${id}`, { token: access_token })).status, 401);
  });
});
