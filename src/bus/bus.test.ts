import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { exchange, topic } from '#contracts/topic.ts';
import { silentLog } from '#kernel/log.ts';
import { currentRequest, forRequest } from '#kernel/request-scope.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { Bus, BusUnavailable, NoReply } from './bus.ts';

const greeting = topic('test.greeting', z.object({ text: z.string() }));
const anyGreeting = topic('test.*', z.object({ text: z.string() }));
const sum = exchange('test.sum', z.object({ numbers: z.array(z.number()) }), z.object({ sum: z.number() }));

const open = async (nats: TestNats, name: string): Promise<Bus> =>
  await Bus.connect({ servers: [nats.url], name, log: silentLog });

describe('the bus', () => {
  it('carries a message to every subscriber and to one of a queue', async () => {
    await using nats = await TestNats.start();
    await using bus = await open(nats, 'carry');
    const heard: string[] = [];
    bus.subscribe(greeting, ({ text }) => void heard.push(`one ${text}`));
    bus.subscribe(anyGreeting, ({ text }, subject) => void heard.push(`${subject} ${text}`));
    for (const name of ['a', 'b']) bus.subscribe(greeting, () => void heard.push(name), { queue: 'q' });
    assert.equal(bus.publish(greeting, { text: 'hi' }), true);
    await eventually('three heard', () => heard.length === 3);
    assert.deepEqual(heard.filter((entry) => entry.length > 1).sort(), ['one hi', 'test.greeting hi']);
  });

  it('carries the request that a message is said for, and is work of our own where there is none', async () => {
    await using nats = await TestNats.start();
    await using bus = await open(nats, 'scope');
    const heard: string[] = [];
    const note = (what: string): void => void heard.push(`${what} ${currentRequest()?.request_id}`);
    bus.subscribe(greeting, async ({ text }) => {
      await new Promise((resolve) => setImmediate(resolve));
      note(text);
    });
    bus.reply(sum, ({ numbers }) => {
      note('asked');
      return { sum: numbers.length };
    });
    await bus.flush();
    await forRequest({ request_id: 'r-1' }, async () => {
      bus.publish(greeting, { text: 'said' });
      await bus.request(sum, { numbers: [] }, { timeout_ms: 2000 });
      assert.equal(currentRequest()?.request_id, 'r-1');
    });
    bus.publish(greeting, { text: 'alone' });
    await eventually('all', () => heard.length === 3);
    const [alone, ...said] = heard.sort();
    assert.match(alone ?? '', /^alone own-[\w-]{36}$/);
    assert.deepEqual(said, ['asked r-1', 'said r-1']);
  });

  it('drops what does not fit its schema and goes on', async () => {
    await using nats = await TestNats.start();
    await using bus = await open(nats, 'drop');
    const heard: string[] = [];
    bus.subscribe(greeting, ({ text }) => void heard.push(text));
    bus.publish(topic('test.greeting', z.unknown()), { text: 7 });
    bus.publish(topic('test.greeting', z.unknown()), 'not an object');
    bus.publish(greeting, { text: 'good' });
    await eventually('the good one', () => heard.length > 0);
    assert.deepEqual(heard, ['good']);
  });

  it('asks one, asks many, and says so when nobody answers', async () => {
    await using nats = await TestNats.start();
    await using bus = await open(nats, 'ask');
    await assert.rejects(bus.request(sum, { numbers: [] }, { timeout_ms: 300 }), NoReply);
    assert.deepEqual(await bus.gather(sum, { numbers: [] }, { timeout_ms: 300 }), []);
    const add = ({ numbers }: { numbers: number[] }): { sum: number } => ({ sum: numbers.reduce((a, b) => a + b, 0) });
    bus.reply(sum, add);
    bus.reply(sum, add);
    assert.deepEqual(await bus.request(sum, { numbers: [1, 2] }, { timeout_ms: 2000 }), { sum: 3 });
    assert.equal((await bus.gather(sum, { numbers: [1] }, { timeout_ms: 300 })).length, 2);
  });

  it('tells when the server is away, drops what is said meanwhile, and comes back by itself', async () => {
    await using nats = await TestNats.start();
    await using bus = await open(nats, 'away');
    const events: string[] = [];
    const heard: string[] = [];
    bus.onDisconnect(() => void events.push('lost'));
    bus.onReconnect(() => void events.push('back'));
    bus.subscribe(greeting, ({ text }) => void heard.push(text));
    await nats.kill();
    await eventually('the loss noticed', () => !bus.isConnected);
    assert.equal(bus.publish(greeting, { text: 'stale' }), false);
    await assert.rejects(bus.request(sum, { numbers: [] }, { timeout_ms: 300 }), BusUnavailable);
    await nats.resume();
    await eventually('back', () => bus.isConnected);
    bus.publish(greeting, { text: 'fresh' });
    await eventually('heard again', () => heard.length > 0);
    assert.deepEqual({ events, heard }, { events: ['lost', 'back'], heard: ['fresh'] });
  });
});
