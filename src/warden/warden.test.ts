import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test, type TestContext } from 'node:test';
import { extract, pack } from 'tar-stream';
import type { CreateRequest, JobOutput, SpawnRequest } from '#contracts/warden.ts';
import { WardenError } from '#http/warden-client.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
const sh = (script: string, more: Partial<SpawnRequest> = {}): SpawnRequest => ({
  args: ['/bin/sh', '-c', script],
  ...more,
});
const refusedWith = (code: string) => (error: unknown) => error instanceof WardenError && error.code === code;

describe('a warden', () => {
  let warden: TestWarden;
  before(async () => {
    warden = await TestWarden.start();
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
  });

  async function create(request: Partial<CreateRequest> = {}) {
    return await warden.client.create({ stack: 'test', limits: LIMITS, ...request });
  }

  async function collect(handle: string, job_id: string, offset = 0) {
    const lines: JobOutput[] = [];
    for await (const line of warden.client.stream(handle, job_id, offset)) lines.push(line);
    return lines;
  }

  test('runs a command as vcap and gives what it wrote and how it ended', async () => {
    const { handle } = await create();
    const result = await warden.client.run(handle, sh('id -un; pwd; echo oops >&2; exit 3'));
    assert.deepEqual(result, { exit_status: 3, oom: false, stdout: 'vcap\n/home/vcap\n', stderr: 'oops\n' });
    await warden.client.destroy(handle);
  });

  test('lists what it holds, with the properties of each, and forgets what is destroyed', async () => {
    const { handle } = await create({ properties: { app: 'welcome' } });
    assert.deepEqual(
      (await warden.client.list()).find((entry) => entry.handle === handle),
      { handle, properties: { app: 'welcome' } },
    );
    await warden.client.destroy(handle);
    assert.equal(
      (await warden.client.list()).some((entry) => entry.handle === handle),
      false,
    );
    await assert.rejects(warden.client.info(handle), refusedWith('container_not_found'));
    await assert.rejects(warden.client.destroy(handle), refusedWith('container_not_found'));
  });

  test('streams output line by line, and again from any line on', async () => {
    const { handle } = await create();
    const job_id = await warden.client.spawn(handle, sh('for n in 1 2 3; do echo line $n; done; printf rest; exit 7'));
    const lines = await collect(handle, job_id);
    const text = lines.map((line) => ('name' in line ? Buffer.from(line.data, 'base64').toString() : line.exit_status));
    assert.deepEqual(text, ['line 1', 'line 2', 'line 3', 'rest', 7]);
    const second = lines[1];
    assert.ok(second && 'offset' in second);
    assert.deepEqual(await collect(handle, job_id, second.offset), lines.slice(2));
    await warden.client.destroy(handle);
  });

  test('links any number of callers to a job, while it runs and long after', async () => {
    const { handle } = await create();
    const job_id = await warden.client.spawn(handle, sh('read x < /dev/null; sleep 0.3; exit 9'));
    const early = await Promise.all([warden.client.link(handle, job_id), warden.client.link(handle, job_id)]);
    const late = await warden.client.link(handle, job_id);
    assert.deepEqual(
      [...early, late].map((result) => result.exit_status),
      [9, 9, 9],
    );
    await warden.client.destroy(handle);
  });

  test('gives a signal to a job, which ends by it', async () => {
    const { handle } = await create();
    const job_id = await warden.client.spawn(handle, sh('sleep 1000'));
    await warden.client.signal(handle, job_id, 'TERM');
    assert.equal((await warden.client.link(handle, job_id)).exit_status, 143);
    await warden.client.signal(handle, job_id, 'TERM');
    await warden.client.destroy(handle);
  });

  test('stops by TERM what heeds it, and by KILL what does not', async () => {
    const { handle } = await create();
    const heeding = await warden.client.spawn(handle, sh('trap "echo bye; exit 5" TERM; while :; do sleep 0.05; done'));
    const deaf = await warden.client.spawn(handle, sh('trap "" TERM; echo deaf; while :; do sleep 0.05; done'));
    for await (const line of warden.client.stream(handle, deaf)) if ('name' in line) break;
    await eventually('both trap', async () => (await warden.client.info(handle)).pids >= 3);
    await warden.client.stop(handle, { grace_s: 1 });
    assert.equal((await warden.client.link(handle, heeding)).exit_status, 5);
    assert.equal((await warden.client.link(handle, deaf)).exit_status, 137);
    assert.equal((await warden.client.info(handle)).state, 'stopped');
    await assert.rejects(warden.client.spawn(handle, sh('true')), refusedWith('container_state'));
    await warden.client.destroy(handle);
  });

  test('maps ports of the host to ports of the container, at create and later', async () => {
    const { handle, ports, container_ip } = await create({ net_in: [{ container_port: 8080 }] });
    const [mapping] = ports;
    assert.ok(mapping);
    const serve = (port: number) => sh(`while :; do echo from ${port} | nc -l -N -p ${port}; done`);
    await warden.client.spawn(handle, serve(8080));
    const later = await warden.client.netIn(handle, {});
    assert.equal(later.container_port, later.host_port);
    await warden.client.spawn(handle, serve(later.container_port));
    for (const [host, port, text] of [
      ['127.0.0.1', mapping.host_port, 'from 8080\n'],
      [container_ip, 8080, 'from 8080\n'],
      ['127.0.0.1', later.host_port, `from ${later.host_port}\n`],
    ] as const) {
      assert.equal(await eventually(`${host}:${port} answers`, async () => await readFrom(host, port)), text);
    }
    assert.deepEqual((await warden.client.info(handle)).ports, [mapping, later]);
    await warden.client.destroy(handle);
  });

  test('lays layers over the stack, read-only on the host, with the owners that they have on disk', async (t) => {
    const layer = await temporaryFolder(t);
    await mkdir(join(layer, 'home/vcap/app'), { recursive: true });
    await writeFile(join(layer, 'home/vcap/app/index'), 'hello');
    for (const path of ['home/vcap', 'home/vcap/app', 'home/vcap/app/index'])
      await chown(join(layer, path), 2000, 2000);
    const { handle } = await create({ layers: [layer] });
    const result = await warden.client.run(
      handle,
      sh('stat -c %U app/index; cat app/index; echo mine > app/index; cat app/index'),
    );
    assert.equal(result.stdout, 'vcap\nhellomine\n');
    assert.equal(await readFile(join(layer, 'home/vcap/app/index'), 'utf8'), 'hello');
    await warden.client.destroy(handle);
  });

  test('binds folders of the host into the container, to read or to write as is said', async (t) => {
    const [given, shared] = [await temporaryFolder(t), await temporaryFolder(t)];
    await writeFile(join(given, 'file'), 'given');
    await chown(shared, 2000, 2000);
    const { handle } = await create({
      bind_mounts: [
        { src_path: given, dst_path: '/mnt/given', mode: 'ro' },
        { src_path: shared, dst_path: '/mnt/shared', mode: 'rw' },
      ],
    });
    const script = 'cat /mnt/given/file > /mnt/shared/copy; echo x > /mnt/given/file; touch /mnt/given/new';
    const result = await warden.client.run(handle, sh(script));
    assert.notEqual(result.exit_status, 0);
    assert.equal(await readFile(join(shared, 'copy'), 'utf8'), 'given');
    assert.deepEqual(await readdir(given), ['file']);
    const asRoot = await warden.client.run(handle, sh('touch /mnt/given/new', { user: 'root' }));
    assert.notEqual(asRoot.exit_status, 0);
    await warden.client.destroy(handle);
  });

  test('mounts an image once for all containers that share it, and keeps what they wrote', async (t) => {
    const image = join(await temporaryFolder(t), 'volume.img');
    await writeFile(image, '');
    await truncate(image, 16 * MB);
    execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'root_owner=2000:2000', image]);
    const bind = { src_path: image, dst_path: '/data', image: true } as const;
    const one = await create({ bind_mounts: [{ ...bind, mode: 'rw' }] });
    const other = await create({ bind_mounts: [{ ...bind, mode: 'ro' }] });
    assert.equal(
      (await warden.client.run(one.handle, sh('echo kept > /data/file; stat -c %U /data/file'))).stdout,
      'vcap\n',
    );
    const seen = await warden.client.run(
      other.handle,
      sh('cat /data/file; stat -c %U /data/file; echo x > /data/file'),
    );
    assert.equal(seen.stdout, 'kept\nvcap\n');
    assert.notEqual(seen.exit_status, 0, 'it reads only');
    const full = await warden.client.run(one.handle, sh('head -c 32M /dev/zero > /data/much'));
    assert.match(full.stderr ?? '', /No space left/);
    await warden.client.destroy(one.handle);
    assert.equal((await warden.client.run(other.handle, sh('cat /data/file'))).stdout, 'kept\n');
    await warden.client.destroy(other.handle);
    assert.equal(execFileSync('losetup', ['--associated', image]).toString(), '', 'nobody has it mounted');
    const next = await create({ bind_mounts: [{ ...bind, mode: 'rw' }] });
    assert.equal((await warden.client.run(next.handle, sh('cat /data/file'))).stdout, 'kept\n');
    await warden.client.destroy(next.handle);
    await writeFile(image, 'no file system');
    await assert.rejects(create({ bind_mounts: [{ ...bind, mode: 'rw' }] }), refusedWith('create_failed'));
  });

  test('copies files in and out, and says when there are none', async () => {
    const { handle } = await create();
    const tar = pack();
    tar.entry({ name: 'folder/file' }, 'content');
    tar.finalize();
    await warden.client.copyIn(handle, '/home/vcap/in', Readable.from(tar));
    assert.equal(
      (await warden.client.run(handle, sh('stat -c %U in/folder/file; cat in/folder/file'))).stdout,
      'vcap\ncontent',
    );
    const found: Record<string, string> = {};
    const out = await warden.client.copyOut(handle, '/home/vcap/in');
    for await (const entry of out.pipe(extract())) {
      found[entry.header.name] = '';
      for await (const chunk of entry) found[entry.header.name] += String(chunk);
    }
    assert.deepEqual(found, { 'in/': '', 'in/folder/': '', 'in/folder/file': 'content' });
    await assert.rejects(warden.client.copyOut(handle, '/nowhere'), refusedWith('path_not_found'));
    await assert.rejects(warden.client.copyIn(handle, '/etc/x', Readable.from([])), refusedWith('path_not_found'));
    await assert.rejects(
      warden.client.copyIn(handle, '/home/vcap', Readable.from(['no tar'])),
      refusedWith('invalid_request'),
    );
    await warden.client.destroy(handle);
  });

  test('creates many containers at once, none of which shares ids, address or ports with another', async () => {
    const created = await Promise.all(Array.from({ length: 8 }, () => create({ net_in: [{ container_port: 80 }] })));
    const ids = await Promise.all(
      created.map(async ({ handle }) => (await warden.client.run(handle, sh('cat /proc/self/uid_map'))).stdout),
    );
    const [addresses, ports] = [created.map((c) => c.container_ip), created.map((c) => c.ports[0]?.host_port)];
    for (const values of [ids, addresses, ports]) {
      assert.equal(new Set<unknown>(values).size, created.length);
    }
    await Promise.all(created.map(async ({ handle }) => await warden.client.destroy(handle)));
  });

  test('refuses malformed requests with a reason, and stays as it was', async () => {
    const cases: [() => Promise<unknown>, string][] = [
      [async () => await create({ stack: 'none' }), 'path_not_found'],
      [async () => await create({ layers: ['/no/such/folder'] }), 'path_not_found'],
      [async () => await create({ handle: '../x' }), 'invalid_request'],
      [
        async () => await create({ net_out: [{ protocol: 'tcp', destination: 'nonsense', ports: '80' }] }),
        'invalid_request',
      ],
      [
        async () => await create({ net_out: [{ protocol: 'tcp', destination: '1.1.1.1', ports: '80; drop' }] }),
        'invalid_request',
      ],
      [async () => await create({ net_in: [{ host_port: 80, container_port: 80 }] }), 'invalid_request'],
      [async () => await create({ limits: { ...LIMITS, memory_in_bytes: -1 } }), 'invalid_request'],
      [async () => await warden.client.spawn('none', sh('true')), 'container_not_found'],
    ];
    for (const [call, code] of cases) await assert.rejects(call(), refusedWith(code));
    const { handle } = await create();
    await assert.rejects(create({ handle }), refusedWith('handle_taken'));
    await assert.rejects(warden.client.link(handle, 'none'), refusedWith('job_not_found'));
    await assert.rejects(warden.client.spawn(handle, { args: ['/no/such/program'] }), refusedWith('spawn_failed'));
    assert.deepEqual((await warden.client.info(handle)).job_ids, []);
    await warden.client.destroy(handle);
    assert.deepEqual(await warden.client.list(), []);
  });

  test('loses no container, output or exit status when its daemon is killed', async () => {
    const { handle, ports } = await create({ net_in: [{ container_port: 8080 }], properties: { a: 'b' } });
    const short = await warden.client.spawn(handle, sh('echo before; sleep 1; echo meanwhile; exit 42'));
    const long = await warden.client.spawn(handle, sh('while :; do echo up | nc -l -N -p 8080; done'));
    await warden.kill();
    const port = ports[0]?.host_port ?? 0;
    assert.equal(await eventually('it serves without a daemon', async () => await readFrom('127.0.0.1', port)), 'up\n');
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await warden.resume();
    const text = (await collect(handle, short)).map((line) =>
      'name' in line ? Buffer.from(line.data, 'base64').toString() : line.exit_status,
    );
    assert.deepEqual(text, ['before', 'meanwhile', 42]);
    const info = await warden.client.info(handle);
    assert.deepEqual([info.state, info.properties, info.ports], ['active', { a: 'b' }, ports]);
    assert.deepEqual(new Set(info.job_ids), new Set([short, long]));
    assert.equal(await eventually('it serves still', async () => await readFrom('127.0.0.1', port)), 'up\n');
    assert.equal((await warden.client.run(handle, sh('echo new'))).stdout, 'new\n');
    await warden.client.stop(handle, { kill: true });
    assert.equal((await warden.client.link(handle, long)).exit_status, 137);
    await warden.client.destroy(handle);
  });
});

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ingot-layer-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  // Unprivileged users of the container walk through it.
  await chmod(folder, 0o755);
  return folder;
}

/** All that a TCP server says until it closes; undefined when it can't be reached or says nothing. */
async function readFrom(host: string, port: number): Promise<string | undefined> {
  const socket = connect({ host, port, timeout: 2000 });
  socket.once('timeout', () => socket.destroy());
  try {
    return (await text(socket)) || undefined;
  } catch {
    return undefined;
  }
}
