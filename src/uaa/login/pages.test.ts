import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { chromium, type Browser, type Page } from 'playwright-core';
import { TestUaa } from '../testing.ts';
import { freePort } from '#testing/free-port.ts';
import { TestMailbox } from '#testing/mailbox.ts';
import { listeningPort } from '#testing/listening-port.ts';

/** With a folder here the pages are photographed into it. */
const pictures = process.env['INGOT_TEST_PICTURES'];

async function photograph(page: Page, name: string): Promise<void> {
  if (pictures === undefined) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

describe('the login pages in a browser without JavaScript', () => {
  let uaa: TestUaa;
  let browser: Browser;
  let mailbox: TestMailbox;
  let client_url: string;
  const heard: URL[] = [];
  const client = createServer((request, response) => {
    const url = new URL(request.url ?? '/', client_url);
    // The browser asks for an icon too.
    if (url.pathname === '/callback') heard.push(url);
    response.end('back at the client');
  });
  before(async () => {
    await new Promise<void>((resolve) => client.listen(0, '127.0.0.1', resolve));
    client_url = `http://127.0.0.1:${listeningPort(client)}`;
    mailbox = await TestMailbox.start();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const acme = { kind: 'oidc', label: 'Acme', issuer: 'http://127.0.0.1:1', client_id: 'x', client_secret: 'x' };
    uaa = await TestUaa.start({
      listen: { host: '127.0.0.1', port },
      identity_providers: { acme },
      smtp: mailbox.smtp,
      urls: { uaa: url, login: url },
      clients: {
        shop: {
          secret: 'shop-secret',
          name: 'The Shop',
          scope: ['openid', 'cloud_controller.read', 'cloud_controller.write'],
          authorized_grant_types: ['authorization_code'],
          redirect_uri: [`${client_url}/callback`],
          autoapprove: ['openid'],
        },
      },
    });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    await uaa.addUser('ann', { name: { givenName: 'Ann', familyName: 'Lee' } });
  });
  after(async () => {
    await browser?.close();
    client.close();
    client.closeAllConnections();
    await uaa?.[Symbol.asyncDispose]();
    await mailbox?.[Symbol.asyncDispose]();
  });

  /** A page of a browser of its own. */
  async function open(options: { locale?: string; isPhone?: boolean } = {}): Promise<Page & AsyncDisposable> {
    const context = await browser.newContext({
      javaScriptEnabled: false,
      locale: options.locale ?? 'en-GB',
      viewport: options.isPhone === true ? { width: 375, height: 740 } : { width: 1280, height: 800 },
      baseURL: uaa.url,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    return Object.assign(page, { [Symbol.asyncDispose]: async () => await context.close() });
  }

  async function signIn(page: Page, username: string, password: string): Promise<void> {
    await page.fill('#username', username);
    await page.fill('#password', password);
    await page.click('main button[type=submit]');
  }

  const authorize = (more: Record<string, string> = {}): string =>
    `/oauth/authorize?${new URLSearchParams({ response_type: 'code', client_id: 'shop', redirect_uri: `${client_url}/callback`, state: 's-1', ...more }).toString()}`;

  it('sign in, show the account, and sign out', async () => {
    await using page = await open();
    await page.goto('/');
    await photograph(page, 'sign-in-desktop');
    await signIn(page, 'ann', 'wrong');
    assert.match((await page.textContent('[role=alert]')) ?? '', /not right/);
    await photograph(page, 'sign-in-wrong');
    assert.equal(await page.inputValue('#username'), 'ann');
    await signIn(page, 'ann', 'secret');
    assert.equal(await page.textContent('h1'), 'Your account');
    await photograph(page, 'account-desktop');
    await page.click('text=Sign out');
    assert.match((await page.textContent('[role=status]')) ?? '', /signed out/);
    await page.goto('/');
    assert.equal(await page.textContent('h1'), 'Sign in');
  });

  it('speak Chinese when the browser or the person does, and fit a phone', async () => {
    await using page = await open({ locale: 'zh-CN', isPhone: true });
    await page.goto('/login');
    assert.equal(await page.textContent('h1'), '登录');
    await photograph(page, 'sign-in-phone-zh');
    const width = await page.locator('body').boundingBox();
    assert.ok((width?.width ?? 999) <= 375);
    await page.click('footer a');
    assert.equal(await page.textContent('h1'), 'Sign in');
    await photograph(page, 'sign-in-phone');
    await page.goto('/login');
    assert.equal(await page.textContent('h1'), 'Sign in');
  });

  it('ask before a client gets access, remember the answer, and take it back', async () => {
    await using page = await open({ isPhone: true });
    await page.goto(authorize());
    assert.match((await page.textContent('h1')) ?? '', /The Shop/);
    await signIn(page, 'ann', 'secret');
    assert.equal(await page.textContent('h1'), 'Allow access?');
    await photograph(page, 'approve-phone');
    await page.uncheck('input[name="scope.cloud_controller.write"]');
    await page.click('button[value=allow]');
    assert.equal(await page.textContent('body'), 'back at the client');
    const callback = heard.at(-1);
    assert.equal(callback?.searchParams.get('state'), 's-1');
    assert.equal(callback?.searchParams.get('iss'), `${uaa.url}/oauth/token`);
    const form = {
      grant_type: 'authorization_code',
      redirect_uri: `${client_url}/callback`,
      code: callback?.searchParams.get('code') ?? '',
    };
    const tokens = (await uaa.grant(form, { user: 'shop', password: 'shop-secret' })).json<{ scope: string }>();
    assert.deepEqual(tokens.scope.split(' ').sort(), ['cloud_controller.read', 'openid']);
    await page.goto(authorize());
    assert.equal(await page.textContent('body'), 'back at the client');
    await page.goto('/');
    await photograph(page, 'account-phone');
    await page.click('text=Remove');
    await page.goto(authorize());
    assert.equal(await page.textContent('h1'), 'Allow access?');
    await page.click('button[value=deny]');
    assert.equal(heard.at(-1)?.searchParams.get('error'), 'access_denied');
  });

  it('give a passcode that logs the cf CLI in once', async () => {
    await using page = await open();
    await page.goto('/passcode');
    await signIn(page, 'ann', 'secret');
    const passcode = (await page.textContent('#passcode')) ?? '';
    await photograph(page, 'passcode-desktop');
    const login = async (): Promise<number> => (await uaa.grant({ grant_type: 'password', passcode })).status;
    assert.equal(await login(), 200);
    assert.equal(await login(), 401);
  });

  it('change a password', async () => {
    await uaa.addUser('cho');
    await using page = await open();
    await page.goto('/');
    await signIn(page, 'cho', 'secret');
    await page.click('text=Change password');
    const fill = async (old: string, one: string, other: string): Promise<void> => {
      await page.fill('#old_password', old);
      await page.fill('#new_password', one);
      await page.fill('#new_password_again', other);
      await page.click('main button[type=submit]');
    };
    await fill('secret', 'one', 'other');
    assert.match((await page.textContent('[role=alert]')) ?? '', /not the same/);
    await fill('wrong', 'new', 'new');
    assert.match((await page.textContent('[role=alert]')) ?? '', /not right/);
    await photograph(page, 'change-password');
    await fill('secret', 'new', 'new');
    assert.match((await page.textContent('[role=status]')) ?? '', /changed/);
    await uaa.login('cho', 'new');
  });

  it('offer other providers, say so when one is away, and know the dark', async () => {
    await using page = await open({ isPhone: true });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.goto('/login');
    await photograph(page, 'sign-in-phone-dark');
    await page.click('text=Acme');
    assert.match((await page.textContent('[role=alert]')) ?? '', /did not sign you in/);
  });

  it('show a person what is wrong with a link, without going anywhere', async () => {
    await using page = await open();
    await page.goto(authorize({ redirect_uri: 'https://evil.example/callback' }));
    assert.match((await page.textContent('[role=alert]')) ?? '', /not registered/);
    await photograph(page, 'error');
  });

  it('get a new password for who forgot it, by a link in a mail', async () => {
    await uaa.addUser('flo');
    await using page = await open({ isPhone: true });
    await page.goto('/login');
    await page.click('text=Forgot your password?');
    await photograph(page, 'forgot-phone');
    await page.fill('#username', 'flo@example.com');
    const mail = await mailbox.next(async () => await page.click('main button[type=submit]'));
    assert.match((await page.textContent('[role=status]')) ?? '', /on its way/);
    await photograph(page, 'forgot-sent-phone');
    const link = /http\S+\/reset_password\?code=[\w-]+/.exec(mail)?.[0] ?? '';
    const set = async (one: string, other: string): Promise<void> => {
      await page.fill('#new_password', one);
      await page.fill('#new_password_again', other);
      await page.click('main button[type=submit]');
    };
    await page.goto(link);
    await set('one', 'other');
    assert.match((await page.textContent('[role=alert]')) ?? '', /not the same/);
    await photograph(page, 'reset-phone');
    await set('fresh', 'fresh');
    assert.match((await page.textContent('[role=status]')) ?? '', /changed/);
    await uaa.login('flo', 'fresh');
    await page.goto(link);
    await set('again', 'again');
    assert.match((await page.textContent('[role=alert]')) ?? '', /used already/);
  });

  it("bear the platform's own name, logo, colour and footer", async () => {
    const drawing =
      '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40"><rect width="80" height="40"/></svg>';
    const logo = `data:image/svg+xml;base64,${Buffer.from(drawing).toString('base64')}`;
    const branding = { name: 'Acme & Söhne <Cloud>', logo, colour: '#ffcc00', footer: 'Ask Ms Miller, room 7' };
    const listen = { host: '127.0.0.1', port: 0 };
    const at = await uaa.startAnother({ branding, listen });
    await using page = await open();
    await page.goto(`${at}/login`);
    await photograph(page, 'branded');
    assert.equal(await page.title(), 'Sign in · Acme & Söhne <Cloud>');
    assert.equal((await page.textContent('header'))?.trim(), 'Acme & Söhne <Cloud>');
    assert.match((await page.textContent('footer')) ?? '', /Ask Ms Miller, room 7/);
    assert.equal(await page.evaluate('document.querySelector("header img").naturalWidth'), 80);
    const style = 'getComputedStyle(document.querySelector("main button[type=submit]"))';
    assert.equal(await page.evaluate(`${style}.backgroundColor`), 'rgb(255, 204, 0)');
    // Black on a bright colour, white on a dark one.
    assert.equal(await page.evaluate(`${style}.color`), 'rgb(0, 0, 0)');
    // Yellow words on white could not be read.
    assert.equal(await page.evaluate('getComputedStyle(document.querySelector(".links a")).color'), 'rgb(141, 112, 0)');
    await page.goto('/login');
    assert.equal(await page.evaluate(`${style}.color`), 'rgb(255, 255, 255)');
  });
});
