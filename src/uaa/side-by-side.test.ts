import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { JSONWebKeySet } from 'jose';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { eventually } from '#testing/eventually.ts';
import { TestUaa, type Answer } from './testing.ts';

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
