import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { claimsOf, signInByForm, TestUaa, type Answer } from './testing.ts';
import type { TokenResponse } from './tokens/endpoints.ts';

const CALLBACK = 'https://app.example/callback';
const web = { user: 'web', password: 'web-secret' };
const other = { user: 'other', password: 'other-secret' };

describe('attacks on the UAA', () => {
  let uaa: TestUaa;
  let cookie: string;
  before(async () => {
    const client = {
      scope: ['openid', 'cloud_controller.read'],
      authorized_grant_types: ['authorization_code', 'refresh_token'],
      redirect_uri: [CALLBACK],
      autoapprove: ['true'],
    };
    uaa = await TestUaa.start({
      clients: {
        web: { ...client, secret: web.password },
        other: { ...client, secret: other.password },
        wild: { ...client, secret: 'x', has_redirect_wildcards: true, redirect_uri: ['https://*.app.example/cb/**'] },
        tame: { ...client, secret: 'x', redirect_uri: ['https://*.app.example/cb/**'] },
      },
    });
    cookie = await signInByForm(uaa, 'admin');
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const ask = async (
    parameters: Record<string, string>,
    headers: Record<string, string> = { cookie },
  ): Promise<Answer> =>
    await uaa.request(
      `/oauth/authorize?${new URLSearchParams({ response_type: 'code', client_id: 'web', ...parameters }).toString()}`,
      {
        headers: { accept: 'text/html', ...headers },
      },
    );
  const locationOf = (answer: Answer): URL => new URL(answer.headers.get('location') ?? 'none:');
  const codeOf = async (parameters: Record<string, string> = {}): Promise<string> =>
    locationOf(await ask(parameters)).searchParams.get('code') ?? '';
  const redeem = async (form: Record<string, string>, client = web): Promise<Answer> =>
    await uaa.grant({ grant_type: 'authorization_code', ...form }, client);

  it('with a forged token: no algorithm, a public key as a secret, another key, a key of its own, a key id as a path', async () => {
    const { access_token } = await uaa.login();
    const claims = claimsOf(access_token);
    const [jwk] = (await uaa.request('/token_keys')).json<{ keys: { kid: string; value: string; n: string }[] }>().keys;
    assert.ok(jwk);
    const mine = await generateKeyPair('RS256', { extractable: true });
    const own_jwk = await exportJWK(mine.publicKey);
    const sign = async (
      header: Record<string, unknown>,
      key: Parameters<SignJWT['sign']>[0] = mine.privateKey,
    ): Promise<string> =>
      await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: jwk.kid, ...header }).sign(key);
    const [head = '', body = '', signature = ''] = access_token.split('.');
    const changed = Buffer.from(JSON.stringify({ ...claims, scope: ['uaa.admin'] })).toString('base64url');
    const forged = [
      new UnsecuredJWT(claims).encode(),
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`,
      `${Buffer.from(JSON.stringify({ alg: 'none', kid: jwk.kid })).toString('base64url')}.${body}.${signature}`,
      await sign({ alg: 'HS256' }, new TextEncoder().encode(jwk.value)),
      await sign({ alg: 'HS256' }, new TextEncoder().encode(jwk.n)),
      await sign({}),
      await sign({ jwk: own_jwk }),
      await sign({ jku: 'https://evil.example/keys', kid: 'evil' }),
      await sign({ kid: "' or '1'='1" }),
      await sign({ kid: '../../../../dev/null' }),
      await sign({ kid: '__proto__' }),
      `${head}.${changed}.${signature}`,
      `${head}.${body}.`,
      `${head}.${body}`,
      `${access_token}.x`,
      'x'.repeat(12_000),
    ];
    for (const token of forged) {
      const answer = await uaa.request('/userinfo', { token });
      assert.equal(answer.status, 401, token.slice(0, 80));
    }
    assert.equal((await uaa.request('/userinfo', { token: access_token })).status, 200);
  });

  it('with a token of the wrong kind', async () => {
    const tokens = await uaa.login();
    assert.equal((await uaa.request('/userinfo', { token: tokens.refresh_token ?? '' })).status, 401);
    const id = (await redeem({ code: await codeOf({ scope: 'openid' }) })).json<TokenResponse>().id_token ?? '';
    assert.equal(claimsOf(id)['user_name'], 'admin');
    assert.equal((await uaa.request('/userinfo', { token: id })).status, 401);
    const swapped = await uaa.grant({ grant_type: 'refresh_token', refresh_token: tokens.access_token });
    assert.equal(swapped.status, 400);
    const foreign = await uaa.grant({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token ?? '' }, web);
    assert.equal(foreign.status, 400);
  });

  it('with a code used twice: the second fails and ends what the first gave', async () => {
    const code = await codeOf();
    const first = (await redeem({ code })).json<TokenResponse>();
    assert.equal((await redeem({ code })).status, 400);
    const refresh_token = first.refresh_token ?? '';
    assert.equal((await uaa.grant({ grant_type: 'refresh_token', refresh_token }, web)).status, 401);
    assert.equal((await uaa.request('/userinfo', { token: first.access_token })).status, 401);
  });

  it('with a code used twice, later: what was refreshed meanwhile ends too', async () => {
    const code = await codeOf();
    const first = (await redeem({ code })).json<TokenResponse>();
    const refresh_token = first.refresh_token ?? '';
    const second = (await uaa.grant({ grant_type: 'refresh_token', refresh_token }, web)).json<TokenResponse>();
    assert.equal((await uaa.request('/userinfo', { token: second.access_token })).status, 200);
    assert.equal((await redeem({ code })).status, 400);
    assert.equal((await uaa.request('/userinfo', { token: second.access_token })).status, 401);
  });

  it('with a code used by many at once: of all that they got nothing holds', async () => {
    const code = await codeOf();
    const answers = await Promise.all(Array.from({ length: 6 }, async () => await redeem({ code })));
    const given = answers.filter((answer) => answer.status === 200).map((answer) => answer.json<TokenResponse>());
    assert.equal(given.length, 1);
    for (const { access_token, refresh_token = '' } of given) {
      assert.equal((await uaa.request('/userinfo', { token: access_token })).status, 401);
      assert.equal((await uaa.grant({ grant_type: 'refresh_token', refresh_token }, web)).status, 401);
    }
  });

  it('with the code of another client, an old one, or many at once', async () => {
    assert.equal((await redeem({ code: await codeOf() }, other)).status, 400);
    const old = await codeOf();
    uaa.clock.forward(301);
    assert.equal((await redeem({ code: old })).status, 400);
    const code = await codeOf();
    const all = await Promise.all(Array.from({ length: 8 }, async () => (await redeem({ code })).status));
    assert.equal(all.filter((status) => status === 200).length, 1);
  });

  it('by taking PKCE out, making it plain, or guessing', async () => {
    const verifier = randomBytes(32).toString('base64url');
    const code_challenge = createHash('sha256').update(verifier).digest('base64url');
    const s256 = { code_challenge, code_challenge_method: 'S256' };
    assert.equal((await redeem({ code: await codeOf(s256) })).status, 400);
    assert.equal((await redeem({ code: await codeOf(s256), code_verifier: code_challenge })).status, 400);
    assert.equal((await redeem({ code: await codeOf(), code_verifier: verifier })).status, 400);
    assert.equal((await redeem({ code: await codeOf(s256), code_verifier: verifier })).status, 200);
    for (const method of [{ code_challenge_method: 'plain' }, {}]) {
      const refused = locationOf(await ask({ code_challenge: verifier, ...method }));
      assert.equal(refused.searchParams.get('error'), 'invalid_request');
    }
  });

  it('by mixing up servers: the answer says whose it is', async () => {
    const answer = locationOf(await ask({ state: 'x' }));
    assert.equal(answer.searchParams.get('iss'), 'http://uaa.test.example/oauth/token');
    assert.equal(answer.searchParams.get('state'), 'x');
  });

  const elsewhere = [
    'https://evil.example/callback',
    'https://app.example/callback/',
    'https://app.example/callback?x=1',
    'https://app.example/callback#x',
    'https://app.example/callback/../x',
    'https://app.example@evil.example/callback',
    'HTTPS://APP.EXAMPLE/callback',
    'http://app.example/callback',
    'https://app.example:444/callback',
    '//app.example/callback',
    'javascript:alert(1)',
    'https://app.example/callback\r\nX: y',
    '',
  ];
  for (const redirect_uri of elsewhere) {
    it(`by a redirect to ${JSON.stringify(redirect_uri)}`, async () => {
      const answer = await ask({ redirect_uri });
      assert.equal(answer.status, 400);
      assert.equal(answer.headers.get('location'), null);
    });
  }

  it('by the edges of a redirect with wildcards', async () => {
    const status = async (redirect_uri: string, client_id = 'wild'): Promise<number> =>
      (await ask({ client_id, redirect_uri })).status;
    assert.equal(await status('https://a.app.example/cb/x/y?z'), 302);
    for (const bad of [
      'https://a.b.app.example/cb/x',
      'https://evil.example/.app.example/cb/x',
      'https://evil.example#.app.example/cb/x',
      'https://evil.example\\.app.example/cb/x',
      'https://x@a.app.example/cb/x',
      'https://a.app.example.evil.example/cb/x',
      'https://a.app.example/cb/../steal',
      'https://a.app.example/cb/%2e%2e/steal',
      'http://a.app.example/cb/x',
    ]) {
      assert.equal(await status(bad), 400, bad);
    }
    assert.equal(await status('https://a.app.example/cb/x', 'tame'), 400);
  });

  it('by a redirect at the exchange that is not the one of the code', async () => {
    const code = await codeOf({ redirect_uri: CALLBACK });
    assert.equal((await redeem({ code })).status, 400);
    const again = await codeOf({ redirect_uri: CALLBACK });
    assert.equal((await redeem({ code: again, redirect_uri: 'https://evil.example' })).status, 400);
  });

  it('by a link that goes on elsewhere after the sign-in', async () => {
    for (const onward of [
      'https://evil.example/',
      '//evil.example',
      '/\\evil.example',
      '/oauth/authorize/../evil',
      'javascript:alert(1)',
      '/oauth/authorize?a\r\nb',
    ]) {
      const page = await uaa.request(`/login?${new URLSearchParams({ continue: onward }).toString()}`, {
        headers: { accept: 'text/html' },
      });
      assert.match(page.text, /name="continue" value=""/, onward);
    }
    const out = await uaa.request('/logout.do?redirect=https://evil.example&client_id=web', {
      headers: { accept: 'text/html' },
    });
    assert.equal(out.headers.get('location'), '/login?signed_out');
  });

  it('by a session that was planted, or a form sent from elsewhere', async () => {
    const planted = 'uaa_session=planted-by-somebody';
    const page = await uaa.request('/login', { headers: { accept: 'text/html', cookie: planted } });
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const anchor = page.headers
      .getSetCookie()
      .map((c) => c.split(';')[0])
      .join('; ');
    const send = async (form: Record<string, string>, cookies: string): Promise<Answer> =>
      await uaa.request('/login.do', { method: 'POST', headers: { cookie: cookies }, body: new URLSearchParams(form) });
    const form = { username: 'admin', password: 'admin-password' };
    assert.equal((await send(form, `${planted}; ${anchor}`)).status, 403);
    assert.equal((await send({ ...form, csrf }, planted)).status, 403);
    const signedIn = await send({ ...form, csrf }, `${planted}; ${anchor}`);
    const session = signedIn.headers.getSetCookie().find((c) => c.startsWith('uaa_session=')) ?? '';
    assert.match(session, /^uaa_session=[\w-]{32}; Path=\/; HttpOnly; SameSite=Lax$/);
    assert.ok(!session.includes('planted'));
  });

  it('by markup in what a page shows', async () => {
    const page = await uaa.request('/login', { headers: { accept: 'text/html' } });
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const anchor = page.headers
      .getSetCookie()
      .map((c) => c.split(';')[0])
      .join('; ');
    const body = new URLSearchParams({ username: '"><script>alert(1)</script>', password: 'x', csrf });
    const answer = await uaa.request('/login.do', { method: 'POST', headers: { cookie: anchor }, body });
    assert.equal(answer.status, 401);
    assert.ok(!answer.text.includes('<script'));
    assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'none'.*frame-ancestors 'none'/);
    assert.equal(answer.headers.get('x-frame-options'), 'DENY');
  });

  it('by a parameter given twice, or a client that proves itself twice', async () => {
    const body = 'grant_type=client_credentials&grant_type=password';
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await uaa.request('/oauth/token', { method: 'POST', headers, body })).status, 400);
    const twice = await uaa.grant(
      { grant_type: 'client_credentials', client_id: 'other', client_secret: 'other-secret' },
      web,
    );
    assert.equal(twice.status, 400);
  });

  it('by guessing a password: the account locks for a while, known or not, and many at once do not help', async () => {
    await uaa.addUser('target');
    for (const username of ['target', 'no-such-user']) {
      const guesses = await Promise.all(
        Array.from(
          { length: 12 },
          async () => await uaa.grant({ grant_type: 'password', username, password: 'guess' }),
        ),
      );
      const locked = guesses.filter((answer) => answer.text.includes('locked because of too many failed attempts'));
      assert.equal(locked.length, 7);
      assert.ok(guesses.every((answer) => answer.status === 401));
    }
    const right = async (): Promise<number> =>
      (await uaa.grant({ grant_type: 'password', username: 'target', password: 'secret' })).status;
    assert.equal(await right(), 401);
    uaa.clock.forward(301);
    assert.equal(await right(), 200);
  });

  it('by guessing under other spellings and origins of a name: they count as one, and an administrator unlocks', async () => {
    const id = await uaa.addUser('guessed-i');
    const guess = async (username: string, origin?: string): Promise<Answer> => {
      const query = origin === undefined ? '' : `?login_hint=${encodeURIComponent(JSON.stringify({ origin }))}`;
      return await uaa.grant({ grant_type: 'password', username, password: 'guess' }, undefined, query);
    };
    for (const username of ['guessed-i', 'Guessed-I', ' guessed-i ', 'guessed-\u0130']) {
      assert.match((await guess(username)).text, /Bad credentials/);
    }
    assert.match((await guess('guessed-i', 'uaa')).text, /Bad credentials/);
    for (const origin of [undefined, 'uaa', 'ldap']) assert.match((await guess('guessed-i', origin)).text, /locked/);
    const unlock = async (token: string, json: object): Promise<number> =>
      (await uaa.request(`/Users/${id}/status`, { method: 'PATCH', json, token })).status;
    assert.equal(await unlock((await uaa.login()).access_token, { locked: true }), 400);
    await uaa.addUser('nosy');
    assert.equal(await unlock((await uaa.login('nosy', 'secret')).access_token, { locked: false }), 403);
    assert.equal(await unlock(await uaa.machineToken(), { locked: false }), 200);
    await uaa.login('guessed-i', 'secret');
  });

  it('by a stolen refresh token: once the thief and the owner both used it, it ends for both', async () => {
    const { refresh_token = '' } = await uaa.login();
    const use = async (token: string): Promise<Answer> =>
      await uaa.grant({ grant_type: 'refresh_token', refresh_token: token });
    const thief = (await use(refresh_token)).json<TokenResponse>();
    uaa.clock.forward(61);
    assert.equal((await use(refresh_token)).status, 401);
    assert.equal((await use(thief.refresh_token ?? '')).status, 401);
    assert.equal((await uaa.request('/userinfo', { token: thief.access_token })).status, 401);
  });
});
