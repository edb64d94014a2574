import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { systemClock } from '#kernel/clock.ts';
import { WardenError } from '#http/warden-client.ts';
import { HostPorts, Slots } from './slots.ts';

const isExhausted = (error: unknown) => error instanceof WardenError && error.code === 'resources_exhausted';

test('a freed slot rests, but is taken rather than none', () => {
  let now = 0;
  const slots = new Slots(3, { ...systemClock, monotonic: () => now });
  assert.deepEqual([slots.acquire(), slots.acquire()], [0, 1]);
  slots.release(0);
  assert.equal(slots.acquire(), 2);
  assert.equal(slots.acquire(), 0);
  assert.throws(() => slots.acquire(), isExhausted);
  slots.release(1);
  slots.release(0);
  now = 10_000;
  assert.equal(slots.acquire(), 0);
});

test('host ports are given in turn, each to one container at a time', () => {
  const ports = new HostPorts({ first: 100, last: 102 });
  ports.hold(100);
  assert.deepEqual([ports.acquire(), ports.acquire()], [101, 102]);
  assert.throws(() => ports.acquire(), isExhausted);
  ports.release(101);
  assert.throws(() => ports.acquire(102), isExhausted);
  assert.throws(() => ports.acquire(99), { code: 'invalid_request' });
  assert.equal(ports.acquire(101), 101);
});
