import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { Bus } from './bus.ts';
import { LeaderLock } from './leader-lock.ts';

const open = async (nats: TestNats): Promise<{ bus: Bus; lock: LeaderLock }> => {
  const bus = await Bus.connect({ servers: [nats.url], name: 'lock', log: silentLog });
  return { bus, lock: new LeaderLock({ bus, name: 'test', ttl_ms: 1000, log: silentLog }) };
};

describe('the leader lock', () => {
  it('has one leader, and another when the first gives it back', async () => {
    await using nats = await TestNats.start();
    const one = await open(nats);
    await eventually('the first leads', () => one.lock.isLeader);
    const other = await open(nats);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual([one.lock.isLeader, other.lock.isLeader], [true, false]);
    await one.lock[Symbol.asyncDispose]();
    await one.bus[Symbol.asyncDispose]();
    await eventually('the second leads', () => other.lock.isLeader);
    await other.lock[Symbol.asyncDispose]();
    await other.bus[Symbol.asyncDispose]();
  });

  it('loses the lead when the store is away, and finds one again when it is back', async () => {
    await using nats = await TestNats.start();
    const one = await open(nats);
    await eventually('it leads', () => one.lock.isLeader);
    await nats.kill();
    await eventually('it knows that it leads no longer', () => !one.lock.isLeader);
    await nats.resume();
    await eventually('it leads again', () => one.lock.isLeader);
    await one.lock[Symbol.asyncDispose]();
    await one.bus[Symbol.asyncDispose]();
  });
});
