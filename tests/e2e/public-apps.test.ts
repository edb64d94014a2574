import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { whyWithoutPypi } from '#testing/registries.ts';
import { TestPlatform } from './platform.ts';

const skip = await whyWithoutPypi();

describe('apps that nobody here wrote', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  before(async () => {
    platform = await TestPlatform.start();
  });
  after(async () => {
    for (const app of ['http-server', 'httpbin']) await platform.cf(['delete', app, '-f', '-r']);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  it("serves npm's http-server, unchanged", async () => {
    const folder = await platform.folder({
      'package.json': JSON.stringify({
        name: 'site',
        version: '1.0.0',
        dependencies: { 'http-server': '^14.1.1' },
        scripts: { start: 'http-server public -p $PORT' },
      }),
      'public/index.html': 'served by a package of the registry',
    });
    folders.push(folder);
    await platform.mustCf(['push', 'http-server', '-m', '128M'], { cwd: folder });
    assert.equal((await platform.get('http-server')).body, 'served by a package of the registry');
  });

  it("serves PyPI's httpbin, unchanged", { skip }, async () => {
    const folder = await platform.folder({
      'requirements.txt': 'httpbin\ngunicorn\n',
      Procfile: 'web: gunicorn httpbin:app -b 0.0.0.0:$PORT\n',
    });
    folders.push(folder);
    await platform.mustCf(['push', 'httpbin', '-m', '256M'], { cwd: folder });
    const { status, body } = await platform.get('httpbin', '/get?a=1');
    assert.equal(status, 200);
    assert.deepEqual((JSON.parse(body) as { args: unknown }).args, { a: '1' });
  });
});
