import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { pack } from 'tar-stream';
import type { SpawnRequest } from '#contracts/warden.ts';
import { testStack } from '#testing/stack.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 128 * MB, disk_in_bytes: 64 * MB };
const REFUSED = new Set(['EPERM', 'EACCES', 'EROFS', 'ENOSYS', 'ENOENT', 'ESRCH', '0']);
const ATTEMPTS = readFileSync(join(import.meta.dirname, 'testing/escapes.py'), 'utf8');
const PAGE = readFileSync(join(import.meta.dirname, '../../docs/container-escapes.md'), 'utf8');
const sh = (script: string, user: 'vcap' | 'root' = 'vcap'): SpawnRequest => ({
  args: ['/bin/sh', '-c', script],
  user,
  cwd: '/tmp',
});

/** What the page says of each way: refused, or the outcome that it names. */
function expected(user: 'vcap' | 'root'): Map<string, string> {
  const rows = PAGE.split('\n').flatMap((line) => {
    const [, name = '', as_vcap = '', as_root = ''] = line.split('|').map((cell) => cell.trim());
    return name === '' || name === 'tried' || name.startsWith('---') ? [] : [{ name, vcap: as_vcap, root: as_root }];
  });
  return new Map(rows.map((row) => [row.name, /`(.+?)`/.exec(row[user])?.[1] ?? row[user]]));
}

describe('nobody gets out of a container', () => {
  let warden: TestWarden;
  let droplet: string;
  let secret: string;
  let handle: string;
  before(async () => {
    const [started, stack] = await Promise.all([TestWarden.start(), testStack()]);
    warden = started;
    droplet = mkdtempSync(join(tmpdir(), 'ingot-droplet-'));
    secret = join(droplet, '../', `ingot-secret-${warden.name}`);
    mkdirSync(secret);
    writeFileSync(join(secret, 'file'), 'of the host');
    const app = join(droplet, 'home/vcap/app');
    mkdirSync(app, { recursive: true });
    copyFileSync(join(stack, 'usr/bin/python3.11'), join(app, 'setuid'));
    chmodSync(join(app, 'setuid'), 0o4755);
    symlinkSync(join(secret, 'file'), join(app, 'absolute'));
    symlinkSync(`../../../../../../../..${join(secret, 'file')}`, join(app, 'relative'));
    execFileSync('mknod', ['-m', '666', join(app, 'null'), 'c', '1', '3']);
    ({ handle } = await warden.client.create({ stack: 'test', layers: [droplet], limits: LIMITS }));
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
    for (const folder of [droplet, secret]) rmSync(folder, { recursive: true, force: true });
  });

  for (const user of ['vcap', 'root'] as const) {
    test(`by any of the known ways, as ${user}`, async () => {
      const args = ['python3', '-c', ATTEMPTS, String(warden.pid)];
      const { stdout, stderr } = await warden.client.run(handle, { args, user, cwd: '/tmp' });
      assert.equal(stderr, '');
      const outcomes = JSON.parse(stdout ?? '') as Record<string, string>;
      const table = expected(user);
      assert.deepEqual(Object.keys(outcomes), [...table.keys()], 'the page has every way that is tried');
      assert.ok(table.size > 50);
      const surprises = Object.entries(outcomes).filter(([name, outcome]) => {
        const wanted = table.get(name);
        return wanted === 'refused' ? !REFUSED.has(outcome) : outcome !== wanted;
      });
      assert.deepEqual(surprises, []);
      assert.equal((await warden.client.info(handle)).state, 'active');
    });
  }

  test('by a setuid program, whoever made it', async () => {
    const script = 'import os; print(os.geteuid())';
    await warden.client.run(
      handle,
      sh('cp /usr/bin/python3.11 /usr/local/bin/up; chmod 4755 /usr/local/bin/up', 'root'),
    );
    for (const program of ['/home/vcap/app/setuid', '/usr/local/bin/up']) {
      const { stdout } = await warden.client.run(handle, { args: [program, '-c', script], cwd: '/' });
      assert.equal(stdout, '2000\n', program);
    }
  });

  test('by a program with file capabilities', async () => {
    const give = `import os, struct, shutil
shutil.copy('/usr/bin/python3.11', '/usr/local/bin/able')
os.setxattr('/usr/local/bin/able', 'security.capability', struct.pack('<IIIII', 0x2000000, 0xffffffff, 0, 0, 0))`;
    const given = await warden.client.run(handle, { args: ['python3', '-c', give], user: 'root', cwd: '/' });
    assert.equal(given.exit_status, 0, given.stderr ?? '');
    const look = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm'))])";
    const { stdout } = await warden.client.run(handle, { args: ['/usr/local/bin/able', '-c', look], cwd: '/' });
    assert.equal(stdout, "['0000000000000000', '0000000000000000']\n");
  });

  test('by links and device nodes in a droplet', async () => {
    for (const user of ['vcap', 'root'] as const) {
      const { stdout, stderr = '' } = await warden.client.run(
        handle,
        sh('cd /home/vcap/app; cat absolute relative; head -c 1 null', user),
      );
      assert.equal(stdout, '');
      assert.equal(stderr.match(/No such file or directory/g)?.length, 2, stderr);
      assert.match(stderr, /null.*Permission denied/);
    }
  });

  test('by links laid for files that are copied in and out', async () => {
    await warden.client.run(handle, sh(`ln -s ${secret} /tmp/in; ln -s ${secret}/file /tmp/out; ln -s / /tmp/root`));
    await assert.rejects(async () => await text(await warden.client.copyOut(handle, '/tmp/in/file')));
    const link = await text(await warden.client.copyOut(handle, '/tmp/root').catch(() => Readable.from([])));
    assert.doesNotMatch(link, /of the host/);
    const tar = pack();
    tar.entry({ name: 'file' }, 'of the container');
    tar.entry({ name: 'up', type: 'symlink', linkname: secret });
    tar.entry({ name: 'up/file' }, 'of the container');
    tar.entry({ name: `../../../../..${secret}/file` }, 'of the container');
    tar.finalize();
    await warden.client.copyIn(handle, '/tmp/in', Readable.from(tar)).catch(() => {});
    assert.equal(readFileSync(join(secret, 'file'), 'utf8'), 'of the host');
  });

  test('by overwriting the programs that enter it', async () => {
    const programs: string[] = ['/usr/bin/crun', '/usr/bin/conmon', join(await testStack(), 'usr/bin/catatonit')];
    const sums = () => programs.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'));
    const before_it = sums();
    // Whoever runs /tmp/me runs what has just entered the container, once more; meanwhile its file is looked for.
    const lurk = `import os, time
open('/tmp/me', 'w').write('#!/proc/self/exe\\n'); os.chmod('/tmp/me', 0o755)
print('ready', flush=True)
def own(fd):
    try: return os.path.samestat(os.stat(os.readlink('/proc/self/fd/%d' % fd)), os.fstat(fd))
    except OSError: return False
mine, written, seen = os.readlink('/proc/self/exe'), 0, 0
end = time.time() + 60
while time.time() < end and not os.path.exists('/tmp/stop'):
    for pid in os.listdir('/proc'):
        if not pid.isdigit(): continue
        fd = None
        try:
            if os.readlink('/proc/%s/exe' % pid) == mine: continue
            seen += 1
            fd = os.open('/proc/%s/exe' % pid, os.O_RDONLY)
            # A program of the container's own is its own to change.
            if own(fd): continue
            os.write(os.open('/proc/self/fd/%d' % fd, os.O_WRONLY), b'x'); written += 1
        except OSError: pass
        finally:
            if fd is not None: os.close(fd)
print(seen > 0, written)`;
    const job_id = await warden.client.spawn(handle, { args: ['python3', '-c', lurk], user: 'root', cwd: '/tmp' });
    for await (const line of warden.client.stream(handle, job_id)) if ('name' in line) break;
    for (let n = 0; n < 20; n++) {
      await warden.client.run(handle, { args: ['/tmp/me'], user: 'root', cwd: '/tmp' }).catch(() => {});
    }
    await warden.client.run(handle, sh('touch /tmp/stop', 'root'));
    await warden.client.link(handle, job_id);
    const lines = await Array.fromAsync(warden.client.stream(handle, job_id));
    const said = lines.flatMap((line) => ('data' in line ? [Buffer.from(line.data, 'base64').toString()] : []));
    assert.deepEqual(said, ['ready', 'True 0']);
    assert.deepEqual(sums(), before_it);
  });
});
