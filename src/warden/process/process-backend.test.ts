import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { readTarFiles } from '#archive/read-tar.ts';
import { FRAME } from '#contracts/attach.ts';
import { FrameReader, framesOf } from '#http/frames.ts';
import { WardenError } from '#http/warden-client.ts';
import { tarOf } from '#testing/image-registry.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';
import { placeOf, placesIn } from './places.ts';

const limits = { memory_in_bytes: 64 << 20, disk_in_bytes: 64 << 20 };

describe(
  'a warden that isolates nothing',
  { skip: process.getuid?.() === 0 ? false : "TestWarden's way needs root" },
  () => {
    let warden: TestWarden;
    before(async () => (warden = await TestWarden.start({ backend: 'process' })));
    after(async () => await warden[Symbol.asyncDispose]());
    const sh = (script: string) => ({ args: ['/bin/sh', '-c', script] });
    const refused = (code: string, message: RegExp) => (error: unknown) => {
      assert.ok(error instanceof WardenError, String(error));
      assert.match(`${error.code}: ${error.message}`, new RegExp(`^${code}: .*${message.source}`));
      return true;
    };
    const none = refused('invalid_request', /the backend "process" .*development only/);

    it('says so, loudly, at each start', async () => {
      const line = (await warden.log()).split('\n').find((text) => text.includes('NO ISOLATION')) ?? '';
      assert.equal((JSON.parse(line) as { level: string }).level, 'warn');
    });

    it('runs processes in a folder that stands for /home/vcap and /tmp', async () => {
      const { handle } = await warden.client.create({ stack: 'test', limits, properties: { of: 'test' } });
      assert.deepEqual(
        (await warden.client.list()).filter((one) => one.handle === handle),
        [{ handle, properties: { of: 'test' } }],
      );
      const env = ['HOME=/home/vcap/app', 'TMPDIR=/tmp'];
      const ran = await warden.client.run(handle, {
        ...sh('mkdir $HOME; echo hi >$HOME/a; cat /home/vcap/app/a; id -u; echo no >&2; exit 3'),
        env,
      });
      assert.deepEqual(ran, { exit_status: 3, oom: false, stdout: 'hi\n2000\n', stderr: 'no\n' });
      const { stdout } = await warden.client.run(handle, { ...sh('pwd; echo $TMPDIR'), env, cwd: '/home/vcap/app' });
      const root = join(warden.depot, 'processes', handle, 'root');
      assert.equal(stdout, `${root}/home/vcap/app\n${root}/tmp\n`);
      await warden.client.destroy(handle);
      assert.equal(existsSync(root), false);
      await assert.rejects(warden.client.info(handle), refused('container_not_found', /no container/));
    });

    it('gives each container ports of its own, tells output from where one left off, and stops with grace', async () => {
      const { handle, ports, container_ip } = await warden.client.create({
        stack: 'test',
        limits,
        net_in: [{ container_port: 8080 }],
      });
      assert.equal(container_ip, '127.0.0.1');
      assert.equal(ports[0]?.container_port, ports[0]?.host_port);
      assert.notDeepEqual(await warden.client.netIn(handle), ports[0]);
      const job_id = await warden.client.spawn(
        handle,
        sh('trap "echo bye; exit 0" TERM; echo one; echo two; while :; do sleep 0.05; done 2>/dev/null'),
      );
      const first = [];
      for await (const line of warden.client.stream(handle, job_id))
        if ('name' in line && first.push(line) === 2) break;
      const info = await warden.client.info(handle);
      assert.equal(info.state, 'active');
      assert.ok(info.pids >= 1 && info.memory_stat.rss > 0);
      await warden.client.stop(handle);
      assert.deepEqual(await warden.client.link(handle, job_id), { exit_status: 0, oom: false });
      const rest = await Array.fromAsync(warden.client.stream(handle, job_id, first[0]?.offset));
      assert.deepEqual(
        rest
          .filter((line) => !('name' in line) || line.name === 'stdout')
          .map((line) => ('name' in line ? Buffer.from(line.data, 'base64').toString() : line.exit_status)),
        ['two', 'bye', 0],
      );
      await assert.rejects(warden.client.spawn(handle, sh('true')), refused('container_state', /is stopped/));
      await warden.client.destroy(handle);
    });

    it('takes files in and gives them out, by links no further than its user may go', async () => {
      const { handle } = await warden.client.create({ stack: 'test', limits });
      await warden.client.copyIn(handle, '/tmp/app', Readable.from([await tarOf([{ name: 'a/b', text: 'x' }])]));
      const files = await readTarFiles(await warden.client.copyOut(handle, '/tmp/app'), 1 << 20);
      assert.equal(String(files.get('app/a/b')), 'x');
      await assert.rejects(warden.client.copyOut(handle, '/tmp/none'), refused('path_not_found', /no \/tmp\/none/));
      await assert.rejects(
        warden.client.copyIn(handle, '/root/x', Readable.from([await tarOf([])])),
        refused('path_not_found', /Permission/),
      );
      await warden.client.destroy(handle);
    });

    it('refuses what it cannot do, and says why', async () => {
      await assert.rejects(warden.client.create({ layers: [warden.folder], limits }), none);
      const bind_mounts = [{ src_path: warden.folder, dst_path: '/opt/x', mode: 'ro' as const }];
      await assert.rejects(warden.client.create({ stack: 'test', bind_mounts, limits }), none);
      await assert.rejects(warden.client.create({ stack: 'none', limits }), refused('path_not_found', /no stack none/));
      await assert.rejects(warden.client.convertLayer(warden.folder), none);
      const { handle } = await warden.client.create({ stack: 'test', limits });
      await assert.rejects(warden.client.limit(handle, { pids: 5 }), none);
      assert.equal((await warden.client.limit(handle)).memory_in_bytes, limits.memory_in_bytes);
      await assert.rejects(warden.client.netOut(handle, []), none);
      await assert.rejects(warden.client.spawn(handle, { args: ['/none'] }), refused('spawn_failed', /\/none/));
      await assert.rejects(
        warden.client.dial(handle, { host: '127.0.0.1', port: 1 }),
        refused('path_not_found', /REFUSED/),
      );
      const socket = await warden.client.attach(handle);
      const frames = await Array.fromAsync(framesOf(socket, new FrameReader()));
      assert.deepEqual(
        frames.map(({ kind }) => kind),
        [FRAME.error],
      );
      await warden.client.destroy(handle);
    });

    it('ends what a killed daemon left, before anything else', async () => {
      const { handle } = await warden.client.create({ stack: 'test', limits });
      await warden.client.spawn(handle, sh('exec sleep 98765'));
      const sleeping = () =>
        execFileSync('ps', ['-A', '-o', 'args='])
          .toString()
          .split('\n')
          .filter((line) => line === 'sleep 98765').length;
      assert.equal(sleeping(), 1);
      await warden.kill();
      assert.equal(sleeping(), 1);
      await warden.resume();
      assert.deepEqual(await warden.client.list(), []);
      await eventually('its process is gone', () => sleeping() === 0);
    });
  },
);

describe('places of a container without isolation', () => {
  it('are those of its own folder, and only those', () => {
    assert.deepEqual(
      ['/home/vcap', '/home/vcap/app', '/tmp', '/tmpfile', '/home/vcapx', '/usr/bin'].map((path) =>
        placeOf('/r', path),
      ),
      ['/r/home/vcap', '/r/home/vcap/app', '/r/tmp', '/tmpfile', '/home/vcapx', '/usr/bin'],
    );
  });

  it('are put into texts where they stand as paths', () => {
    const text = '/tmp:/home/vcap/deps "/tmp/x" a=/tmp b/tmp ${X}/tmp https://h/tmp /var/tmp /tmp-y; cd /home/vcap';
    const put =
      '/r/tmp:/r/home/vcap/deps "/r/tmp/x" a=/r/tmp b/tmp ${X}/tmp https://h/tmp /var/tmp /tmp-y; cd /r/home/vcap';
    assert.equal(placesIn('/r', text), put);
  });
});
