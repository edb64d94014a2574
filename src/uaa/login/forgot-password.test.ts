import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestMailbox } from '#testing/mailbox.ts';
import { TestUaa, type Answer } from '../testing.ts';

describe('a forgotten password', () => {
  let uaa: TestUaa;
  let mailbox: TestMailbox;
  before(async () => {
    mailbox = await TestMailbox.start();
    uaa = await TestUaa.start({ smtp: mailbox.smtp });
    await uaa.addUser('ann');
  });
  after(async () => {
    await uaa?.[Symbol.asyncDispose]();
    await mailbox?.[Symbol.asyncDispose]();
  });

  /** Opens a page and sends its form. */
  async function send(path: string, form: Record<string, string>, to = path): Promise<Answer> {
    const page = await uaa.request(path, { headers: { accept: 'text/html' } });
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const cookie = page.headers
      .getSetCookie()
      .map((set) => set.split(';')[0])
      .join('; ');
    const body = new URLSearchParams({ ...form, csrf });
    return await uaa.request(to, { method: 'POST', headers: { cookie, accept: 'text/html' }, body });
  }

  const codeIn = (message: string): string => /reset_password\?code=([\w-]+)/.exec(message)?.[1] ?? '';

  it('is replaced by a link that works once, and nobody learns who has an account', async () => {
    let known: Answer | undefined;
    const message = await mailbox.next(async () => (known = await send('/forgot_password', { username: 'ann' })));
    const unknown = await send('/forgot_password', { username: 'nobody' });
    const body = (answer: Answer | undefined): string | undefined => answer?.text.replace(/value="[^"]*"/g, '');
    assert.equal(body(known), body(unknown));
    assert.equal(mailbox.messages.length, 1);
    const code = codeIn(message);
    const path = `/reset_password?code=${code}`;
    const set = async (password: string): Promise<number> =>
      (await send(path, { code, new_password: password, new_password_again: password }, '/reset_password')).status;
    assert.equal(await set('brand-new'), 302);
    await uaa.login('ann', 'brand-new');
    assert.equal(await set('newer'), 422);
    await assert.rejects(uaa.login('ann', 'secret'));
  });

  it('has a link that ends with its time, and with another change of the password', async () => {
    const id = await uaa.addUser('bob');
    const link = async (): Promise<string> =>
      codeIn(await mailbox.next(async () => await send('/forgot_password', { username: 'bob@example.com' })));
    const set = async (code: string): Promise<number> =>
      (
        await send(
          `/reset_password?code=${code}`,
          { code, new_password: 'x1', new_password_again: 'x1' },
          '/reset_password',
        )
      ).status;
    const changed = await link();
    const json = { password: 'by-admin' };
    const admin = await uaa.machineToken();
    assert.equal((await uaa.request(`/Users/${id}/password`, { method: 'PUT', token: admin, json })).status, 200);
    assert.equal(await set(changed), 422);
    const late = await link();
    uaa.clock.forward(1_801);
    assert.equal(await set(late), 422);
  });
});
