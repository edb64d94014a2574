import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { allEnvelopes, type Envelope, MAX_LOG_LINE_BYTES } from '#contracts/loggregator.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { Bus } from './bus.ts';
import { LogEmitter, type EnvelopePublisher } from './log-emitter.ts';

/** A bus whose presence the test decides. */
class Switch implements EnvelopePublisher {
  isConnected = true;
  readonly batches: { subject: string; batch: Envelope[]; sent_before: number | undefined }[] = [];
  publish: EnvelopePublisher['publish'] = (topic, message) => {
    if (!this.isConnected) return false;
    this.batches.push({ subject: topic.subject, batch: message.batch, sent_before: message.sent_before });
    return true;
  };
  get envelopes(): Envelope[] {
    return this.batches.flatMap(({ batch }) => batch);
  }
  get lines(): string[] {
    return this.envelopes.map(textOf);
  }
}

const textOf = (envelope: Envelope): string => Buffer.from(envelope.log?.payload ?? '', 'base64').toString();
const web = { source_id: 'app-1', instance_id: '0', source_type: 'APP/PROC/WEB', type: 'OUT' } as const;

describe('the log emitter', () => {
  it('carries lines over a real bus, batched, with the tags that readers print', async () => {
    await using nats = await TestNats.start();
    await using bus = await Bus.connect({ servers: [nats.url], name: 'emitter', log: silentLog });
    await using emitter = new LogEmitter({ publisher: bus, tags: { deployment: 'ingot' } });
    const heard: { subject: string; batch: Envelope[] }[] = [];
    bus.subscribe(allEnvelopes, ({ batch }, subject) => void heard.push({ subject, batch }));
    emitter.emit({ ...web, payload: 'one\r\ntwo\n\n' });
    emitter.emit({ ...web, payload: 'three', type: 'ERR', tags: { process_id: 'p' } });
    await eventually('a batch', () => heard.length > 0);
    assert.equal(heard.length, 1);
    assert.equal(heard[0]?.subject, 'loggregator.envelopes.app-1');
    const batch = heard[0]?.batch ?? [];
    assert.deepEqual(
      batch.map((envelope) => [textOf(envelope), envelope.log?.type]),
      [
        ['one', 'OUT'],
        ['two', 'OUT'],
        ['three', 'ERR'],
      ],
    );
    assert.deepEqual(batch[2]?.tags, { deployment: 'ingot', source_type: 'APP/PROC/WEB', process_id: 'p' });
    assert.match(batch[0]?.timestamp ?? '', /^\d{19}$/);
  });

  it('gives no two envelopes the same time, even if the clock stands or steps back', async () => {
    const bus = new Switch();
    const times = [5, 5, 9, 3, 3, 10];
    await using emitter = new LogEmitter({ publisher: bus, now_ms: () => times.shift() ?? 10 });
    for (let n = 0; n < 8; n++) emitter.emit({ ...web, payload: 'x' });
    await emitter.flush();
    const stamps = bus.envelopes.map((envelope) => BigInt(envelope.timestamp));
    assert.equal(new Set(stamps).size, 8);
    assert.ok(stamps.every((stamp, n) => n === 0 || stamp > (stamps[n - 1] ?? 0n)));
  });

  it('keeps the time that a line was written at, but never goes back behind what it has sent', async () => {
    const bus = new Switch();
    await using emitter = new LogEmitter({ publisher: bus, now_ms: () => 1_700_000_000_002 });
    const written = ['1700000000000000001', '1700000000000000005', '1700000000000000005', '1700000000000000003'];
    for (const timestamp_ns of written) emitter.emit({ ...web, payload: 'x', timestamp_ns });
    emitter.emit({ ...web, payload: 'x' });
    emitter.emit({ ...web, payload: 'late\nlate too', timestamp_ns: '1700000000001000000' });
    await emitter.flush();
    assert.deepEqual(
      bus.envelopes.map(({ timestamp }) => timestamp.slice(-7)),
      ['0000001', '0000005', '0000006', '0000007', '2000000', '2000001', '2000002'],
    );
    assert.equal(emitter.linesTotal, 7);
  });

  it('holds on for a moment once the bus is back, until readers are back as well', async () => {
    await using nats = await TestNats.start();
    await using bus = await Bus.connect({ servers: [nats.url], name: 'emitter', log: silentLog });
    await using emitter = new LogEmitter({ publisher: bus });
    await nats.kill();
    await eventually('the loss noticed', () => !bus.isConnected);
    emitter.emit({ ...web, payload: 'said while it was away' });
    await nats.resume();
    await eventually('the bus back', () => bus.isConnected);
    assert.ok(emitter.bufferedBytes > 0);
    // A reader that comes back a little later than the emitter.
    const heard: string[] = [];
    bus.subscribe(allEnvelopes, ({ batch }) => void heard.push(...batch.map(textOf)));
    await eventually('the line', () => heard.length > 0);
    assert.deepEqual(heard, ['said while it was away']);
  });

  it('splits a long line without cutting a character', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 5 }),
        fc.constantFrom('é', '€', '😀', 'x'),
        async (shift, character) => {
          const bus = new Switch();
          await using emitter = new LogEmitter({ publisher: bus });
          const line = 'a'.repeat(shift) + character.repeat(MAX_LOG_LINE_BYTES);
          emitter.emit({ ...web, payload: line });
          await emitter.flush();
          assert.equal(bus.lines.join(''), line);
          for (const part of bus.lines) {
            assert.ok(Buffer.byteLength(part) <= MAX_LOG_LINE_BYTES);
            assert.doesNotMatch(part, /\uFFFD/);
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('carries bytes that are no text unchanged', async () => {
    const bus = new Switch();
    await using emitter = new LogEmitter({ publisher: bus });
    const bytes = Buffer.alloc(3 * MAX_LOG_LINE_BYTES, 0xbf);
    emitter.emit({ ...web, payload: bytes });
    await emitter.flush();
    const back = bus.envelopes.map((envelope) => Buffer.from(envelope.log?.payload ?? '', 'base64'));
    assert.ok(Buffer.concat(back).equals(bytes));
  });

  it('makes the same lines of a stream however it is cut into chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('a', 'é\n', '\n', '😀😀', 'end\r\n')),
        fc.array(fc.nat({ max: 5 })),
        async (parts, cuts) => {
          const bytes = Buffer.from(parts.join(''));
          const bus = new Switch();
          await using emitter = new LogEmitter({ publisher: bus });
          const sink = emitter.openSink(web);
          let at = 0;
          for (const cut of cuts) {
            sink.write(bytes.subarray(at, at + cut));
            at += cut;
          }
          sink.write(bytes.subarray(at));
          sink.end();
          await emitter.flush();
          const expected = parts.join('').split(/\r?\n/);
          assert.deepEqual(
            bus.lines,
            expected.filter((line) => line !== ''),
          );
        },
      ),
    );
  });

  it('holds no more than one line of a stream without newlines', async () => {
    const bus = new Switch();
    await using emitter = new LogEmitter({ publisher: bus });
    const sink = emitter.openSink(web);
    for (let n = 0; n < 100; n++) sink.write(Buffer.from('€'.repeat(1000)));
    await emitter.flush();
    assert.ok(bus.lines.length >= 4);
    sink.end();
    await emitter.flush();
    assert.equal(bus.lines.join(''), '€'.repeat(100_000));
  });

  it('keeps what fits while the bus is away, and tells of the rest when it is back', async () => {
    const bus = new Switch();
    bus.isConnected = false;
    await using emitter = new LogEmitter({ publisher: bus, buffer_bytes_per_source: 20_000, batch_bytes: 2_000 });
    for (let n = 0; n < 1000; n++) emitter.emit({ ...web, payload: `line ${n}` });
    emitter.emit({ ...web, source_id: 'app-2', payload: 'a neighbour' });
    assert.ok(emitter.bufferedBytes <= 40_000);
    bus.isConnected = true;
    await eventually('all sent', () => emitter.bufferedBytes === 0);
    const mine = bus.envelopes.filter(({ source_id }) => source_id === 'app-1');
    const kept = mine.length - 1;
    assert.ok(kept > 20 && kept < 1000);
    assert.deepEqual(
      mine.slice(0, kept).map(textOf),
      Array.from({ length: kept }, (_, n) => `line ${n}`),
    );
    const told = mine.at(-1);
    assert.equal(told && textOf(told), `${1000 - kept} messages dropped for app-1, because the message bus was away`);
    assert.equal(told?.tags['source_type'], 'LGR');
    assert.equal(emitter.droppedTotal, 1000 - kept);
    assert.ok(bus.lines.includes('a neighbour'));
    assert.ok(bus.batches.every(({ batch }) => JSON.stringify(batch).length < 10_000));
    emitter.emit({ ...web, payload: 'after' });
    await emitter.flush();
    assert.equal(bus.lines.at(-1), 'after');
  });

  it('says with each batch how many of the source went before, so that a loss on the way is seen', async () => {
    const bus = new Switch();
    await using emitter = new LogEmitter({ publisher: bus });
    for (const [source_id, payload] of [
      ['a', '1\n2\n3'],
      ['b', '1'],
      ['a', '4'],
      ['a', '5'],
    ] as const) {
      emitter.emit({ ...web, source_id, payload });
      await emitter.flush();
    }
    assert.deepEqual(
      bus.batches.map(({ sent_before }) => sent_before),
      [0, 0, 3, 4],
    );
  });

  it('sends what waits when it is disposed of', async () => {
    const bus = new Switch();
    {
      await using emitter = new LogEmitter({ publisher: bus, batch_interval_ms: 1_000_000 });
      emitter.emit({ ...web, payload: 'last words' });
      emitter.emitMeasurement(
        { ...web, tags: { process_id: 'p' } },
        { gauge: { metrics: { cpu: { unit: 'percentage', value: 1 } } } },
      );
    }
    assert.deepEqual(bus.lines, ['last words', '']);
    assert.equal(bus.envelopes[1]?.gauge?.metrics['cpu']?.value, 1);
  });
});
