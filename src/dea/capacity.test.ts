import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Capacity } from './capacity.ts';

describe('capacity', () => {
  it('is given away until it lacks, and comes back', () => {
    const capacity = new Capacity({ memory_mb: 100, disk_mb: 100 });
    assert.deepEqual(capacity.reserve('a', { memory_mb: 60, disk_mb: 10 }), { ok: true });
    assert.deepEqual(capacity.reserve('b', { memory_mb: 60, disk_mb: 10 }), { ok: false, lacks: 'memory' });
    assert.deepEqual(capacity.reserve('b', { memory_mb: 10, disk_mb: 95 }), { ok: false, lacks: 'disk' });
    assert.deepEqual(capacity.available(), { memory_mb: 40, disk_mb: 90 });
    capacity.release('a');
    assert.deepEqual(capacity.reserve('b', { memory_mb: 60, disk_mb: 10 }), { ok: true });
  });

  it('gives the same holder one amount only, and counts what ran before even above the limit', () => {
    const capacity = new Capacity({ memory_mb: 100, disk_mb: 100 });
    capacity.reserve('a', { memory_mb: 60, disk_mb: 0 });
    assert.deepEqual(capacity.reserve('a', { memory_mb: 60, disk_mb: 0 }), { ok: true });
    capacity.hold('b', { memory_mb: 90, disk_mb: 0 });
    assert.equal(capacity.available().memory_mb, -50);
  });
});
