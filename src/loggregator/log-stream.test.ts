import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestLoggregator } from './testing.ts';

const web = { instance_id: '0', source_type: 'APP/PROC/WEB', type: 'OUT' } as const;

interface StreamEnvelope {
  timestamp: string;
  sourceId: string;
  instanceId: string;
  tags: Record<string, string>;
  log?: { payload: string; type: string };
  gauge?: object;
}

/** Reads server-sent events as they come. */
class EventReader implements AsyncDisposable {
  readonly envelopes: StreamEnvelope[] = [];
  readonly status: number;
  isEnded = false;
  readonly #abort: AbortController;

  private constructor(response: Response, abort: AbortController) {
    this.status = response.status;
    this.#abort = abort;
    void this.#read(response).catch(() => (this.isEnded = true));
  }

  static async open(url: string, authorization: string): Promise<EventReader> {
    const abort = new AbortController();
    return new EventReader(await fetch(url, { headers: { authorization }, signal: abort.signal }), abort);
  }

  get lines(): string[] {
    return this.envelopes.map(({ log }) => Buffer.from(log?.payload ?? '', 'base64').toString());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
  }

  async #read(response: Response): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes as Uint8Array, { stream: true });
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) {
        if (!event.startsWith('data: ')) continue;
        this.envelopes.push(...(JSON.parse(event.slice(6)) as { batch: StreamEnvelope[] }).batch);
      }
    }
    this.isEnded = true;
  }
}

describe('the log stream', () => {
  let test: TestLoggregator;
  let admin: string;
  before(async () => {
    test = await TestLoggregator.start({ reader_buffer_kb: 64 });
    admin = await test.neighbours.bearer('admin', ['doppler.firehose']);
  });
  after(async () => await test[Symbol.asyncDispose]());

  const open = async (query: string, authorization = admin): Promise<EventReader> =>
    await EventReader.open(`${test.url}/v2/read?${query}`, authorization);

  it('shows what was selected as it comes, in the spelling of the stream gateway', async () => {
    const reader = await test.neighbours.bearer('reader', [], ['app-1']);
    await using stream = await open('log&source_id=app-1', reader);
    test.emitter.emit({ ...web, source_id: 'app-2', payload: 'another app' });
    test.emitter.emitMeasurement({ ...web, source_id: 'app-1' }, { event: { title: 't', body: 'b' } });
    test.emitter.emit({ ...web, source_id: 'app-1', payload: 'hello' });
    await eventually('the line', () => stream.lines.length > 0);
    assert.deepEqual(stream.envelopes, [
      {
        timestamp: stream.envelopes[0]?.timestamp,
        sourceId: 'app-1',
        instanceId: '0',
        tags: { source_type: 'APP/PROC/WEB' },
        log: { payload: Buffer.from('hello').toString('base64'), type: 'OUT' },
      },
    ]);
  });

  it('shows everything to an admin who names no source', async () => {
    await using stream = await open('log&gauge');
    for (const source_id of ['app-1', 'app-2', 'router']) test.emitter.emit({ ...web, source_id, payload: source_id });
    const metrics = { cpu: { unit: '', value: 1 } };
    test.emitter.emitMeasurement({ ...web, source_id: 'app-1' }, { gauge: { metrics } });
    await eventually('all', () => stream.envelopes.length === 4);
    assert.deepEqual(stream.lines.sort(), ['', 'app-1', 'app-2', 'router']);
  });

  const refused: [string, string, () => Promise<string>, number][] = [
    ['no type', '', async () => admin, 400],
    ['too much of the past', 'log&source_id=a&recent=5000', async () => admin, 400],
    ['no good token', 'log&source_id=app-1', async () => 'bearer x', 401],
    ['an app of others', 'log&source_id=app-1', async () => await test.neighbours.bearer('stranger', []), 404],
    ['all sources by a user', 'log', async () => await test.neighbours.bearer('user', [], ['app-1']), 404],
    [
      'one app too many',
      'log&source_id=app-1&source_id=app-2',
      async () => await test.neighbours.bearer('half', [], ['app-1']),
      404,
    ],
  ];
  for (const [what, query, authorization, status] of refused) {
    it(`refuses ${what} with ${status}`, async () => {
      await using stream = await open(query, await authorization());
      assert.equal(stream.status, status);
    });
  }

  it('begins with the recent, without gap or repetition', async () => {
    await using first = await open('log&source_id=app-3');
    let written = 0;
    const write = (): void => test.emitter.emit({ ...web, source_id: 'app-3', payload: `line ${written++}` });
    for (let n = 0; n < 50; n++) write();
    await eventually('some written', () => first.lines.length === 50);
    const timer = setInterval(write, 1);
    try {
      await using stream = await open('log&source_id=app-3&recent=1000');
      await eventually('live lines', () => stream.lines.length > 100);
      assert.deepEqual(
        stream.lines,
        stream.lines.map((_, n) => `line ${n}`),
      );
    } finally {
      clearInterval(timer);
    }
  });

  it('shares among the readers of one shard, each envelope to one', async () => {
    await using one = await open('log&source_id=app-4&shard_id=s');
    await using other = await open('log&source_id=app-4&shard_id=s');
    for (let n = 0; n < 20; n++) {
      test.emitter.emit({ ...web, source_id: 'app-4', payload: `line ${n}` });
      await test.emitter.flush();
    }
    await eventually('all', () => one.lines.length + other.lines.length === 20);
    assert.equal(new Set([...one.lines, ...other.lines]).size, 20);
    assert.ok(one.lines.length > 0 && other.lines.length > 0);
  });

  it('tells a reader that does not keep up how much it missed, and keeps nobody waiting for it', async () => {
    await using quick = await open('log&source_id=app-5');
    const { hostname, port } = new URL(test.url);
    const slow = connect({ host: hostname, port: Number(port) });
    slow.write(`GET /v2/read?log&source_id=app-5 HTTP/1.1\r\nHost: x\r\nAuthorization: ${admin}\r\n\r\n`);
    await new Promise((resolve) => slow.once('readable', resolve));
    const payload = 'x'.repeat(10_000);
    const total = 3_000;
    for (let n = 0; n < total; n++) {
      test.emitter.emit({ ...web, source_id: 'app-5', payload: `${n} ${payload}` });
      if (n % 100 === 0) {
        await eventually('the quick reader keeps up', () => quick.lines.length >= n);
      }
    }
    await eventually('all at the quick one', () => quick.lines.length === total);
    let text = '';
    slow.on('data', (bytes: Buffer) => (text += bytes.toString()));
    let told = '';
    await eventually('the loss told', () => {
      test.emitter.emit({ ...web, source_id: 'app-5', payload: 'more' });
      const payloads = [...text.matchAll(/"payload":"([^"]+)","type":"ERR"/g)];
      told = Buffer.from(payloads[0]?.[1] ?? '', 'base64').toString();
      return told !== '';
    });
    assert.match(told, /^\d+ messages dropped for app-5, because its reader is too slow$/);
    slow.destroy();
  });

  it('ends streams when it stops', async () => {
    await using stream = await open('log');
    await test.stop();
    await eventually('the end', () => stream.isEnded);
    await test.resume();
  });
});
