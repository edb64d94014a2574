import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { eventually } from '#testing/eventually.ts';
import { TestMailbox } from '#testing/mailbox.ts';
import { RESOURCE_SECRET, signInByForm, TestUaa } from '../testing.ts';
import type { AuditEventName } from './store.ts';

interface Kept {
  user_id: string | null;
  client_id: string | null;
  origin: string | null;
  remote_address: string | null;
  data: Record<string, unknown>;
}
/** What happens, by whose doing, and what the trail has to say of it. */
type Case = () => Promise<{ user_id?: string; client_id?: string; origin?: string; data?: Record<string, unknown> }>;

// Most of the time goes by while events wait to be written.
describe('the audit trail', { concurrency: 8 }, () => {
  let uaa: TestUaa;
  let mailbox: TestMailbox;
  let database: pg.Pool;
  let token: string;
  let admin_id: string;
  before(async () => {
    mailbox = await TestMailbox.start();
    uaa = await TestUaa.start({ smtp: mailbox.smtp, lockout: { after_failures: 2 } });
    token = await uaa.machineToken();
    database = new pg.Pool({ connectionString: uaa.database_url, max: 4 });
    const { rows } = await database.query<{ id: string }>("select id from users where user_name = 'admin'");
    admin_id = rows[0]?.id ?? '';
  });
  after(async () => {
    await database.end();
    await uaa[Symbol.asyncDispose]();
    await mailbox[Symbol.asyncDispose]();
  });

  const call = async (method: string, path: string, json?: object, bearer = token): Promise<{ id: string }> => {
    const headers = { 'if-match': '*' };
    const answer = await uaa.request(path, { method, token: bearer, headers, ...(json && { json }) });
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.json();
  };
  const by = { by: { client_id: 'test-admin' } };
  let names = 0;
  const added = async (): Promise<{ id: string; name: string }> => {
    const name = `user-${(names += 1)}`;
    return { id: await uaa.addUser(name), name };
  };
  const group = async (): Promise<string> =>
    (await call('POST', '/Groups', { displayName: `group-${(names += 1)}` })).id;
  const client = async (): Promise<string> => {
    const client_id = `client-${(names += 1)}`;
    const grants = { authorities: ['uaa.none'], authorized_grant_types: ['client_credentials'] };
    await call('POST', '/oauth/clients', { client_id, client_secret: 's', ...grants });
    return client_id;
  };
  const sshCode = async (): Promise<string> => {
    const { access_token } = await uaa.login();
    const path = '/oauth/authorize?response_type=code&client_id=ssh-proxy';
    const { headers } = await uaa.request(path, { token: access_token });
    return new URL(headers.get('location') ?? 'none:').searchParams.get('code') ?? '';
  };
  const page = async (cookie: string, path: string, form?: Record<string, string>): Promise<string> => {
    const headers = { cookie, accept: 'text/html' };
    const shown = await uaa.request(path, { headers });
    if (!form) return shown.text;
    const csrf = /name="csrf" value="([^"]+)"/.exec(shown.text)?.[1] ?? '';
    const anchor = shown.headers.getSetCookie().map((set) => set.split(';')[0]);
    const body = new URLSearchParams({ ...form, csrf });
    const to = form['to'] ?? path;
    return (
      await uaa.request(to, { method: 'POST', headers: { ...headers, cookie: [cookie, ...anchor].join('; ') }, body })
    ).text;
  };

  // A kind of event without a row here does not compile.
  const cases: Record<AuditEventName, Record<string, Case>> = {
    user_authentication_success: {
      'a password grant': async () => {
        await uaa.login();
        return { user_id: admin_id, client_id: 'cf', origin: 'uaa' };
      },
      'the sign-in page': async () => {
        await signInByForm(uaa, 'admin');
        return { user_id: admin_id, origin: 'uaa' };
      },
      'a passcode': async () => {
        const shown = await page(await signInByForm(uaa, 'admin'), '/passcode');
        const passcode = /id="passcode">([^<]+)</.exec(shown)?.[1] ?? '';
        assert.equal((await uaa.grant({ grant_type: 'password', passcode })).status, 200);
        return { user_id: admin_id, client_id: 'cf', data: { by: 'passcode' } };
      },
    },
    user_authentication_failure: {
      'a wrong password': async () => {
        const { name } = await added();
        await uaa.grant({ grant_type: 'password', username: name, password: 'wrong' });
        return { client_id: 'cf', data: { user_name: name } };
      },
      'a wrong password on the page': async () => {
        const { name } = await added();
        await assert.rejects(signInByForm(uaa, name, 'wrong'));
        return { data: { user_name: name } };
      },
      'a passcode that is none': async () => {
        await uaa.grant({ grant_type: 'password', passcode: 'x' });
        return { client_id: 'cf', data: { by: 'passcode' } };
      },
    },
    user_locked_out: {
      'failures in a row': async () => {
        const { name } = await added();
        for (let n = 0; n < 3; n += 1) await uaa.grant({ grant_type: 'password', username: name, password: 'wrong' });
        return { client_id: 'cf', data: { user_name: name } };
      },
    },
    user_unlocked: {
      'an administrator': async () => {
        const { id } = await added();
        await call('PATCH', `/Users/${id}/status`, { locked: false });
        return { user_id: id, data: by };
      },
    },
    client_authentication_failure: {
      'a wrong secret': async () => {
        await uaa.grant({ grant_type: 'client_credentials' }, { user: 'doppler', password: 'wrong' });
        return { client_id: 'doppler' };
      },
    },
    token_issued: {
      'a password grant': async () => {
        await uaa.login();
        return { user_id: admin_id, client_id: 'cf', data: { grant_type: 'password' } };
      },
      'a refresh': async () => {
        const { refresh_token = '' } = await uaa.login();
        await uaa.grant({ grant_type: 'refresh_token', refresh_token });
        return { user_id: admin_id, client_id: 'cf', data: { grant_type: 'refresh_token' } };
      },
      'client credentials': async () => {
        await uaa.machineToken('doppler', RESOURCE_SECRET);
        return { client_id: 'doppler', data: { grant_type: 'client_credentials', scope: 'uaa.resource' } };
      },
      'a code': async () => {
        const proxy = { user: 'ssh-proxy', password: RESOURCE_SECRET };
        const code = await sshCode();
        assert.equal((await uaa.grant({ grant_type: 'authorization_code', code }, proxy)).status, 200);
        return { user_id: admin_id, client_id: 'ssh-proxy', data: { grant_type: 'authorization_code' } };
      },
      'an assertion': async () => {
        const grant_type = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
        const { access_token: assertion } = await uaa.login();
        assert.equal((await uaa.grant({ grant_type, assertion })).status, 200);
        return { user_id: admin_id, client_id: 'cf', data: { grant_type } };
      },
    },
    refresh_token_reused: {
      'a thief': async () => {
        const { refresh_token = '' } = await uaa.login();
        await uaa.grant({ grant_type: 'refresh_token', refresh_token });
        uaa.clock.forward(61);
        await uaa.grant({ grant_type: 'refresh_token', refresh_token });
        return { user_id: admin_id, client_id: 'cf' };
      },
    },
    code_reused: {
      'a thief': async () => {
        const proxy = { user: 'ssh-proxy', password: RESOURCE_SECRET };
        const code = await sshCode();
        for (let n = 0; n < 2; n += 1) await uaa.grant({ grant_type: 'authorization_code', code }, proxy);
        return { user_id: admin_id, client_id: 'ssh-proxy' };
      },
    },
    token_revoked: {
      'its owner': async () => {
        const { access_token } = await uaa.login();
        const { jti } = JSON.parse(atob(access_token.split('.')[1] ?? '')) as { jti: string };
        await call('DELETE', `/oauth/token/revoke/${jti}`, undefined, access_token);
        return { user_id: admin_id, client_id: 'cf', data: { jti } };
      },
      'an administrator, all of a user': async () => {
        const { id } = await added();
        await call('DELETE', `/oauth/token/revoke/user/${id}`);
        return { user_id: id, data: { all: true, ...by } };
      },
      'an administrator, all of a client': async () => {
        const client_id = await client();
        await call('DELETE', `/oauth/token/revoke/client/${client_id}`);
        return { client_id, data: { all: true, ...by } };
      },
      'its client, by RFC 7009': async () => {
        const form = { token: await uaa.machineToken('doppler', RESOURCE_SECRET), client_id: 'doppler' };
        const body = new URLSearchParams({ ...form, client_secret: RESOURCE_SECRET });
        assert.equal((await uaa.request('/oauth/revoke', { method: 'POST', body })).status, 200);
        return { client_id: 'doppler' };
      },
    },
    password_changed: {
      'an administrator': async () => {
        const { id } = await added();
        await call('PUT', `/Users/${id}/password`, { password: 'another' });
        return { user_id: id, data: by };
      },
      'the person, on the page': async () => {
        const { id, name } = await added();
        const fields = { old_password: 'secret', new_password: 'other', new_password_again: 'other' };
        await page(await signInByForm(uaa, name, 'secret'), '/change_password', fields);
        return { user_id: id };
      },
    },
    password_reset_requested: {
      'the person': async () => {
        const { id, name } = await added();
        await page('', '/forgot_password', { username: name });
        return { user_id: id };
      },
    },
    user_created: {
      'an administrator': async () => ({ user_id: (await added()).id, origin: 'uaa', data: by }),
    },
    user_modified: {
      PUT: async () => {
        const { id, name } = await added();
        await call('PUT', `/Users/${id}`, { userName: name, emails: [{ value: 'a@b.c' }] });
        return { user_id: id, data: by };
      },
      'PATCH by the person': async () => {
        const { id, name } = await added();
        const { access_token } = await uaa.login(name, 'secret');
        await call('PATCH', `/Users/${id}`, { name: { givenName: 'A' } }, access_token);
        return { user_id: id, data: { by: { client_id: 'cf', user_id: id } } };
      },
    },
    user_deleted: {
      'an administrator': async () => {
        const { id } = await added();
        await call('DELETE', `/Users/${id}`);
        return { user_id: id, data: by };
      },
    },
    group_created: { 'an administrator': async () => ({ data: { id: await group(), ...by } }) },
    group_modified: {
      PATCH: async () => {
        const id = await group();
        await call('PATCH', `/Groups/${id}`, { description: 'd' });
        return { data: { id, ...by } };
      },
      'a member more': async () => {
        const [id, user] = [await group(), await added()];
        await call('POST', `/Groups/${id}/members`, { value: user.id });
        return { data: { id, added: user.id, ...by } };
      },
      'a member less': async () => {
        const [id, user] = [await group(), await added()];
        await call('POST', `/Groups/${id}/members`, { value: user.id });
        await call('DELETE', `/Groups/${id}/members/${user.id}`);
        return { data: { id, removed: user.id, ...by } };
      },
    },
    group_deleted: {
      'an administrator': async () => {
        const id = await group();
        await call('DELETE', `/Groups/${id}`);
        return { data: { id, ...by } };
      },
    },
    client_created: { 'an administrator': async () => ({ client_id: await client(), data: by }) },
    client_modified: {
      'an administrator': async () => {
        const client_id = await client();
        const grants = { authorities: ['uaa.none'], authorized_grant_types: ['client_credentials'] };
        await call('PUT', `/oauth/clients/${client_id}`, { client_id, ...grants });
        return { client_id, data: by };
      },
    },
    client_deleted: {
      'an administrator': async () => {
        const client_id = await client();
        await call('DELETE', `/oauth/clients/${client_id}`);
        return { client_id, data: by };
      },
    },
    client_secret_changed: {
      'an administrator': async () => {
        const client_id = await client();
        await call('PUT', `/oauth/clients/${client_id}/secret`, { secret: 'other' });
        return { client_id, data: by };
      },
    },
    approvals_changed: {
      'the person, through a client': async () => {
        const decision = { clientId: 'cf', scope: 'openid', status: 'APPROVED' };
        await call('PUT', '/approvals', [decision], await uaa.personToken());
        return { user_id: admin_id, data: { by: { client_id: 'test-person', user_id: admin_id } } };
      },
      'the person, on the account page': async () => {
        await page(await signInByForm(uaa, 'admin'), '/', { to: '/account/approvals', client_id: 'cf' });
        return { user_id: admin_id, client_id: 'cf' };
      },
    },
    signed_out: {
      'the person': async () => {
        await page(await signInByForm(uaa, 'admin'), '/logout.do');
        return { user_id: admin_id };
      },
    },
  };

  for (const [event, ways] of Object.entries(cases)) {
    for (const [way, act] of Object.entries(ways)) {
      it(`keeps ${event}: ${way}`, async () => {
        const { rows } = await database.query<{ last: number }>(
          'select coalesce(max(id), 0)::int as last from audit_events',
        );
        const expected = await act();
        let seen: Kept[] = [];
        await eventually(`${event} with ${JSON.stringify(expected)}`, async () => {
          const found = await database.query<Kept>('select * from audit_events where event = $1 and id > $2', [
            event,
            rows[0]?.last,
          ]);
          seen = found.rows;
          return seen.some((row) => isMatch(row, expected));
        }).catch((error: unknown) => assert.fail(`${String(error)}; there are ${JSON.stringify(seen)}`));
        const kept = seen.find((row) => isMatch(row, expected));
        assert.match(kept?.remote_address ?? '', /127\.0\.0\.1/);
        assert.match(String(kept?.data['request_id']), /^[\w:-]{8,}$/);
      });
    }
  }
});

/** Whether all that is expected is there. */
function isMatch(actual: unknown, expected: unknown): boolean {
  if (typeof expected !== 'object' || expected === null) return actual === expected;
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(expected).every(([name, part]) => isMatch((actual as Record<string, unknown>)[name], part));
}
