import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { eventually } from '#testing/eventually.ts';
import { ADMIN_PASSWORD, claimsOf, signInByForm, TestUaa, type Answer } from './testing.ts';
import type { TokenResponse } from './tokens/endpoints.ts';

describe('two UAAs side by side', () => {
  let uaa: TestUaa;
  let other: string;
  before(async () => {
    uaa = await TestUaa.start({ tokens: { key_rotation_days: 10 } });
    other = await uaa.startAnother();
  });
  after(async () => await uaa[Symbol.asyncDispose]());

  const login = async (at: string, username: string, password: string): Promise<Answer> =>
    await uaa.request(`${at}/oauth/token`, {
      method: 'POST',
      headers: { authorization: basicAuthHeader({ user: 'cf', password: '' }) },
      body: new URLSearchParams({ grant_type: 'password', username, password }),
    });

  it('are two processes that share keys, sessions, codes and revocations; one is killed and nobody is signed out', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-uaas-'));
    const config = uaa.configuration;
    const parts = { room: 'uaa', schema: 'UaaConfig', config, folder };
    await using one = await ComponentProcess.start(parts);
    await using two = await ComponentProcess.start(parts);
    assert.notEqual(one.pid, two.pid);
    const [first, second] = [await addressOf(one), await addressOf(two)];
    const keys = async (at: string): Promise<string> => (await uaa.request(`${at}/token_keys`)).text;
    assert.equal(await keys(first), await keys(second));
    const tokens = (await login(first, 'admin', ADMIN_PASSWORD)).json<TokenResponse>();
    const read = async (at: string, token: string): Promise<number> =>
      (await uaa.request(`${at}/userinfo`, { token })).status;
    assert.equal(await read(second, tokens.access_token), 200);
    const cookie = await signInByForm(uaa, 'admin', ADMIN_PASSWORD, first);
    const page = await uaa.request(`${second}/passcode`, { headers: { cookie, accept: 'text/html' } });
    const passcode = /id="passcode">([^<]+)</.exec(page.text)?.[1] ?? '';
    await one.signal('SIGKILL');
    const form = async (fields: Record<string, string>): Promise<Answer> =>
      await uaa.request(`${second}/oauth/token`, {
        method: 'POST',
        headers: { authorization: basicAuthHeader({ user: 'cf', password: '' }) },
        body: new URLSearchParams(fields),
      });
    assert.equal((await form({ grant_type: 'password', passcode })).status, 200);
    assert.equal(await read(second, tokens.access_token), 200);
    const account = await uaa.request(`${second}/`, { headers: { cookie, accept: 'text/html' } });
    assert.match(account.text, /Your account/);
    const { refresh_token = '' } = tokens;
    const next = (await form({ grant_type: 'refresh_token', refresh_token })).json<TokenResponse>();
    const jti = String(claimsOf(next.access_token)['jti']);
    const ended = await uaa.request(`${second}/oauth/token/revoke/${jti}`, {
      method: 'DELETE',
      token: next.access_token,
    });
    assert.equal(ended.status, 200);
    await one.resume();
    const back = await addressOf(one);
    assert.equal(await keys(back), await keys(second));
    assert.deepEqual([await read(back, next.access_token), await read(back, tokens.access_token)], [401, 200]);
    await rm(folder, { recursive: true });
  });

  it('count failed sign-ins together, and both refuse a locked account', async () => {
    await uaa.addUser('both');
    for (const at of [uaa.url, other, uaa.url, other, uaa.url]) {
      assert.match((await login(at, 'both', 'guess')).text, /Bad credentials/);
    }
    for (const at of [uaa.url, other]) assert.match((await login(at, 'both', 'secret')).text, /locked/);
  });

  it('publish the same keys when one of them made a new one', async () => {
    const kids = async (at: string): Promise<string[]> => {
      const { keys } = (await uaa.request(`${at}/token_keys`)).json<JSONWebKeySet>();
      return keys.map((key) => key.kid ?? '').toSorted((a, b) => (a < b ? -1 : 1));
    };
    const before = await kids(other);
    uaa.clock.forward(10 * 86_400);
    await eventually('one new key at both', async () => {
      const [here, there] = [await kids(uaa.url), await kids(other)];
      return here.length === before.length + 1 && here.join() === there.join();
    });
    uaa.clock.forward(21);
    for (const [from, at] of [
      [uaa.url, other],
      [other, uaa.url],
    ] as const) {
      const token = (await login(from, 'admin', 'admin-password')).json<{ access_token: string }>().access_token;
      assert.equal((await uaa.request(`${at}/userinfo`, { token })).status, 200);
    }
  });
});

/** By its log, since it takes any free port. */
async function addressOf(one: ComponentProcess): Promise<string> {
  const port = await eventually('its port', () => /"port":(\d+).*"uaa started"/.exec(one.output)?.[1]);
  return `http://127.0.0.1:${port}`;
}
