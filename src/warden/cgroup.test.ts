import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { cpuWeight, limitWrites } from './cgroup.ts';

test('limits on a host with version 2 of cgroups are written as it has them', () => {
  const change = { memory_in_bytes: 1024, cpu_shares: 1024, cpu_quota: 1.5, pids: 7 };
  assert.deepEqual(limitWrites(2, change, true), [
    ['', 'memory.max', '1024'],
    ['', 'cpu.weight', '39'],
    ['', 'cpu.max', '150000 100000'],
    ['', 'pids.max', '7'],
  ]);
});

test('on version 1 memory with swap grows first and shrinks last', () => {
  const files = (isGrowing: boolean) => limitWrites(1, { memory_in_bytes: 1 }, isGrowing).map(([, file]) => file);
  assert.deepEqual(files(true), ['memory.memsw.limit_in_bytes', 'memory.limit_in_bytes']);
  assert.deepEqual(files(false), ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']);
});

test('shares span the weights of version 2', () => {
  assert.deepEqual([2, 1024, 262_144].map(cpuWeight), [1, 39, 10_000]);
});
