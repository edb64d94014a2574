import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

describe('the main job', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  before(async () => {
    platform = await TestPlatform.start();
  });
  after(async () => {
    for (const app of ['static', 'node', 'binary']) await platform.cf(['delete', app, '-f', '-r']);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });
  const sample = async (name: string): Promise<string> => {
    const folder = await platform.sample(name);
    folders.push(folder);
    return folder;
  };

  it('pushes a static site, shows what staging says, and serves it', async () => {
    const output = await platform.mustCf(['push', 'static', '-m', '64M'], { cwd: await sample('static') });
    assert.match(output, /Uploading files\.\.\./);
    assert.match(output, /Downloaded app package/);
    assert.match(output, /instances: +1\/1/);
    const answer = await platform.get('static');
    assert.equal(answer.status, 200);
    assert.match(String(answer.headers['x-vcap-request-id']), /^[\w-]{36}$/);
  });

  it('uploads only what the platform lacks', async () => {
    const folder = await sample('static');
    await appendFile(join(folder, 'index.html'), `<!-- ${'x'.repeat(100_000)} -->`);
    await platform.mustCf(['push', 'static', '--no-start'], { cwd: folder });
    const again = await platform.mustCf(['push', 'static'], { cwd: folder });
    assert.match(again, /instances: +1\/1/);
  });

  it('pushes a Node app with dependencies and scales it over the DEAs, and all instances answer', async () => {
    await platform.mustCf(['push', 'node', '-m', '128M'], { cwd: await sample('node') });
    await platform.mustCf(['scale', 'node', '-i', '3']);
    const seen = new Set<string>();
    await eventually(
      'all three answer',
      async () => {
        const { status, body } = await platform.get('node', '/');
        const index = /"?(?:instance_)?index"?\s*[:=]\s*"?(\d)/i.exec(body)?.[1];
        if (status === 200 && index !== undefined) seen.add(index);
        return seen.size === 3;
      },
      60,
    );
    const { output } = await platform.ingot(['status']);
    const deas = new Set([...output.matchAll(/node\/web\/\d +RUNNING +(\S+)/g)].map((match) => match[1]));
    assert.equal(deas.size, 2, output);
  });

  it('brings a killed instance back while the others serve', async () => {
    const before = await platform.get('node', '/');
    assert.equal(before.status, 200);
    await platform.get('node', '/crash').catch(() => {});
    let failures = 0;
    await eventually(
      'three of three again',
      async () => {
        const { status } = await platform.get('node', '/');
        if (status !== 200) failures += 1;
        return (await platform.mustCf(['app', 'node'])).includes('3/3');
      },
      60,
    );
    assert.equal(failures, 0);
    await eventually('the crash among its events', async () =>
      (await platform.mustCf(['events', 'node'])).includes('app.crash'),
    );
  });

  it('shows logs of the app, of the router and of staging', async () => {
    await platform.get('node', '/log?line=a-line-of-mine');
    await eventually('the lines in the log', async () => {
      const logs = await platform.mustCf(['logs', 'node', '--recent']);
      return /\[APP\/PROC\/WEB\/\d\] OUT/.test(logs) && /\[RTR\/\d\]/.test(logs) && /\[STG\/0\]/.test(logs);
    });
  });

  it('runs a binary by its Procfile', async () => {
    await platform.mustCf(['push', 'binary', '-m', '64M', '-b', 'binary_buildpack'], { cwd: await sample('binary') });
    assert.equal((await platform.get('binary')).status, 200);
  });

  it('keeps serving while each of its processes is killed, and takes another push afterwards', async () => {
    const names = ['control', 'warden', 'dea', 'dea-1', 'nats', 'postgres'];
    for (const name of names) {
      const pid = platform.pidOf(name);
      process.kill(pid, 'SIGKILL');
      for (let n = 0; n < 10; n++) assert.equal((await platform.get('static')).status, 200, `after ${name} was killed`);
      await eventually(`${name} is back`, () => platform.pidOf(name) !== pid && isRunning(platform.pidOf(name)));
    }
    await eventually('the API is back', async () => (await platform.cf(['apps'])).exit_status === 0, 60);
    await platform.mustCf(['push', 'static', '-m', '64M'], { cwd: await sample('static') });
    assert.equal((await platform.get('static')).status, 200);
  });

  it('serves on when its supervisor is killed, and the next "ingot up" takes everything in hand again', async () => {
    process.kill(platform.pidOf('supervisor'), 'SIGKILL');
    for (let n = 0; n < 10; n++) assert.equal((await platform.get('static')).status, 200);
    const { exit_status, output } = await platform.ingot(['up', '--detach']);
    assert.equal(exit_status, 0, output);
    assert.equal((await platform.get('static')).status, 200);
    const again = await platform.ingot(['up', '--detach']);
    assert.match(again.output, /is up already/);
    assert.equal((await platform.ingot(['status'])).exit_status, 0);
  });

  it('stops with its apps at Ctrl-C, and brings them back at the next "ingot up"', async () => {
    const supervisor = platform.pidOf('supervisor');
    process.kill(supervisor, 'SIGINT');
    await eventually('the supervisor has ended', () => !isRunning(supervisor), 90);
    assert.match((await platform.ingot(['status'])).output, /No platform is up/);
    await assert.rejects(platform.get('static'));
    assert.equal((await platform.ingot(['up', '--detach'])).exit_status, 0);
    await eventually('the app is back', async () => (await platform.get('static')).status === 200, 90);
  });
});

function isRunning(pid: number): boolean {
  try {
    execFileSync('kill', ['-0', String(pid)], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
