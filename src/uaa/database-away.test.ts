import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { eventually } from '#testing/eventually.ts';
import { TestPostgres } from '#testing/postgres.ts';
import { claimsOf, RESOURCE_SECRET, signInByForm, TestUaa } from './testing.ts';

/** What is answered from memory or the configuration alone. */
const WITHOUT_DATABASE = ['/healthz', '/info', '/token_key', '/token_keys', '/login/style.css', '/.well-known/'];

describe('with PostgreSQL away the UAA', () => {
  let postgres: TestPostgres;
  let uaa: TestUaa;
  before(async () => {
    postgres = await TestPostgres.startOwn();
    uaa = await TestUaa.startOn(postgres);
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  it('says so at every endpoint in its own form, and is well again when the database is back', async () => {
    const routes = await uaa.routes();
    assert.ok(routes.length > 50);
    const { access_token: token, refresh_token = '' } = await uaa.login();
    const machine = await uaa.machineToken();
    const cookie = await signInByForm(uaa, 'admin');
    await postgres.stop();
    // Clients, which are remembered for a second, are forgotten.
    uaa.clock.forward(2);

    const form = { username: 'admin', password: 'x', client_id: 'cf', client_secret: '' };
    for (const grant_type of ['password', 'client_credentials', 'refresh_token', 'authorization_code']) {
      const answer = await uaa.grant({ ...form, client_secret: '', grant_type, refresh_token, code: 'x' });
      assert.ok([400, 503].includes(answer.status), `${grant_type}: ${answer.status} ${answer.text}`);
    }
    const away: string[] = [];
    for (const { method, path } of routes) {
      const url = path.replace(/:\w+/g, 'x');
      const isForm = method === 'POST' && !/^\/(Users|Groups|oauth\/clients)/.test(path);
      const credentials = isForm
        ? { authorization: `Basic ${Buffer.from(`doppler:${RESOURCE_SECRET}`).toString('base64')}` }
        : { authorization: `bearer ${machine}` };
      const answer = await uaa.request(url, {
        method,
        headers: credentials,
        ...(isForm && { body: new URLSearchParams({ token, grant_type: 'client_credentials' }) }),
      });
      assert.ok(answer.status < 500 || answer.status === 503, `${method} ${url}: ${answer.status} ${answer.text}`);
      if (answer.status !== 503) continue;
      away.push(`${method} ${path}`);
      assert.equal(answer.json<{ error: string }>().error, 'temporarily_unavailable');
    }
    for (const path of WITHOUT_DATABASE) assert.ok(!away.some((each) => each.includes(` ${path}`)), path);
    const apis = [
      'POST /oauth/token',
      'POST /check_token',
      'GET /userinfo',
      'GET /Users',
      'POST /Users',
      'GET /oauth/clients',
    ];
    for (const api of apis) assert.ok(away.includes(api), `${api} in ${away.join(', ')}`);

    const page = await uaa.request('/', { headers: { cookie, accept: 'text/html', 'accept-language': 'zh-CN' } });
    assert.equal(page.status, 503);
    assert.match(page.text, /请稍后重试/);
    assert.equal((await uaa.request('/token_keys')).status, 200);

    await postgres.resume();
    await eventually(
      'a token again',
      async () =>
        (await uaa.grant({ grant_type: 'client_credentials' }, { user: 'doppler', password: RESOURCE_SECRET }))
          .status === 200,
    );
    // What was there before holds: tokens, the refresh token, the session.
    assert.equal((await uaa.request('/userinfo', { token })).status, 200);
    assert.equal((await uaa.grant({ grant_type: 'refresh_token', refresh_token })).status, 200);
    assert.match((await uaa.request('/', { headers: { cookie, accept: 'text/html' } })).text, /Your account/);
  });

  it('keeps the audit events of that time, and knows after it who may sign in', async () => {
    await uaa.addUser('eve');
    const { jti } = claimsOf((await uaa.login('eve', 'secret')).access_token);
    await postgres.stop();
    const answer = await uaa.grant({ grant_type: 'password', username: 'eve', password: 'secret' });
    assert.equal(answer.status, 503);
    await postgres.resume();
    await eventually(
      'the sign-in',
      async () => (await uaa.grant({ grant_type: 'password', username: 'eve', password: 'secret' })).status === 200,
    );
    const client = new pg.Client({ connectionString: uaa.database_url });
    await client.connect();
    try {
      await eventually('the token of before in the trail', async () => {
        const { rows } = await client.query<{ n: number }>(
          "select 1 as n from audit_events where event = 'token_issued' and data ->> 'jti' = $1",
          [jti],
        );
        return rows.length === 1;
      });
    } finally {
      await client.end();
    }
  });
});
