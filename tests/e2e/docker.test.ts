import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { ImageRegistry, REGISTRY_LOGIN } from '#testing/image-registry.ts';
import { pushGreeter } from '#testing/sample-image.ts';
import { TestPlatform } from './platform.ts';

describe('an app that is a docker image', () => {
  let platform: TestPlatform;
  let registry: ImageRegistry;
  const folders: string[] = [];
  const env = { CF_DOCKER_PASSWORD: REGISTRY_LOGIN.password };
  before(async () => {
    registry = await ImageRegistry.start({ has_login: true });
    await pushGreeter(registry);
    platform = await TestPlatform.start();
  });
  after(async () => await registry[Symbol.asyncDispose]());
  after(async () => {
    for (const app of ['greeter', 'denied']) await platform.cf(['delete', app, '-f', '-r']);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });
  const image = (): string => `${registry.host}/team/greeter:v1`;
  const login = ['--docker-username', REGISTRY_LOGIN.username];

  it('is pulled, runs as it says and answers under its route', async () => {
    const folder = await platform.folder({});
    folders.push(folder);
    const pushed = await platform.mustCf(['push', 'greeter', '-o', image(), ...login, '-m', '64M'], {
      cwd: folder,
      env,
    });
    assert.match(pushed, new RegExp(`docker image:\\s+${image()}`));
    const { body } = await platform.get('greeter');
    assert.equal(body, 'hello, nobody! port=9090 uid=1000 home=/srv/app files=server.pl index=0');
  });

  it('takes variables, restarts, scales, and is entered as its user', async () => {
    await platform.mustCf(['set-env', 'greeter', 'NAME', 'you']);
    await platform.mustCf(['restart', 'greeter']);
    assert.match((await platform.get('greeter')).body, /^hello, you!/);
    await platform.mustCf(['scale', 'greeter', '-i', '2']);
    const seen = new Set<string>();
    await eventually('both instances answer', async () => {
      seen.add(/index=\d/.exec((await platform.get('greeter')).body)?.[0] ?? '');
      return seen.has('index=0') && seen.has('index=1');
    });
    const entered = await platform.mustCf(['ssh', 'greeter', '-c', 'echo "$GREETING $NAME"; cd; pwd']);
    assert.equal(entered.trim(), 'hello you\n/srv/app');
  });

  it('runs other commands of its user, in tasks as well', async () => {
    await platform.mustCf(['run-task', 'greeter', '-c', 'echo "task of $GREETING"', '--wait']);
    await eventually('the task has spoken', async () =>
      (await platform.mustCf(['logs', 'greeter', '--recent'])).includes('task of hello'),
    );
  });

  it('that cannot be had is told with the reason', async () => {
    const folder = await platform.folder({
      'manifest.yml': JSON.stringify({ applications: [{ name: 'denied', docker: { image: '127.0.0.1:1/none:v1' } }] }),
    });
    folders.push(folder);
    const { exit_status, output } = await platform.cf(['push'], { cwd: folder });
    assert.notEqual(exit_status, 0);
    assert.match(output, /the registry 127\.0\.0\.1:1 cannot be reached/);
    const half = await platform.cf(['push', 'denied', '-o', image(), ...login], {
      cwd: folder,
      env: { CF_DOCKER_PASSWORD: '' },
    });
    assert.match(half.output, /CF_DOCKER_PASSWORD not set/);
  });
});
