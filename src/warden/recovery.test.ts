import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SpawnRequest } from '#contracts/warden.ts';
import { WardenError, WardenUnreachable } from '#http/warden-client.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';
import { systemClock } from '#kernel/clock.ts';
import { removeWarden } from './remove.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
const ROUNDS = 8;
const sh = (script: string): SpawnRequest => ({ args: ['/bin/sh', '-c', script] });

test('a warden that is removed leaves nothing on the machine, containers that run or not', async () => {
  await using warden = await TestWarden.start();
  const { handle } = await warden.client.create({ stack: 'test', limits: LIMITS });
  await warden.client.spawn(handle, sh('sleep 1000'));
  const { name, depot } = warden;
  await assert.rejects(removeWarden({ name, depot }, systemClock), { code: 'depot_taken' });
  await warden.kill();
  await removeWarden({ name, depot }, systemClock);
  assert.equal(existsSync(depot), false);
  assert.equal(existsSync(`/run/ingot-warden/${name}`), false);
  assert.deepEqual(cgroupsOf(name), []);
  assert.doesNotMatch(execFileSync('nft', ['list', 'tables']).toString(), new RegExp(name));
  await eventually('no disk is in use, no process is left', () => {
    const devices = execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']).toString();
    const running = readdirSync('/proc').filter((entry) => commandOf(entry).includes(`ingot-warden/${name}/`));
    return !devices.includes(depot) && running.length === 0;
  });
});

describe('a warden that is killed again and again', () => {
  let warden: TestWarden;
  before(async () => {
    warden = await TestWarden.start();
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
  });

  test('keeps every container that it said it made, and in the end leaves nothing behind', async () => {
    const promised = new Map<string, { job_id?: string; marker: string }>();
    const destroyed = new Set<string>();
    const over = new AbortController();

    /** Makes, uses and destroys containers for as long as the test runs; a call that finds no daemon is left where it is. */
    const worker = async (id: number) => {
      for (let n = 0; !over.signal.aborted; n++) {
        const handle = `c${id}-${n}`;
        const marker = `${handle}-${randomInt(1e6)}`;
        try {
          await warden.client.create({ handle, stack: 'test', limits: LIMITS, net_in: [{ container_port: 80 }] });
          promised.set(handle, { marker });
          const job_id = await warden.client.spawn(handle, sh(`echo ${marker}; sleep 0.2; exit 7`));
          promised.set(handle, { marker, job_id });
          if (n % 2 === 0) continue;
          destroyed.add(handle);
          await warden.client.destroy(handle);
        } catch (error) {
          // A daemon killed in the middle has made no promise.
          if (!(error instanceof WardenUnreachable) && !(error instanceof WardenError && error.code === 'handle_taken'))
            throw error;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    const workers = [worker(0), worker(1)];
    const work = Promise.all(workers);
    work.catch(() => over.abort());
    for (let round = 0; round < ROUNDS && !over.signal.aborted; round++) {
      await new Promise((resolve) => setTimeout(resolve, randomInt(20, 400)));
      await warden.kill();
      await warden.resume();
    }
    over.abort();
    await work;

    const present = new Set((await warden.client.list()).map(({ handle }) => handle));
    for (const [handle, { job_id, marker }] of promised) {
      if (destroyed.has(handle)) continue;
      assert.ok(present.has(handle), `${handle} is still there`);
      assert.equal((await warden.client.info(handle)).state, 'active');
      if (job_id === undefined) continue; // the daemon died between the two calls
      const { exit_status } = await warden.client.link(handle, job_id);
      assert.equal(exit_status, 7, `exit status of ${handle}`);
      const lines = await Array.fromAsync(warden.client.stream(handle, job_id));
      assert.equal(
        'data' in (lines[0] ?? {}) && Buffer.from((lines[0] as { data: string }).data, 'base64').toString(),
        marker,
      );
    }
    assert.ok(promised.size > ROUNDS, `${promised.size} containers were made`);
    await Promise.all([...present].map(async (handle) => await warden.client.destroy(handle)));
    await eventually('nothing is left', () => {
      assert.deepEqual(remains(), EMPTY);
      return true;
    });
  });

  const EMPTY = {
    containers: [],
    mounts: [],
    disks: [],
    interfaces: [],
    cgroups: [],
    processes: [],
    elements: 0,
    chains: 0,
  };

  /** All that a container can leave on this machine. */
  function remains() {
    const { name, depot, pid } = warden;
    const run = `/proc/${pid}/root/run/ingot-warden/${name}`;
    const table = execFileSync('nft', ['list', 'table', 'inet', `ingot_${name}`]).toString();
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
    return {
      containers: readdirSync(join(depot, 'containers')),
      mounts: mounts.filter((line) => line.includes(`${name}/containers/`)),
      disks: [
        ...readdirSync(join(run, 'disks')),
        ...readdirSync(join(run, 'containers')),
        ...readdirSync(join(run, 'crun')),
      ],
      interfaces: readdirSync('/sys/class/net').filter((device) => device.startsWith(`w${name}-`)),
      cgroups: cgroupsOf(name),
      processes: readdirSync('/proc').filter(
        (entry) => /^\d+$/.test(entry) && commandOf(entry).includes(`ingot-warden/${name}/`),
      ),
      elements: table.split('\n').filter((line) => line.includes('elements =')).length,
      chains: table.split('\n').filter((line) => /chain (out|host)-\d/.test(line)).length,
    };
  }
});

function cgroupsOf(name: string): string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((controller) => join(root, controller))]
    .map((folder) => join(folder, `ingot-${name}`))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    .map((entry) => entry.name);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
