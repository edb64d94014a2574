import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { TestPostgres } from '#testing/postgres.ts';
import type { Log } from '#kernel/log.ts';
import { ADMIN_PASSWORD, claimsOf, RESOURCE_SECRET, signInByForm, TestUaa } from './testing.ts';
import type { TokenResponse } from './tokens/endpoints.ts';

describe('of what passes through the UAA', () => {
  const lines: string[] = [];
  // Nothing is redacted here: what is not to be in the log is not to be given to it.
  const write = (...facts: unknown[]): void =>
    void lines.push(
      JSON.stringify(facts, (_name, value: unknown) => (value instanceof Error ? `${value.stack}` : value)),
    );
  const log = { debug: write, info: write, warn: write, error: write, child: () => log } as unknown as Log;
  let uaa: TestUaa;
  before(async () => {
    uaa = await TestUaa.startOn(await TestPostgres.start(), {}, log);
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  it('no password, secret, token, code or cookie is in the log or the audit trail', async () => {
    const secrets = new Set([
      ADMIN_PASSWORD,
      RESOURCE_SECRET,
      'a-wrong-password',
      'a-new-client-secret',
      'users-next-pw',
    ]);
    const keep = (tokens: TokenResponse): TokenResponse => {
      for (const token of [tokens.access_token, tokens.refresh_token ?? '']) {
        // Whole, and its signature alone, which is what makes it one.
        if (token !== '') secrets.add(token).add(token.split('.')[2] ?? token);
      }
      return tokens;
    };
    const first = keep(await uaa.login());
    const refresh_token = first.refresh_token ?? '';
    keep((await uaa.grant({ grant_type: 'refresh_token', refresh_token })).json());
    await uaa.grant({ grant_type: 'password', username: 'admin', password: 'a-wrong-password' });
    await uaa.grant({ grant_type: 'client_credentials' }, { user: 'doppler', password: 'a-wrong-password' });
    const token = await uaa.machineToken();
    secrets.add(token);
    const client = {
      client_id: 'new',
      client_secret: 'a-new-client-secret',
      authorities: ['uaa.none'],
      authorized_grant_types: ['client_credentials'],
    };
    assert.equal((await uaa.request('/oauth/clients', { method: 'POST', json: client, token })).status, 201);
    const user_id = await uaa.addUser('hush');
    const password = { password: 'users-next-pw' };
    assert.equal(
      (await uaa.request(`/Users/${user_id}/password`, { method: 'PUT', json: password, token })).status,
      200,
    );
    const cookie = await signInByForm(uaa, 'hush', 'users-next-pw');
    for (const part of cookie.split('; ')) secrets.add(part.slice(part.indexOf('=') + 1));
    const page = await uaa.request('/passcode', { headers: { cookie, accept: 'text/html' } });
    const passcode = /id="passcode">([^<]+)</.exec(page.text)?.[1] ?? '';
    assert.ok(passcode.length >= 8);
    secrets.add(passcode);
    keep((await uaa.grant({ grant_type: 'password', passcode })).json());
    const ssh = await uaa.request('/oauth/authorize?response_type=code&client_id=ssh-proxy', {
      token: first.access_token,
    });
    const code = new URL(ssh.headers.get('location') ?? 'none:').searchParams.get('code') ?? '';
    assert.ok(code.length >= 8);
    secrets.add(code);
    await uaa.grant({ grant_type: 'authorization_code', code });
    await uaa.request(`/Users?filter=${refresh_token}`, { token: `${first.access_token}x` });
    await uaa.request(`/oauth/token/revoke/${String(claimsOf(first.access_token)['jti'])}`, {
      method: 'DELETE',
      token: first.access_token,
    });

    const database = new pg.Client({ connectionString: uaa.database_url });
    await database.connect();
    const { rows } = await database.query<{ line: string }>('select row_to_json(e)::text as line from audit_events e');
    await database.end();
    const all = [...lines, ...rows.map((row) => row.line)].join('\n');
    assert.ok(lines.length > 20 && all.includes('token_issued'), all.slice(0, 500));
    for (const secret of secrets) assert.ok(!all.includes(secret), `${secret.slice(0, 12)}… is in the log`);
  });
});
