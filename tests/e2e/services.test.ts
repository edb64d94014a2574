import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { chromium } from 'playwright-core';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

interface Page {
  visits: number;
  entries: { text: string }[];
}

/** The services of the platform itself, as an app uses them: in the order of a user's first day. */
describe('services of the platform', () => {
  let platform: TestPlatform;
  let folder: string;
  let staticFolder: string;
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.sample('guestbook');
    staticFolder = await platform.sample('static');
  });
  after(async () => {
    for (const name of ['guestbook', 'bound']) await platform.cf(['delete', name, '-f', '-r']);
    const left = ['guestbook-db', 'guestbook-cache', 'bound-nats', 'bound-smtp', 'bound-volume'];
    for (const name of left) await platform.cf(['delete-service', name, '-f', '--wait']);
    for (const copy of [folder, staticFolder]) await rm(copy, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  const inside = async (script: string): Promise<string> => {
    const { exit_status, output } = await platform.cf(['ssh', 'bound', '-c', script]);
    assert.equal(exit_status, 0, output);
    return output;
  };
  const read = async (): Promise<Page> => {
    const { status, body } = await platform.get('guestbook');
    assert.equal(status, 200, body);
    return JSON.parse(body) as Page;
  };
  const texts = async (): Promise<string[]> => (await read()).entries.map(({ text }) => text);

  it('stand in the marketplace just after the start', async () => {
    const output = await platform.mustCf(['marketplace']);
    assert.match(output, /postgresql +small, medium, large +PostgreSQL databases, with backups +postgresql/);
    assert.match(output, /redis +small, medium, large/);
    for (const name of ['nats', 'smtp', 'volume']) assert.match(output, new RegExp(`${name} +small, large`));
  });

  it('are found as files by an app that asks for them, among them a folder that stays and a mail server', async () => {
    for (const service of ['nats', 'smtp', 'volume']) {
      await platform.mustCf(['create-service', service, 'small', `bound-${service}`, '--wait']);
    }
    await platform.mustCf(['push', 'bound', '-p', staticFolder, '-m', '64M', '--no-start']);
    await platform.mustCf(['bind-service', 'bound', 'bound-volume', '-c', '{"mount": "/data"}', '--wait']);
    for (const service of ['nats', 'smtp']) {
      await platform.mustCf(['bind-service', 'bound', `bound-${service}`, '--wait']);
    }
    const guid = (await platform.mustCf(['app', 'bound', '--guid'])).trim();
    const feature = `/v3/apps/${guid}/features/service-binding-k8s`;
    await platform.mustCf(['curl', feature, '-X', 'PATCH', '-d', '{"enabled": true}']);
    await platform.mustCf(['start', 'bound']);
    assert.equal(
      (await inside('cd /etc/cf-service-bindings; cat bound-nats/type bound-smtp/provider')).trim(),
      'natssmtp',
    );
    await inside('echo kept > /data/file');
    const send = [
      'cd /etc/cf-service-bindings/bound-smtp',
      'printf "Subject: From the app\\n\\nWords of the mail\\n" > /tmp/mail',
      'curl -sS --url "smtp://$(cat host):$(cat port)" --user "$(cat username):$(cat password)" --mail-from app@x.y --mail-rcpt me@x.y -T /tmp/mail',
    ];
    await inside(send.join(' && '));
  });

  it('let people sign in to a dashboard by the UAA, who see what is theirs to manage', async () => {
    const shown = await platform.mustCf(['service', 'bound-smtp']);
    const [, url = ''] = /dashboard url: +(\S+)/.exec(shown) ?? [];
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    try {
      const page = await browser.newPage();
      await page.goto(url);
      await page.fill('input[name=username]', 'admin');
      await page.fill('input[name=password]', platform.adminPassword);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('button', { name: 'Allow' }).click();
      await page.getByRole('link', { name: 'From the app' }).click();
      await page.getByText('Words of the mail').waitFor();
    } finally {
      await browser.close();
    }
  });

  it('are bound by a manifest, and reached from the container', async () => {
    await platform.mustCf(['create-service', 'postgresql', 'small', 'guestbook-db', '--wait']);
    await platform.mustCf(['create-service', 'redis', 'small', 'guestbook-cache', '--wait']);
    await platform.mustCf(['push', '-p', folder, '-f', `${folder}/manifest.yml`]);
    assert.equal((await platform.post('guestbook', '/', 'the first')).status, 201);
    assert.deepEqual(await texts(), ['the first']);
    const { visits } = await read();
    assert.equal((await read()).visits, visits + 1);
  });

  it('serve while the brokers are killed', async () => {
    process.kill(platform.pidOf('control'), 'SIGKILL');
    assert.deepEqual(await texts(), ['the first']);
    assert.equal((await platform.post('guestbook', '/', 'the second')).status, 201);
    await eventually('the brokers are back', async () => {
      const { exit_status } = await platform.cf(['create-service-key', 'guestbook-db', 'key', '--wait']);
      return exit_status === 0;
    });
    await platform.mustCf(['delete-service-key', 'guestbook-db', 'key', '-f', '--wait']);
  });

  it('keep every table and key when everything is stopped and started', async () => {
    const { visits } = await read();
    await platform.mustIngot(['down']);
    await platform.mustIngot(['up', '--detach']);
    await eventually('the app serves again', async () => (await platform.get('guestbook')).status === 200, 90);
    await eventually('the folder is there again', async () => (await inside('cat /data/file')) === 'kept\n', 90);
    assert.deepEqual(await texts(), ['the second', 'the first']);
    assert.ok((await read()).visits > visits, 'the counter goes on');
  });

  it('go back to a backup', async () => {
    await platform.mustCf(['update-service', 'guestbook-db', '-c', '{"backup": true}', '--wait']);
    assert.equal((await platform.post('guestbook', '/', 'the third')).status, 201);
    await platform.mustCf(['update-service', 'guestbook-db', '-c', '{"restore": "latest"}', '--wait']);
    await eventually('the app has connected anew', async () => {
      assert.deepEqual(await texts(), ['the second', 'the first']);
      return true;
    });
  });

  it('are gone when they are deleted, and who was bound is told so', async () => {
    const { exit_status, output } = await platform.cf(['delete-service', 'guestbook-db', '-f', '--wait']);
    assert.equal(exit_status, 0, output);
    const { status } = await platform.get('guestbook');
    assert.equal(status, 503);
  });
});
