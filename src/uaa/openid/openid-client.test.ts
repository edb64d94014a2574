import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import * as oidc from 'openid-client';
import { freePort } from '#testing/free-port.ts';
import { RESOURCE_SECRET, signInByForm, TestUaa } from '../testing.ts';

const CALLBACK = 'http://client.example/callback';

/** A client library that knows nothing of us. */
describe('openid-client', () => {
  let uaa: TestUaa;
  let config: oidc.Configuration;
  before(async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const web = {
      secret: 'web-secret',
      scope: ['openid', 'cloud_controller.read'],
      authorities: ['uaa.resource'],
      authorized_grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      redirect_uri: [CALLBACK],
      autoapprove: ['true'],
    };
    uaa = await TestUaa.start({
      listen: { host: '127.0.0.1', port },
      urls: { uaa: url, login: url },
      clients: { 'web:1 %': web, public: { ...web, secret: null, authorities: [], allowpublic: true } },
    });
    config = await discover('web:1 %', oidc.ClientSecretPost('web-secret'));
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const discover = async (client_id: string, auth: oidc.ClientAuth): Promise<oidc.Configuration> =>
    await oidc.discovery(new URL(`${uaa.url}/oauth/token`), client_id, undefined, auth, {
      execute: [oidc.allowInsecureRequests],
    });

  /** Goes through the browser's part by hand: the address that the client would be called at. */
  async function authorize(by: oidc.Configuration, parameters: Record<string, string>): Promise<URL> {
    const start = oidc.buildAuthorizationUrl(by, { redirect_uri: CALLBACK, ...parameters });
    const cookie = await signInByForm(uaa, 'admin');
    const answer = await uaa.request(start.href, { headers: { cookie, accept: 'text/html' } });
    assert.equal(answer.status, 302, answer.text);
    return new URL(answer.headers.get('location') ?? '');
  }

  async function codeFlow(
    by: oidc.Configuration,
  ): Promise<oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers> {
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const expectedState = oidc.randomState();
    const expectedNonce = oidc.randomNonce();
    const callback = await authorize(by, {
      scope: 'openid cloud_controller.read',
      state: expectedState,
      nonce: expectedNonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    });
    return await oidc.authorizationCodeGrant(by, callback, {
      pkceCodeVerifier,
      expectedState,
      expectedNonce,
      idTokenExpected: true,
    });
  }

  it('discovers, gets a code with PKCE, tokens for it, and who the user is', async () => {
    const tokens = await codeFlow(config);
    const claims = tokens.claims();
    assert.equal(claims?.['user_name'], 'admin');
    const info = await oidc.fetchUserInfo(config, tokens.access_token, claims?.sub ?? '');
    assert.equal(info['user_name'], 'admin');
  });

  it('gets an ID token that is bound to its request by the nonce and to the access token by at_hash', async () => {
    const first = await codeFlow(config);
    const other = await codeFlow(config);
    const half = (token: string): string =>
      createHash('sha256').update(token).digest().subarray(0, 16).toString('base64url');
    assert.equal(first.claims()?.['at_hash'], half(first.access_token));
    assert.notEqual(first.claims()?.['at_hash'], half(other.access_token));
    assert.match(String(first.claims()?.nonce), /^[\w-]{20,}$/);
    assert.notEqual(first.claims()?.nonce, other.claims()?.nonce);
  });

  it('ends the session of the person that its ID token names, and of nobody else', async () => {
    await uaa.addUser('eve');
    const { id_token = '' } = await codeFlow(config);
    const end = async (cookie: string, more: Record<string, string> = {}): Promise<{ status: number; to: string }> => {
      const parameters = { id_token_hint: id_token, post_logout_redirect_uri: CALLBACK, state: 's-7', ...more };
      const { pathname, search } = oidc.buildEndSessionUrl(config, parameters);
      const answer = await uaa.request(`${pathname}${search}`, { headers: { cookie, accept: 'text/html' } });
      return { status: answer.status, to: answer.headers.get('location') ?? '' };
    };
    const isSignedIn = async (cookie: string): Promise<boolean> =>
      (await uaa.request('/', { headers: { cookie, accept: 'text/html' } })).status === 200;
    const eve = await signInByForm(uaa, 'eve', 'secret');
    assert.deepEqual([await end(eve), await isSignedIn(eve)], [{ status: 302, to: '/' }, true]);
    const own = await signInByForm(uaa, 'admin');
    const { access_token } = await uaa.login();
    for (const wrong of [{ id_token_hint: `${id_token}x` }, { id_token_hint: access_token }, { client_id: 'public' }])
      assert.equal((await end(own, wrong)).status, 400);
    assert.equal(await isSignedIn(own), true);
    uaa.clock.forward(7_000);
    assert.deepEqual(await end(own, { post_logout_redirect_uri: 'http://evil.example/' }), {
      status: 302,
      to: '/login?signed_out',
    });
    const again = await signInByForm(uaa, 'admin');
    assert.deepEqual(
      [await end(again), await isSignedIn(again)],
      [{ status: 302, to: `${CALLBACK}?state=s-7` }, false],
    );
  });

  it('signs people in to the dashboard of a service, with a client as the cloud controller makes it', async () => {
    const dashboard = {
      client_id: 'dashboard',
      client_secret: 'dashboard-secret',
      redirect_uri: [CALLBACK],
      scope: ['openid', 'cloud_controller_service_permissions.read'],
      authorities: ['uaa.resource'],
      authorized_grant_types: ['authorization_code'],
    };
    const token = await uaa.machineToken();
    const change = async (action: object): Promise<number> =>
      (await uaa.request('/oauth/clients/tx/modify', { method: 'POST', json: [action], token })).status;
    assert.equal(await change({ ...dashboard, action: 'add' }), 200);
    const by = await discover('dashboard', oidc.ClientSecretPost('dashboard-secret'));
    const start = oidc.buildAuthorizationUrl(by, {
      redirect_uri: CALLBACK,
      scope: dashboard.scope.join(' '),
      state: 's',
      nonce: 'n',
    });
    const cookie = await signInByForm(uaa, 'admin');
    const page = await uaa.request(start.href, { headers: { cookie, accept: 'text/html' } });
    assert.match(page.text, /Allow access\?[^]*cloud_controller_service_permissions\.read/);
    const action = /action="(\/oauth\/authorize[^"]*)"/.exec(page.text)?.[1]?.replaceAll('&#38;', '&') ?? '';
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const body = new URLSearchParams({
      csrf,
      decision: 'allow',
      ...Object.fromEntries(dashboard.scope.map((s) => [`scope.${s}`, 'true'])),
    });
    const answer = await uaa.request(action, { method: 'POST', headers: { cookie }, body });
    const callback = new URL(answer.headers.get('location') ?? 'none:');
    const tokens = await oidc.authorizationCodeGrant(by, callback, {
      expectedState: 's',
      expectedNonce: 'n',
      idTokenExpected: true,
    });
    assert.equal(tokens.scope?.split(' ').sort().join(' '), 'cloud_controller_service_permissions.read openid');
    assert.equal(await change({ client_id: 'dashboard', action: 'delete' }), 200);
    await assert.rejects(oidc.fetchUserInfo(by, tokens.access_token, tokens.claims()?.sub ?? ''));
  });

  it('is told by prompt=none whether anybody is signed in, and by max_age gets a fresh sign-in', async () => {
    const ask = async (parameters: Record<string, string>, cookie?: string): Promise<URL> => {
      const start = oidc.buildAuthorizationUrl(config, {
        redirect_uri: CALLBACK,
        scope: 'openid',
        state: 's',
        ...parameters,
      });
      const headers = { accept: 'text/html', ...(cookie !== undefined && { cookie }) };
      const answer = await uaa.request(start.href, { headers });
      return new URL(answer.headers.get('location') ?? 'none:', uaa.url);
    };
    assert.equal((await ask({ prompt: 'none' })).searchParams.get('error'), 'login_required');
    const cookie = await signInByForm(uaa, 'admin');
    assert.ok((await ask({ prompt: 'none' }, cookie)).searchParams.get('code'));
    assert.ok((await ask({ max_age: '600' }, cookie)).searchParams.get('code'));
    uaa.clock.forward(700);
    assert.equal((await ask({ max_age: '600' }, cookie)).pathname, '/login');
    assert.equal((await ask({ max_age: '600', prompt: 'none' }, cookie)).searchParams.get('error'), 'login_required');
    assert.equal((await ask({ prompt: 'login' }, cookie)).pathname, '/login');
    assert.equal((await ask({ prompt: 'none login' }, cookie)).searchParams.get('error'), 'invalid_request');
  });

  it('refreshes, introspects and revokes', async () => {
    const tokens = await codeFlow(config);
    const next = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '');
    const before = await oidc.tokenIntrospection(config, next.access_token);
    assert.equal(before.active, true);
    assert.equal(before.username ?? before['user_name'], 'admin');
    await oidc.tokenRevocation(config, next.access_token);
    assert.equal((await oidc.tokenIntrospection(config, next.access_token)).active, false);
    await oidc.tokenRevocation(config, next.refresh_token ?? '');
    await assert.rejects(oidc.refreshTokenGrant(config, next.refresh_token ?? ''));
  });

  it('gets a token of its own, with a name and secret that need encoding', async () => {
    const basic = await discover('web:1 %', oidc.ClientSecretBasic('web-secret'));
    const tokens = await oidc.clientCredentialsGrant(basic, { scope: 'uaa.resource' });
    assert.equal(tokens.scope, 'uaa.resource');
    const wrong = await discover('web:1 %', oidc.ClientSecretBasic('wrong'));
    await assert.rejects(oidc.clientCredentialsGrant(wrong), /challenge/);
  });

  it('works as a public client with PKCE, and not without', async () => {
    const open = await discover('public', oidc.None());
    assert.ok((await codeFlow(open)).access_token);
    const refused = await authorize(open, { state: 's' });
    assert.equal(refused.searchParams.get('error'), 'invalid_request');
  });

  it('is told by check_token what it asks as a resource server', async () => {
    const { access_token } = await uaa.login();
    const headers = { authorization: `Basic ${Buffer.from(`doppler:${RESOURCE_SECRET}`).toString('base64')}` };
    const check = async (token: string): Promise<number> =>
      (await uaa.request('/check_token', { method: 'POST', headers, body: new URLSearchParams({ token }) })).status;
    assert.equal(await check(access_token), 200);
    assert.equal(await check(`${access_token}x`), 400);
  });
});
