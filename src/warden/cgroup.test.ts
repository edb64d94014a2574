import { strict as assert } from 'node:assert';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { Cgroup, cpuWeight, groupPaths, limitWrites } from './cgroup.ts';
import { WardenConfig } from './config.ts';

test('limits on a host with version 2 of cgroups are written as it has them', () => {
  const change = { memory_in_bytes: 1024, cpu_shares: 1024, cpu_quota: 1.5, io_weight: 10, pids: 7 };
  assert.deepEqual(limitWrites(2, change, true), [
    ['', 'memory.swap.max', '0'],
    ['', 'memory.max', '1024'],
    ['', 'cpu.weight', '39'],
    ['', 'cpu.max', '150000 100000'],
    ['', 'io.weight', '10'],
    ['', 'io.bfq.weight', '10'],
    ['', 'pids.max', '7'],
  ]);
});

test('on version 1 memory with swap grows first and shrinks last', () => {
  const files = (isGrowing: boolean) => limitWrites(1, { memory_in_bytes: 1 }, isGrowing).map(([, file]) => file);
  assert.deepEqual(files(true), ['memory.memsw.limit_in_bytes', 'memory.limit_in_bytes']);
  assert.deepEqual(files(false), ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']);
});

test('I/O weight on version 1 is whichever file the kernel has', () => {
  assert.deepEqual(limitWrites(1, { io_weight: 10 }, true), [
    ['blkio', 'blkio.bfq.weight', '10'],
    ['blkio', 'blkio.weight', '10'],
  ]);
});

test('what is written of the group of builds has little beside the group of apps, on either version', () => {
  const { background } = WardenConfig.parse({ socket_path: '/s', depot: '/d', stacks: {} });
  assert.deepEqual(limitWrites(1, background, false), [
    ['cpu', 'cpu.shares', '64'], // of 1024
    ['blkio', 'blkio.bfq.weight', '10'],
    ['blkio', 'blkio.weight', '10'],
  ]);
  assert.deepEqual(limitWrites(2, background, false), [
    ['', 'cpu.weight', '3'], // of 100
    ['', 'io.weight', '10'],
    ['', 'io.bfq.weight', '10'],
  ]);
  const [foreground, behind] = groupPaths('ingot');
  assert.deepEqual([foreground, behind], ['ingot-ingot', 'ingot-ingot-background']);
});

test('a group of a real version 2 hierarchy is counted, spares one, is killed whole, and goes', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('mounting needs root');
  const root = mkdtempSync(join(tmpdir(), 'ingot-cgroup2-'));
  execFileSync('mount', ['-t', 'cgroup2', 'none', root]);
  t.after(() => {
    execFileSync('umount', [root]);
    rmdirSync(root);
  });
  const cgroup = new Cgroup(2, `ingot-test-${process.pid}`, root);
  mkdirSync(join(root, cgroup.path));
  const script = 'echo $$ >"$0/cgroup.procs"; for n in 1 2 3; do sleep 1000 & done; while :; do wait; sleep 0.1; done';
  const child = spawn('/bin/sh', ['-c', script, join(root, cgroup.path)], { stdio: 'ignore' });
  await eventually('all run in it', () => cgroup.processes().length === 4);
  assert.equal(cgroup.remove(), false);
  // Controllers that are another hierarchy's here are passed over.
  cgroup.setLimits({ memory_in_bytes: 1 << 20, cpu_shares: 2, io_weight: 10, pids: 5 });
  cgroup.signalAll('SIGKILL', child.pid);
  await eventually('the spared one lives on', () => {
    const left = cgroup.processes();
    return left.includes(child.pid ?? 0) && left.length <= 2;
  });
  cgroup.signalAll('SIGKILL');
  await eventually('it is empty', () => cgroup.processes().length === 0);
  assert.equal(child.signalCode ?? 'SIGKILL', 'SIGKILL');
  await eventually('it is gone', () => cgroup.remove());
  assert.equal(cgroup.exists(), false);
});

test('shares span the weights of version 2', () => {
  assert.deepEqual([2, 1024, 262_144].map(cpuWeight), [1, 39, 10_000]);
});
