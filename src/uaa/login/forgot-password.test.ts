import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { listeningPort } from '#testing/listening-port.ts';
import { TestUaa, type Answer } from '../testing.ts';

/** Takes mail by SMTP, as far as a well-behaved sender needs it, and keeps the messages. */
function mailbox(messages: string[]): Server {
  return createServer((socket) => {
    let message: string | undefined;
    let rest = '';
    const say = (line: string): void => void socket.write(`${line}\r\n`);
    say('220 mail.example');
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (data: string) => {
      const lines = (rest + data).split('\r\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (message !== undefined) {
          if (line === '.') {
            messages.push(message);
            message = undefined;
            say('250 taken');
          } else message += `${line}\n`;
        } else if (/^data/i.test(line)) {
          message = '';
          say('354 go on');
        } else if (/^quit/i.test(line)) {
          say('221 bye');
          socket.end();
        } else say('250 ok');
      }
    });
  });
}

describe('a forgotten password', () => {
  let uaa: TestUaa;
  const messages: string[] = [];
  const smtp = mailbox(messages);
  before(async () => {
    await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve));
    uaa = await TestUaa.start({ smtp: { host: '127.0.0.1', port: listeningPort(smtp), from: 'uaa@example.com' } });
    await uaa.addUser('ann');
  });
  after(async () => {
    await uaa?.[Symbol.asyncDispose]();
    await new Promise((resolve) => smtp.close(resolve));
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

  const decoded = (message: string): string => message.replaceAll('=\n', '').replaceAll('=3D', '=');

  it('is replaced by a link that works once, and nobody learns who has an account', async () => {
    const known = await send('/forgot_password', { username: 'ann' });
    const unknown = await send('/forgot_password', { username: 'nobody' });
    const body = (answer: Answer): string => answer.text.replace(/value="[^"]*"/g, '');
    assert.equal(body(known), body(unknown));
    await eventually('the mail', () => messages.length > 0);
    assert.equal(messages.length, 1);
    const code = /reset_password\?code=([\w-]+)/.exec(decoded(messages[0] ?? ''))?.[1] ?? '';
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
    const link = async (): Promise<string> => {
      const before = messages.length;
      await send('/forgot_password', { username: 'bob@example.com' });
      await eventually('the mail', () => messages.length > before);
      return /reset_password\?code=([\w-]+)/.exec(decoded(messages.at(-1) ?? ''))?.[1] ?? '';
    };
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
