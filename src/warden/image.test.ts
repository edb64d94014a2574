import { strict as assert } from 'node:assert';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WardenError } from '#http/warden-client.ts';
import { testStack } from '#testing/stack.ts';
import { TestWarden } from '#testing/warden.ts';
import { resolveUser } from './user.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
const refusedWith = (code: string) => (error: unknown) => error instanceof WardenError && error.code === code;

describe('an image, layer upon layer and without a stack', () => {
  let warden: TestWarden;
  let folder: string;
  let base: string;
  before(async () => {
    [warden, base] = await Promise.all([TestWarden.start(), testStack()]);
    folder = mkdtempSync(join(tmpdir(), 'ingot-image-'));
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A layer as a registry's tar holds it. */
  async function layer(name: string, files: Record<string, string>): Promise<string> {
    const root = join(folder, name);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    await warden.client.convertLayer(root);
    await warden.client.convertLayer(root); // as after a crash in between
    return root;
  }

  test('shows what its layers add, and not what they take away', async () => {
    const first = await layer('first', { 'srv/old/a': 'a', 'srv/old/b': 'b', 'srv/kept': 'first', 'srv/gone': 'x' });
    const second = await layer('second', {
      'srv/.wh.gone': '',
      'srv/old/.wh..wh..opq': '',
      'srv/old/c': 'c',
      'srv/kept': 'second',
      'srv/.wh.kept': '',
    });
    const { handle } = await warden.client.create({ layers: [base, first, second], limits: LIMITS });
    const script = 'ls -A /srv /srv/old; cat /srv/kept';
    const { stdout } = await warden.client.run(handle, { args: ['/bin/sh', '-c', script], cwd: '/', user: 'root' });
    assert.equal(stdout, '/srv:\nkept\nold\n\n/srv/old:\nc\nsecond');
    await warden.client.destroy(handle);
  });

  test('runs as the user that it names, with the owners that it has on disk', async () => {
    const users = await layer('users', { 'data/own': 'mine' });
    chownSync(join(users, 'data/own'), 33, 33);
    chmodSync(join(users, 'data/own'), 0o600);
    const { handle } = await warden.client.create({ layers: [base, users], limits: LIMITS });
    const run = async (user: string) =>
      await warden.client.run(handle, {
        args: ['/bin/sh', '-c', 'id -u; id -g; echo $HOME; cat /data/own'],
        cwd: '/data',
        user,
      });
    assert.equal((await run('www-data')).stdout, '33\n33\n/var/www\nmine');
    assert.equal((await run('33:0')).stdout, '33\n0\n/var/www\nmine');
    assert.equal((await run('4711')).stdout, '4711\n0\n/\n');
    assert.equal((await run('root')).stdout, '0\n0\n/root\nmine');
    await assert.rejects(run('nobody-known'), refusedWith('invalid_request'));
    await warden.client.destroy(handle);
  });

  test('needs neither a shell nor any file but its program', async () => {
    const bare = await layer('bare', { 'app/README': '' });
    copyFileSync(join(base, 'usr/bin/catatonit'), join(bare, 'app/server'));
    chmodSync(join(bare, 'app/server'), 0o755);
    const { handle } = await warden.client.create({ layers: [bare], limits: LIMITS });
    const { exit_status, stdout } = await warden.client.run(handle, {
      args: ['./server', '--version'],
      cwd: '/app',
      user: '1000:1000',
    });
    assert.equal(exit_status, 0);
    assert.match(`${stdout}`, /catatonit/);
    await warden.client.destroy(handle);
  });

  test('may have as many layers as images have', async () => {
    const layers = [base];
    for (let n = 0; n < 127; n++) layers.push(await layer(`many-${n}`, { [`many/${n}`]: '' }));
    const { handle } = await warden.client.create({ layers, limits: LIMITS });
    const { stdout } = await warden.client.run(handle, { args: ['/bin/sh', '-c', 'ls /many | wc -l'], cwd: '/' });
    assert.equal(stdout, '127\n');
    await warden.client.destroy(handle);
  });

  test('is refused when it has no layer, or one that is not there', async () => {
    await assert.rejects(warden.client.create({ limits: LIMITS }), refusedWith('invalid_request'));
    await assert.rejects(warden.client.create({ layers: ['/nowhere'], limits: LIMITS }), refusedWith('path_not_found'));
    await assert.rejects(warden.client.convertLayer('/nowhere'), refusedWith('path_not_found'));
  });

  test('that makes its table of users a link to elsewhere gets no names from there', async () => {
    const { handle } = await warden.client.create({ layers: [base], limits: LIMITS });
    const swap = 'rm /etc/passwd && ln -s /etc/hostname /etc/passwd';
    await warden.client.run(handle, { args: ['/bin/sh', '-c', swap], user: 'root', cwd: '/' });
    await assert.rejects(
      warden.client.run(handle, { args: ['/bin/true'], user: 'daemon' }),
      refusedWith('invalid_request'),
    );
    await warden.client.destroy(handle);
  });
});

test('USER is read as images write it', () => {
  const tables = {
    passwd: [
      ['web', 'x', '100', '101', '', '/srv', '/bin/sh'],
      ['bare', 'x', '7', '8', '', '', ''],
    ],
    group: [
      ['web', 'x', '101', ''],
      ['extra', 'x', '200', 'web,bare'],
    ],
  };
  const cases: [string, [string, number, number, number[], string]][] = [
    ['web', ['web', 100, 101, [200], '/srv']],
    ['100', ['web', 100, 101, [200], '/srv']],
    ['web:extra', ['web', 100, 200, [], '/srv']],
    ['web:0', ['web', 100, 0, [], '/srv']],
    ['bare', ['bare', 7, 8, [200], '/']],
    ['3000', ['3000', 3000, 0, [], '/']],
    ['3000:3001', ['3000', 3000, 3001, [], '/']],
  ];
  for (const [text, [name, uid, gid, additional_gids, home]] of cases) {
    assert.deepEqual(resolveUser(text, tables), { name, uid, gid, additional_gids, home }, text);
  }
  for (const bad of ['', ':0', 'nobody', 'web:nobody', '70000', '-1', 'web:70000']) {
    assert.throws(() => resolveUser(bad, tables), refusedWith('invalid_request'), bad);
  }
});
