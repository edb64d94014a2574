import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
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
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.sample('guestbook');
  });
  after(async () => {
    await platform.cf(['delete', 'guestbook', '-f', '-r']);
    for (const name of ['guestbook-db', 'guestbook-cache']) await platform.cf(['delete-service', name, '-f', '--wait']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

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
