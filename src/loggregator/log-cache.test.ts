import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { allEnvelopes, type Envelope, envelopes } from '#contracts/loggregator.ts';
import { topic } from '#contracts/topic.ts';
import { loadConfig } from '#kernel/config.ts';
import { eventually } from '#testing/eventually.ts';
import { LoggregatorConfig } from './config.ts';
import { TestLoggregator } from './testing.ts';

/** Go's zero time in ns, as the cf CLI sends it. */
const GO_ZERO = '-6795364578871345152';
const web = { instance_id: '0', source_type: 'APP/PROC/WEB', type: 'OUT' } as const;

interface ReadAnswer {
  envelopes: { batch: Envelope[] };
}

describe("log-cache's API", () => {
  let test: TestLoggregator;
  let admin: string;
  before(async () => {
    test = await TestLoggregator.start({ source_lines_per_s: 500 });
    admin = await test.neighbours.bearer('admin', ['cloud_controller.admin']);
  });
  after(async () => await test[Symbol.asyncDispose]());

  const batchOf = async (path: string, authorization = admin): Promise<Envelope[]> => {
    const response = await test.get(path, authorization);
    assert.equal(response.status, 200, await response.clone().text());
    return ((await response.json()) as ReadAnswer).envelopes.batch;
  };
  const linesOf = (batch: readonly Envelope[]): string[] =>
    batch.map(({ log }) => Buffer.from(log?.payload ?? '', 'base64').toString());
  const written = async (source_id: string, count: number): Promise<void> => {
    await eventually('all there', async () => (await batchOf(`/api/v1/read/${source_id}?limit=1000`)).length >= count);
  };

  it('says its version to anybody', async () => {
    const info = z.strictObject({ version: z.string().regex(/^3\.\d+\.\d+$/), vm_uptime: z.string().regex(/^\d+$/) });
    info.parse(await (await test.get('/api/v1/info')).json());
  });

  it('answers the three requests of `cf logs` and that of `cf logs --recent`', async () => {
    const tail = `/api/v1/read/app-1?descending=true&limit=1&start_time=${GO_ZERO}`;
    assert.deepEqual(await batchOf(tail), []);
    for (let n = 0; n < 5; n++) test.emitter.emit({ ...web, source_id: 'app-1', payload: `line ${n}` });
    test.emitter.emitMeasurement(
      { ...web, source_id: 'app-1' },
      { gauge: { metrics: { cpu: { unit: 'percentage', value: 1.5 } } } },
    );
    await written('app-1', 6);
    const [newest] = await batchOf(tail);
    assert.equal(newest?.gauge?.metrics['cpu']?.value, 1.5);
    const walk_start = BigInt(newest?.timestamp ?? 0) - 1_000_000_000n;
    const walked = await batchOf(`/api/v1/read/app-1?envelope_types=LOG&start_time=${walk_start}`);
    assert.deepEqual(linesOf(walked), ['line 0', 'line 1', 'line 2', 'line 3', 'line 4']);
    assert.deepEqual(walked[0], {
      timestamp: walked[0]?.timestamp,
      source_id: 'app-1',
      instance_id: '0',
      tags: { source_type: 'APP/PROC/WEB' },
      log: { payload: Buffer.from('line 0').toString('base64'), type: 'OUT' },
    });
    const rest = BigInt(walked[2]?.timestamp ?? 0) + 1n;
    assert.deepEqual(linesOf(await batchOf(`/api/v1/read/app-1?envelope_types=LOG&start_time=${rest}`)), [
      'line 3',
      'line 4',
    ]);
    const recent = `/api/v1/read/app-1?descending=true&envelope_types=LOG&limit=1000&start_time=${GO_ZERO}`;
    assert.deepEqual(linesOf(await batchOf(recent)).at(0), 'line 4');
    assert.equal((await batchOf('/api/v1/read/app-1?name_filter=^c.u$')).length, 1);
    assert.equal((await batchOf('/api/v1/read/app-1?name_filter=mem')).length, 0);
  });

  it('shows an app to whom the cloud controller lets, hides it from others, and keeps the answers', async () => {
    const reader = await test.neighbours.bearer('reader', ['cloud_controller.read'], ['app-2']);
    test.emitter.emit({ ...web, source_id: 'app-2', payload: 'mine' });
    await written('app-2', 1);
    test.neighbours.asked.length = 0;
    for (let n = 0; n < 3; n++) assert.deepEqual(linesOf(await batchOf('/api/v1/read/app-2', reader)), ['mine']);
    assert.deepEqual(test.neighbours.asked, ['/internal/v4/log_access/app-2']);
    for (const source of ['app-1', 'nonsense', 'a%2Fb', 'router']) {
      assert.equal((await test.get(`/api/v1/read/${source}`, reader)).status, 404, source);
    }
    const meta = z
      .object({ meta: z.record(z.string(), z.record(z.string(), z.string())) })
      .parse(await (await test.get('/api/v1/meta', reader)).json());
    assert.deepEqual(Object.keys(meta.meta), ['app-2']);
    assert.equal(meta.meta['app-2']?.['count'], '1');
  });

  it('wants a good token, and says so when permission cannot be known', async () => {
    assert.equal((await test.get('/api/v1/read/app-1')).status, 401);
    assert.equal((await test.get('/api/v1/meta')).status, 401);
    assert.equal((await test.get('/api/v1/read/app-1', `${admin}x`)).status, 401);
    test.neighbours.isCloudControllerAway = true;
    const stranger = await test.neighbours.bearer('stranger', []);
    assert.equal((await test.get('/api/v1/read/app-1', stranger)).status, 503);
    test.neighbours.isCloudControllerAway = false;
    assert.equal((await test.get('/api/v1/read/app-1', stranger)).status, 404);
  });

  const bad: [string, RegExp][] = [
    ['start_time=abc', /start_time/],
    ['start_time=99999999999999999999', /start_time/],
    ['limit=1001', /1000 or less/],
    ['limit=-1', /above 0/],
    ['start_time=5&end_time=4', /before/],
    ['envelope_types=NONE', /no type "NONE"/],
    ['descending=perhaps', /neither/],
    ['name_filter=(', /regular expression/],
  ];
  for (const [query, message] of bad) {
    it(`refuses ${query} with a reason`, async () => {
      const response = await test.get(`/api/v1/read/app-1?${query}`, admin);
      assert.equal(response.status, 400);
      assert.match(((await response.json()) as { error: string }).error, message);
    });
  }

  it('answers a name filter over which an engine that tries all ways would sit for ever', async () => {
    const metrics = { [`${'a'.repeat(60)}!`]: { unit: '', value: 1 } };
    test.emitter.emitMeasurement({ ...web, source_id: 'slow' }, { gauge: { metrics } });
    await written('slow', 1);
    assert.equal((await test.get('/api/v1/read/slow?name_filter=(a%2B)%2B%24', admin)).status, 200);
  });

  it('counts what is malformed and takes the good that comes with it', async () => {
    const anything = (message: unknown): void =>
      void test.bus.publish(topic(allEnvelopes.subject.replace('*', 'app-3'), z.unknown()), message);
    const good = {
      timestamp: '5',
      source_id: 'app-3',
      instance_id: '0',
      tags: {},
      log: { payload: 'aGk=', type: 'OUT' },
    };
    anything('nonsense');
    anything({ batch: 7 });
    anything({
      batch: [
        null,
        { ...good, timestamp: 'soon' },
        { ...good, source_id: '' },
        { ...good, tags: { a: 1 } },
        { ...good, log: undefined },
        { ...good, log: { payload: 'aGk=', type: 'LOUD' } },
        good,
      ],
    });
    await written('app-3', 1);
    const metrics = await fetch(`${test.statusUrl}/metrics`, {
      headers: { authorization: basicAuthHeader({ user: 'varz', password: 'secret' }) },
    });
    assert.match(await metrics.text(), /^loggregator_envelopes_malformed_total 8$/m);
  });

  it("drops what is above a source's rate and tells how much in its stream", async () => {
    for (let n = 0; n < 2000; n++) test.emitter.emit({ ...web, source_id: 'loud', payload: `line ${n}` });
    test.emitter.emit({ ...web, source_id: 'quiet', payload: 'a neighbour' });
    await written('quiet', 1);
    const told = await eventually('the loss told', async () => {
      const lines = linesOf(await batchOf('/api/v1/read/loud?limit=1000'));
      const counts = lines.flatMap((text) => /^(\d+) messages dropped for loud, because/.exec(text)?.[1] ?? []);
      const sum = counts.reduce((total, count) => total + Number(count), 0);
      // A batch may fall on both sides of a second; together it adds up.
      return sum + lines.length - counts.length === 2000 && lines;
    });
    assert.match(told.at(-1) ?? '', /^\d+ messages dropped for loud, because it wrote more than 500 lines per second$/);
  });

  it('notices what got lost on the bus and tells how much in the stream', async () => {
    const publish = (emitter: string, sent_before: number, count: number): void => {
      const envelope = {
        timestamp: '7',
        source_id: 'gap',
        instance_id: '0',
        tags: {},
        log: { payload: 'aGk=', type: 'OUT' as const },
      };
      test.bus.publish(envelopes('gap'), {
        batch: Array.from({ length: count }, () => envelope),
        emitter,
        sent_before,
      });
    };
    publish('one', 100, 5);
    publish('one', 105, 5);
    publish('other', 0, 2);
    publish('one', 117, 1);
    publish('one', 0, 1);
    publish('one', 1, 1);
    await written('gap', 16);
    const told = linesOf(await batchOf('/api/v1/read/gap?limit=1000')).filter((text) => text !== 'hi');
    assert.deepEqual(told, ['7 messages dropped for gap, because they got lost on the message bus']);
  });

  it('accounts for every line while the bus is killed and comes back', async () => {
    let sent = 0;
    const write = (): void => test.emitter.emit({ ...web, source_id: 'storm', payload: `line ${sent++}` });
    const timer = setInterval(write, 5);
    try {
      await written('storm', 20);
      for (let times = 0; times < 2; times++) {
        const before_kill = sent;
        await test.nats.kill();
        await eventually('written meanwhile', () => sent > before_kill + 20);
        await test.nats.resume();
        await eventually('back', () => test.bus.isConnected);
        const before_return = sent;
        await eventually('written after', () => sent > before_return + 20);
      }
    } finally {
      clearInterval(timer);
    }
    await eventually('each line is there or told as lost', async () => {
      const lines = linesOf(await batchOf('/api/v1/read/storm?limit=1000'));
      const losses = lines.flatMap((text) => /^(\d+) messages dropped for storm, because/.exec(text)?.[1] ?? []);
      const lost = losses.reduce((sum, count) => sum + Number(count), 0);
      if (lines.length - losses.length + lost === sent) return true;
      // What is missing at the end is noticed only when something follows.
      write();
      await test.emitter.flush();
      return false;
    });
  });

  it('has after a restart what it had before', async () => {
    const before_restart = await batchOf('/api/v1/read/app-1?limit=1000');
    await test.stop();
    await test.resume();
    assert.deepEqual(await batchOf('/api/v1/read/app-1?limit=1000'), before_restart);
  });

  it('has an example of its configuration that is valid', () => {
    loadConfig(LoggregatorConfig, resolve(import.meta.dirname, '../../config/loggregator.example.yml'));
  });
});
