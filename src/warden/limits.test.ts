import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ContainerLimits, SpawnRequest } from '#contracts/warden.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';
import { groupPaths } from './cgroup.ts';
import { cgroupsOf } from './testing/remains.ts';

const MB = 1024 * 1024;
const sh = (script: string, more: Partial<SpawnRequest> = {}): SpawnRequest => ({
  args: ['/bin/sh', '-c', script],
  ...more,
});
const python = (script: string): SpawnRequest => ({ args: ['python3', '-c', script] });

for (const backend of ['btrfs', 'loop'] as const) {
  describe(`disks on ${backend}`, () => {
    let warden: TestWarden;
    before(async () => {
      warden = await TestWarden.start({ disk_store: { size_mb: 1024, backend } });
    });
    after(async () => {
      await warden[Symbol.asyncDispose]();
    });

    test('a container that fills its disk is told so, and its neighbour feels nothing', async () => {
      const limits = { memory_in_bytes: 128 * MB, disk_in_bytes: 32 * MB };
      const greedy = await warden.client.create({ stack: 'test', limits });
      const modest = await warden.client.create({ stack: 'test', limits });
      const filled = await warden.client.run(greedy.handle, sh('dd if=/dev/zero of=big bs=1M count=64'));
      assert.match(filled.stderr ?? '', /No space left on device|Disk quota exceeded/);
      const written = await warden.client.run(modest.handle, sh('dd if=/dev/zero of=big bs=1M count=16 && sync big'));
      assert.equal(written.exit_status, 0, `${written.stderr}`);
      const used = async (handle: string) => (await warden.client.info(handle)).disk_stat;
      // btrfs counts when it commits, every 5 s.
      await eventually('what is written is counted', async () => (await used(modest.handle)).bytes_used >= 16 * MB);
      assert.ok((await used(greedy.handle)).bytes_used <= 32 * MB);
      assert.equal((await used(greedy.handle)).bytes_limit, 32 * MB);
      const grow = warden.client.limit(greedy.handle, { disk_in_bytes: 64 * MB });
      if (backend === 'loop') {
        await assert.rejects(grow, /its size is for good/);
      } else {
        await grow;
        const more = await warden.client.run(greedy.handle, sh('dd if=/dev/zero of=more bs=1M count=16 && sync more'));
        assert.equal(more.exit_status, 0, `${more.stderr}`);
      }
      for (const { handle } of [greedy, modest]) await warden.client.destroy(handle);
    });

    test('a container that makes files without end is told so, and its neighbour makes its own', async () => {
      const limits = { memory_in_bytes: 128 * MB, disk_in_bytes: 4 * MB };
      const greedy = await warden.client.create({ stack: 'test', limits });
      const modest = await warden.client.create({ stack: 'test', limits });
      const make = "import os\nos.mkdir('many')\nfor n in range(300000): open('many/%d' % n, 'w').close()";
      const filled = await warden.client.run(greedy.handle, python(make));
      assert.match(filled.stderr ?? '', /No space left on device|Disk quota exceeded/);
      const made = await warden.client.run(modest.handle, sh('for n in $(seq 200); do : > file-$n; done; ls | wc -l'));
      assert.ok(Number(made.stdout) >= 200, made.stderr ?? '');
      for (const { handle } of [greedy, modest]) await warden.client.destroy(handle);
    });
  });
}

describe('limits', () => {
  let warden: TestWarden;
  before(async () => {
    warden = await TestWarden.start({ job_log_keep_mb: 1 });
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
  });

  async function create(limits: Partial<ContainerLimits>) {
    const all = { memory_in_bytes: 128 * MB, disk_in_bytes: 64 * MB, ...limits };
    return (await warden.client.create({ stack: 'test', limits: all })).handle;
  }

  test('a job that takes more memory than the container has is killed, and the exit says why', async () => {
    const handle = await create({ memory_in_bytes: 32 * MB });
    const result = await warden.client.run(handle, python('x = bytearray(200 << 20); print(len(x))'));
    assert.deepEqual([result.exit_status, result.oom, result.stdout], [137, true, '']);
    assert.deepEqual((await warden.client.info(handle)).events, ['out of memory']);
    const next = await warden.client.run(handle, sh('echo fine'));
    assert.deepEqual([next.exit_status, next.oom], [0, false]);
    await warden.client.destroy(handle);
  });

  test('a fork bomb finds its end in the limit of processes', async () => {
    const handle = await create({ pids: 40 });
    const bomb = 'import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.001)';
    const job_id = await warden.client.spawn(handle, python(bomb));
    await eventually('the limit is reached', async () => (await warden.client.info(handle)).pids >= 30);
    assert.ok((await warden.client.info(handle)).pids <= 40);
    await warden.client.stop(handle, { kill: true });
    assert.notEqual((await warden.client.link(handle, job_id)).exit_status, 0);
    await warden.client.destroy(handle);
  });

  test('open files are limited by the container and by the job', async () => {
    const handle = await create({ nofile: 512 });
    const count = async (rlimits: SpawnRequest['rlimits']) =>
      (await warden.client.run(handle, sh('ulimit -n; ulimit -Hn', { rlimits }))).stdout;
    assert.equal(await count({}), '512\n512\n');
    assert.equal(await count({ nofile: 100 }), '100\n100\n');
    await warden.client.destroy(handle);
  });

  test('disk traffic has the weight that was asked for, or it is told why it has none', async () => {
    const handle = await create({ io_weight: 10 });
    const before = (await warden.client.info(handle)).io_stat;
    assert.equal((await warden.client.limit(handle, { io_weight: 20 })).io_weight, 20);
    const { weight, note } = (await warden.client.info(handle)).io_stat;
    if (weight === null) assert.match(note ?? '', /no I\/O weights/);
    else assert.deepEqual([before.weight, weight], [10, 20]);
    await warden.client.destroy(handle);
  });

  test('background containers weigh little as one group beside that of all others, however much each of them asks for', async () => {
    const limits = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB, cpu_shares: 1024 };
    const [front, behind] = [`front-${warden.name}`, `behind-${warden.name}`];
    await warden.client.create({ handle: front, stack: 'test', limits });
    await warden.client.create({ handle: behind, stack: 'test', limits, is_background: true });
    const [group, background] = groupPaths(warden.name);
    const version = existsSync('/sys/fs/cgroup/cpu') ? 1 : 2;
    const weight = (path: string): string =>
      readFileSync(
        version === 1 ? `/sys/fs/cgroup/cpu/${path}/cpu.shares` : `/sys/fs/cgroup/${path}/cpu.weight`,
        'utf8',
      ).trim();
    assert.deepEqual([weight(group), weight(background)], version === 1 ? ['1024', '64'] : ['100', '3']);
    assert.equal(weight(`${background}/${behind}`), weight(`${group}/${front}`));
    const { cpu_stat, pids } = await warden.client.info(behind);
    assert.ok(cpu_stat.usage_ns > 0 && pids === 1, 'it is looked up where it is');
    await warden.kill();
    await warden.resume();
    assert.equal((await warden.client.run(behind, sh('echo on'))).stdout, 'on\n');
    for (const handle of [front, behind]) await warden.client.destroy(handle);
    assert.deepEqual(cgroupsOf(warden.name), []);
  });

  test('a cap on CPU throttles, and shares are what was asked for', async () => {
    // So small a cap that it is reached on a machine that has other work as well.
    const handle = await create({ cpu_quota: 0.02, cpu_shares: 512 });
    await warden.client.run(handle, sh('i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done'));
    const { usage_ns, throttled_ns } = (await warden.client.info(handle)).cpu_stat;
    assert.ok(throttled_ns > 0, `${usage_ns} ns of CPU without a pause`);
    assert.equal((await warden.client.limit(handle)).cpu_shares, 512);
    await warden.client.destroy(handle);
  });

  test('a job that writes without end takes no more of the disk than is kept, and its newest lines can be read', async () => {
    const handle = await create({});
    const job_id = await warden.client.spawn(handle, sh('seq -f "line %012.0f of a long log" 1 800000; echo last'));
    await warden.client.link(handle, job_id);
    const lines = [];
    for await (const line of warden.client.stream(handle, job_id)) if ('name' in line) lines.push(line);
    assert.equal(Buffer.from(lines.at(-1)?.data ?? '', 'base64').toString(), 'last');
    assert.ok(lines.length < 400_000, `${lines.length} lines are kept`);
    const log = statSync(join(warden.depot, 'containers', handle, 'jobs', job_id, 'log'));
    assert.ok(log.size > 40 * MB && log.blocks * 512 < 8 * MB, `${log.size} bytes, ${log.blocks} blocks`);
    await warden.client.destroy(handle);
  });

  test('a limit of bandwidth holds in both directions, and can be raised', async () => {
    const handle = await create({ bandwidth: { rate: MB, burst: 65_536 } });
    const { container_ip } = await warden.client.info(handle);
    const seconds = async (script: string, bytes: number) => {
      const job_id = await warden.client.spawn(handle, sh(script));
      const socket = await eventually('it listens', async () => await tryConnect(container_ip, 8080));
      const began = performance.now();
      // nc gives up sending when the other side has nothing more to say.
      if (bytes > 0) socket.end(Buffer.alloc(bytes));
      socket.resume();
      await Promise.all([once(socket, 'close'), warden.client.link(handle, job_id)]);
      return (performance.now() - began) / 1000;
    };
    const receive = 'nc -l -p 8080 | wc -c';
    const send = 'head -c 2097152 /dev/zero | nc -l -N -p 8080 > /dev/null';
    // A floor alone: a busy machine only makes it slower.
    assert.ok((await seconds(receive, 2 * MB)) > 1.5, 'what it receives');
    assert.ok((await seconds(send, 0)) > 1.5, 'what it sends');
    const { bandwidth } = await warden.client.limit(handle, { bandwidth: { rate: 500 * MB, burst: MB } });
    assert.deepEqual(bandwidth, { rate: 500 * MB, burst: MB });
    await warden.client.destroy(handle);
  });

  test('limits change while the container runs, up and down, and are what info says', async () => {
    const handle = await create({ memory_in_bytes: 64 * MB });
    const eat = (megabytes: number) => python(`x = bytearray(${megabytes} << 20)`);
    assert.equal((await warden.client.run(handle, eat(100))).oom, true);
    const after = await warden.client.limit(handle, { memory_in_bytes: 256 * MB, pids: 99 });
    assert.deepEqual([after.memory_in_bytes, after.pids, after.disk_in_bytes], [256 * MB, 99, 64 * MB]);
    assert.equal((await warden.client.run(handle, eat(100))).exit_status, 0);
    assert.equal((await warden.client.info(handle)).memory_stat.limit, 256 * MB);
    await warden.client.limit(handle, { memory_in_bytes: 64 * MB });
    assert.equal((await warden.client.run(handle, eat(100))).oom, true);
    assert.deepEqual((await warden.client.limit(handle)).memory_in_bytes, 64 * MB);
    await warden.client.destroy(handle);
  });
});

async function tryConnect(host: string, port: number): Promise<Socket | undefined> {
  const socket = connect(port, host);
  try {
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined;
  }
}
