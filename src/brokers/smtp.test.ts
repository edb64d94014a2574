import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createTransport, type SendMailOptions } from 'nodemailer';
import { request } from 'undici';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { listeningPort } from '#testing/listening-port.ts';
import { TestService } from './osb-testing.ts';
import { shortOf } from './short-name.ts';
import { TestBrokers } from './testing.ts';

interface Login {
  host: string;
  port: number;
  username: string;
  password: string;
}

/** UAA and the cloud controller, as far as a dashboard asks them: whoever brings the code `developer` may manage. */
function platform(): Server {
  return createServer((asked, reply) => {
    const answer = (status: number, body: object): void => void reply.writeHead(status).end(JSON.stringify(body));
    let form = '';
    asked.on('data', (chunk: Buffer) => (form += chunk.toString()));
    asked.on('end', () => {
      if (asked.url === '/oauth/token') answer(200, { access_token: new URLSearchParams(form).get('code') });
      else if (/^\/v3\/service_instances\/[^/]+\/permissions$/.test(asked.url ?? ''))
        answer(200, { read: true, manage: asked.headers.authorization === 'Bearer developer' });
      else answer(404, {});
    });
  });
}

describe('the broker of SMTP', () => {
  const others = platform();
  let brokers: TestBrokers;
  let service: TestService;
  let page: string;
  let resident: Awaited<ReturnType<TestService['bound']>>;
  before(async () => {
    await new Promise<void>((resolve) => others.listen(0, '127.0.0.1', resolve));
    const api_url = `http://127.0.0.1:${listeningPort(others)}`;
    const page_port = await freePort();
    page = `http://127.0.0.1:${page_port}`;
    brokers = await TestBrokers.start({
      smtp: {
        port: await freePort(),
        message_mb: 1,
        page: {
          port: page_port,
          url: page,
          sign_in: {
            authorize_url: 'http://login.example/oauth/authorize',
            token_url: `${api_url}/oauth/token`,
            api_url,
          },
        },
        plans: [
          { name: 'small', description: 'small', messages: 3, size_mb: 1 },
          { name: 'large', description: 'large', messages: 10, size_mb: 10 },
        ],
      },
    });
    service = new TestService(brokers, 'smtp');
    // The catcher ends with the last box, and takes a second to start.
    resident = await service.bound('small');
  });
  after(async () => {
    await brokers[Symbol.asyncDispose]();
    await new Promise((resolve) => others.close(resolve));
  });

  const send = async ({ host, port, username: user, password: pass }: Login, mail: SendMailOptions): Promise<void> => {
    const transport = createTransport({ host, port, auth: { user, pass } });
    await transport.sendMail({ from: 'app@example.com', to: 'someone@example.com', ...mail });
  };
  const loginOf = ({ credentials }: { credentials: Record<string, unknown> }): Login => credentials as unknown as Login;
  const told = async (instance: string): Promise<Record<string, unknown>> =>
    (await service.fetch(instance)).body['parameters'] as Record<string, unknown>;
  const pid = (): number =>
    (JSON.parse(readFileSync(join(brokers.folder, 'services/run/smtp.json'), 'utf8')) as { pid: number }).pid;

  /** As a browser that has been through UAA with this code. */
  async function signIn(instance: string, code: string): Promise<{ status: number; cookie: string; box: string }> {
    const box = `${page}/boxes/${shortOf(instance)}`;
    const away = await request(box);
    await away.body.dump();
    assert.equal(away.statusCode, 302);
    const location = new URL(String(away.headers['location']));
    assert.equal(location.searchParams.get('redirect_uri'), `${page}/signed-in`);
    const state = location.searchParams.get('state') ?? '';
    const [cookie = ''] = String(away.headers['set-cookie']).split(';');
    const query = new URLSearchParams({ code, state });
    const back = await request(`${page}/signed-in?${query.toString()}`, { headers: { cookie } });
    await back.body.dump();
    return { status: back.statusCode, cookie: String(back.headers['set-cookie']).split(';')[0] ?? '', box };
  }
  const read = async (url: string, cookie: string): Promise<{ status: number; text: string; headers: object }> => {
    const { statusCode, body, headers } = await request(url, { headers: { cookie } });
    return { status: statusCode, text: await body.text(), headers };
  };

  it('keeps what apps send, each in the box of its instance, for those who may manage it to read', async () => {
    const [one, other] = [await service.bound('small'), await service.bound('small')];
    const html = '<p>Hello <img src="http://elsewhere/x.png"><script>alert(1)</script></p>';
    const attachments = [{ filename: '"><script>.txt', content: 'attached' }];
    await send(loginOf(one), { subject: 'Grüße <b>', text: 'plain words', html, attachments });
    assert.equal((await told(one.instance))['messages'], 1);
    assert.equal((await told(other.instance))['messages'], 0);

    assert.equal((await signIn(one.instance, 'stranger')).status, 403);
    const { status, cookie, box } = await signIn(one.instance, 'developer');
    assert.equal(status, 303);
    const list = await read(box, cookie);
    assert.match(list.text, /Grüße &#60;b&#62;/);
    assert.match(list.text, /someone@example\.com/);
    const [, id = ''] = /messages\/([^"]+)"/.exec(list.text) ?? [];
    const message = await read(`${box}/messages/${id}`, cookie);
    assert.match(message.text, /plain words/);
    assert.doesNotMatch(message.text, /<script/);
    const shown = await read(`${box}/messages/${id}/html`, cookie);
    assert.match(
      String((shown.headers as Record<string, unknown>)['content-security-policy']),
      /^sandbox; default-src 'none'/,
    );
    assert.equal((await read(`${box}/messages/${id}/attachments/0`, cookie)).text, 'attached');
    assert.match((await read(`${box}/messages/${id}/source`, cookie)).text, /^From: app@example\.com/m);
    const elsewhere = `${page}/boxes/${shortOf(other.instance)}`;
    assert.equal((await read(elsewhere, cookie)).status, 302, "another box's reader signs in for this one");
    const cleared = await request(`${box}/clear`, { method: 'POST', headers: { cookie } });
    await cleared.body.dump();
    assert.equal((await told(one.instance))['messages'], 0);
    for (const { instance } of [one, other]) await service.delete(instance);
  });

  it('knows nobody without a login, nor one whose binding has ended', async () => {
    const tenant = await service.bound('small');
    const login = loginOf(tenant);
    await assert.rejects(send({ ...login, password: 'guessed' }, {}), /535/);
    const { host, port } = login;
    await assert.rejects(createTransport({ host, port }).sendMail({ from: 'a@b.c', to: 'd@e.f' }), /530|authenticat/i);
    await service.unbind(tenant.instance, tenant.binding);
    await assert.rejects(send(login, {}), /535/);
    await service.delete(tenant.instance);
  });

  it('holds as many and as much as the plan says, the newest, and no message above the limit', async () => {
    const tenant = await service.bound('small');
    const login = loginOf(tenant);
    for (const n of [1, 2, 3, 4]) await send(login, { subject: `number ${n}`, text: 'x' });
    assert.equal((await told(tenant.instance))['messages'], 3);
    await send(login, { subject: 'big', text: 'x'.repeat(900 * 1024) });
    await send(login, { subject: 'big too', text: 'x'.repeat(900 * 1024) });
    assert.equal((await told(tenant.instance))['messages'], 1);
    await assert.rejects(send(login, { text: 'x'.repeat(2 * 1024 * 1024) }), /552|size/i);
    assert.equal((await service.update(tenant.instance, { plan: 'large' })).status, 200);
    await send(login, { subject: 'another' });
    assert.equal((await told(tenant.instance))['messages'], 2);
    await service.delete(tenant.instance);
  });

  it('serves while the broker is killed; killed itself, it comes back with the mail; the last box ends it', async () => {
    const tenant = resident;
    const before = pid();
    await brokers.process.signal('SIGKILL');
    await send(loginOf(tenant), { subject: 'meanwhile' });
    await brokers.process.resume();
    assert.equal(pid(), before);
    process.kill(before, 'SIGKILL');
    await eventually('it takes mail again', async () => {
      await send(loginOf(tenant), { subject: 'afterwards' });
      return pid() !== before;
    });
    assert.equal((await told(tenant.instance))['messages'], 2);
    assert.equal((await service.bind(tenant.instance, randomUUID())).status, 201);
    await service.delete(tenant.instance);
    assert.equal(existsSync(join(brokers.folder, 'services/run/smtp.json')), false);
  });
});
