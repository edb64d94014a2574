import assert from 'node:assert/strict';
import { createSign, KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import type { InjectOptions } from 'fastify';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type JSONWebKeySet } from 'jose';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { systemClock } from '#kernel/clock.ts';
import { currentRequest, requestHeaders } from '#kernel/request-scope.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { basicAuthHeader, isAuthorized } from './basic-auth.ts';
import { useCfErrors } from './cf-errors.ts';
import { createHttpServer, listen } from './server.ts';
import { StatusServer } from './status-server.ts';
import { KeysUnavailable, TokenInvalid, TokenVerifier } from './token-verifier.ts';

describe('the http server', () => {
  const server = createHttpServer({ log: silentLog, body_limit_bytes: 100 });
  useCfErrors(server, silentLog);
  server.get('/apps/:guid', async () => {
    throw notFound('App');
  });
  server.post('/apps', async (request) => {
    if (request.body === undefined) throw unprocessable(['name is missing', 'space is missing']);
    return request.body;
  });
  server.get('/broken', async () => {
    throw new Error('a secret detail');
  });
  const cases: [string, InjectOptions, number, unknown][] = [
    ['an unknown path', { url: '/none' }, 404, [10000, 'CF-NotFound', 'Unknown request']],
    ['a thrown error of the catalogue', { url: '/apps/1' }, 404, [10010, 'CF-ResourceNotFound', 'App not found']],
    ['a trailing slash', { url: '/apps/1/' }, 404, [10010, 'CF-ResourceNotFound', 'App not found']],
    [
      'an empty JSON body',
      { method: 'POST', url: '/apps', headers: { 'content-type': 'application/json' } },
      422,
      [10008, 'CF-UnprocessableEntity', 'name is missing'],
    ],
    [
      'a broken JSON body',
      { method: 'POST', url: '/apps', headers: { 'content-type': 'application/json' }, payload: '{' },
      400,
      [1001, 'CF-MessageParseError', 'Request invalid due to parse error: invalid request body'],
    ],
    [
      'a body too large',
      {
        method: 'POST',
        url: '/apps',
        headers: { 'content-type': 'application/json' },
        payload: JSON.stringify('x'.repeat(200)),
      },
      413,
      [10022, 'CF-PayloadTooLarge', 'The request body is too large'],
    ],
    ['anything else', { url: '/broken' }, 500, [10001, 'CF-ServerError', 'An unexpected error occurred.']],
  ];
  for (const [what, request, status, first] of cases) {
    it(`answers ${what} with ${status} in Cloud Foundry's form`, async () => {
      const response = await server.inject(request);
      assert.equal(response.statusCode, status);
      const { errors } = response.json<{ errors: { code: number; title: string; detail: string }[] }>();
      assert.deepEqual([errors[0]?.code, errors[0]?.title, errors[0]?.detail], first);
      assert.match(String(response.headers['x-vcap-request-id']), /^[\w-]{36}$/);
    });
  }

  it("carries the router's request id on", async () => {
    const response = await server.inject({ url: '/none', headers: { 'x-vcap-request-id': 'abc-1' } });
    assert.match(String(response.headers['x-vcap-request-id']), /^abc-1::[\w-]{36}$/);
  });

  it('works for the request that came, before and after its body was read', async () => {
    const seen: (string | undefined)[] = [];
    await using served = createHttpServer({ log: silentLog, body_limit_bytes: 1e6 });
    served.addHook('onRequest', async () => void seen.push(currentRequest()?.request_id));
    served.post('/work', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(currentRequest()?.request_id, requestHeaders()['traceparent']);
      return {};
    });
    const url = await listen(served, { host: '127.0.0.1', port: 0 });
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const answer = await fetch(`http://127.0.0.1:${url.port}/work`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-vcap-request-id': 'from-router', traceparent },
      body: JSON.stringify('x'.repeat(200_000)),
    });
    const id = answer.headers.get('x-vcap-request-id') ?? 'none';
    assert.match(id, /^from-router::[\w-]{36}$/);
    assert.deepEqual(seen, [id, id, traceparent]);
    assert.equal(currentRequest(), undefined);
  });

  it('gives each item of a validation error', () => {
    assert.equal(new CfError('UnprocessableEntity', ['a', 'b']).toJSON().errors.length, 2);
  });
});

describe('basic auth', () => {
  it('accepts the pair and nothing else', () => {
    const expected = { user: 'u', password: 'p:q' };
    assert.equal(isAuthorized(basicAuthHeader(expected), expected), true);
    for (const header of [
      undefined,
      '',
      'Basic',
      'Basic !!!',
      'Bearer x',
      basicAuthHeader({ user: 'u', password: 'p' }),
    ]) {
      assert.equal(isAuthorized(header, expected), false);
    }
  });
});

describe('the status server', () => {
  it('shows health to all, figures only to who may', async () => {
    const credentials = { user: 'varz', password: 'secret' };
    await using status = await StatusServer.start({
      host: '127.0.0.1',
      port: 0,
      credentials,
      varz: () => ({ routes: 3 }),
    });
    const get = async (path: string, auth?: string): Promise<Response> =>
      await fetch(`http://${status.address}${path}`, { headers: auth === undefined ? {} : { authorization: auth } });
    assert.equal(await (await get('/healthz')).text(), 'ok');
    assert.equal((await get('/varz')).status, 401);
    const varz: unknown = await (await get('/varz', basicAuthHeader(credentials))).json();
    assert.equal((varz as { routes: number }).routes, 3);
    assert.match(await (await get('/metrics', basicAuthHeader(credentials))).text(), /process_resident_memory_bytes/);
  });
});

describe('the token verifier', async () => {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  const other = await generateKeyPair('RS256');
  const keys: JSONWebKeySet = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }] };
  const claims = { jti: 'j', client_id: 'cf', user_id: 'u1', scope: ['a'] };
  const issuer = 'https://uaa.example/oauth/token';
  const sign = async (key: CryptoKey, change: (jwt: SignJWT) => SignJWT = (jwt) => jwt): Promise<string> =>
    await change(
      new SignJWT(claims).setSubject('u').setIssuer(issuer).setAudience('cc').setIssuedAt().setExpirationTime('1h'),
    )
      .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
      .sign(key);
  const verifier = (fetchKeys = async (): Promise<JSONWebKeySet> => keys): TokenVerifier =>
    new TokenVerifier({ fetchKeys, issuer, audience: 'cc', clock: systemClock });

  it('accepts a token of ours, and fetches keys once', async () => {
    let fetches = 0;
    const counted = verifier(async () => {
      fetches += 1;
      return keys;
    });
    const token = await sign(privateKey);
    for (let n = 0; n < 3; n++) assert.equal((await counted.verify(token)).sub, 'u');
    assert.equal(fetches, 1);
  });

  const soon = Math.floor(Date.now() / 1000) + 10;
  for (const [what, revocation, isRefused] of [
    ['this token is revoked', { jti: 'j', issued_until: soon }, true],
    ['another token is revoked', { jti: 'k', issued_until: soon }, false],
    ["its user's tokens are revoked", { user_id: 'u1', issued_until: soon }, true],
    ["its client's tokens are revoked", { client_id: 'cf', issued_until: soon }, true],
    ['those issued before it are revoked', { client_id: 'cf', issued_until: soon - 1000 }, false],
  ] as const) {
    it(`${isRefused ? 'refuses' : 'accepts'} a token it has seen when ${what}`, async () => {
      const checking = verifier();
      const token = await sign(privateKey);
      await checking.verify(token);
      checking.refuse({ ...revocation, expires_at: soon + 1000 });
      if (isRefused) await assert.rejects(checking.verify(token), TokenInvalid);
      else await checking.verify(token);
    });
  }

  const bad: [string, () => Promise<string>][] = [
    ['signed by another key', async () => await sign(other.privateKey)],
    ['expired', async () => await sign(privateKey, (jwt) => jwt.setExpirationTime(1))],
    ['for another audience', async () => await sign(privateKey, (jwt) => jwt.setAudience('else'))],
    ['of another issuer', async () => await sign(privateKey, (jwt) => jwt.setIssuer('https://evil.example'))],
    [
      'without a signature',
      async () =>
        new UnsecuredJWT(claims).setSubject('u').setIssuer(issuer).setAudience('cc').setExpirationTime('1h').encode(),
    ],
    [
      'signed with the public key as a secret',
      async () => {
        const secret = new TextEncoder().encode(JSON.stringify(keys.keys[0]));
        return await new SignJWT(claims)
          .setSubject('u')
          .setIssuer(issuer)
          .setAudience('cc')
          .setExpirationTime('1h')
          .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
          .sign(secret);
      },
    ],
    [
      'with an extension that has to be understood',
      async () => {
        const [, payload = ''] = (await sign(privateKey)).split('.');
        const header = { alg: 'RS256', kid: 'k1', crit: ['exp'], exp: 1 };
        const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}`;
        const signature = createSign('RSA-SHA256').update(input).sign(KeyObject.from(privateKey));
        return `${input}.${signature.toString('base64url')}`;
      },
    ],
    ['that is not valid yet', async () => await sign(privateKey, (jwt) => jwt.setNotBefore('10m'))],
    [
      'whose key id is a word of JavaScript',
      async () =>
        (await sign(privateKey)).replace(
          /^[^.]+/,
          Buffer.from('{"alg":"RS256","kid":"__proto__"}').toString('base64url'),
        ),
    ],
    ['that is no JWT', async () => 'not-a-token'],
  ];
  for (const [what, make] of bad) {
    it(`refuses a token ${what}`, async () => {
      await assert.rejects(verifier().verify(await make()), TokenInvalid);
    });
  }

  it('forgets a key that the UAA no longer has, and the tokens that it signed', async () => {
    let served = keys;
    const clock = { ...systemClock, ahead_ms: 0, monotonic: (): number => performance.now() + clock.ahead_ms };
    const checking = new TokenVerifier({ fetchKeys: async () => served, issuer, audience: 'cc', clock });
    const token = await sign(privateKey);
    await checking.verify(token);
    served = { keys: [{ ...(await exportJWK(other.publicKey)), kid: 'k2', alg: 'RS256', use: 'sig' }] };
    clock.ahead_ms = 601_000;
    await checking.verify(token);
    await eventually('the key to be forgotten', async () => {
      try {
        await checking.verify(token);
        return false;
      } catch (error) {
        return error instanceof TokenInvalid;
      }
    });
  });

  it('keeps its keys while the UAA is away', async () => {
    let isAway = false;
    const clock = { ...systemClock, ahead_ms: 0, monotonic: (): number => performance.now() + clock.ahead_ms };
    const fetchKeys = async (): Promise<JSONWebKeySet> => {
      if (isAway) throw new Error('refused');
      return keys;
    };
    const checking = new TokenVerifier({ fetchKeys, issuer, audience: 'cc', clock, cache_size: 1 });
    await checking.verify(await sign(privateKey));
    isAway = true;
    clock.ahead_ms = 3_600_000;
    for (let n = 0; n < 3; n++) await checking.verify(await sign(privateKey, (jwt) => jwt.setJti(String(n))));
  });

  it('says that keys cannot be had when the UAA is away', async () => {
    const away = verifier(async () => {
      throw new Error('refused');
    });
    await assert.rejects(away.verify(await sign(privateKey)), KeysUnavailable);
  });
});
