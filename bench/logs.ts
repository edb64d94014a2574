/**
 * Figures of the loggregator, in about a minute: lines per second from an emitter over a real nats-server to the store, with what was
 * lost; what a reader's request costs meanwhile; how soon a line is at who follows the app, alone and beside an app that writes 20,000
 * lines a second; and how long a search through millions of lines of one app takes.
 *
 *   node bench/logs.ts [seconds of load = 6] [millions of lines to search = 10]
 */
import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { hearEnvelopes } from '#loggregator/bus.ts';
import type { Entry, Origin } from '#loggregator/chunk.ts';
import { ALL_KINDS, kindBits } from '#loggregator/found.ts';
import { Intake } from '#loggregator/intake.ts';
import { LogStore } from '#loggregator/store.ts';
import { TestLoggregator } from '#loggregator/testing.ts';
import type { SearchTerms } from '#loggregator/text-search.ts';
import { TestNats } from '#testing/nats.ts';

const MB = 1024 * 1024;
const SOURCES = 20;
const FILL_LIMIT_MS = 35_000;
const WORDS =
  'connection request user timeout handler failed ok started completed worker queue cache miss hit retry'.split(' ');
const word = (n: number): string => WORDS[n % WORDS.length] ?? '';
const id = (n: number): string =>
  Math.imul(n, 2654435761 | 0)
    .toString(16)
    .replace('-', 'f')
    .padStart(8, '0');
const text = (n: number): string =>
  `2026-01-01T10:00:00.${100 + (n % 900)}Z INFO ${word(n)} ${word(n * 7)} id=${id(n)} path=/api/v1/items/${n % 5000} status=${200 + (n % 7)} ms=${n % 913}`;

async function withStore(work: (store: LogStore) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'ingot-bench-'));
  const limits = { source_bytes: 1024 * MB, total_bytes: 2048 * MB, retention_ms: 1e15, memory_bytes: 64 * MB };
  const store = new LogStore({ folder, clock: systemClock, log: silentLog, limits });
  try {
    await work(store);
  } finally {
    await store[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The other process of the load: as many lines as it is told, at a rate. */
async function emit(
  url: string,
  { rate, seconds, only }: { rate: number; seconds: number; only: string | undefined },
): Promise<void> {
  await using bus = await Bus.connect({ servers: [url], name: 'bench', log: silentLog });
  await using emitter = new LogEmitter({ publisher: bus });
  const origin = { instance_id: '0', source_type: 'APP/PROC/WEB', type: 'OUT' } as const;
  const tags = { process_id: 'a-guid-of-a-process', app_name: 'bench', space_name: 'dev', organization_name: 'acme' };
  const begin = performance.now();
  let sent = 0;
  for (;;) {
    const elapsed_s = (performance.now() - begin) / 1000;
    if (elapsed_s >= seconds) break;
    const due = Math.min(elapsed_s * rate, sent + 5_000);
    for (; sent < due; sent++) {
      // One source is loud, the rest share the other half.
      const source_id = only ?? (sent % 2 === 0 ? 'loud' : `app-${sent % SOURCES}`);
      emitter.emit({ ...origin, tags, source_id, payload: text(sent) });
    }
    await bus.flush();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await emitter.flush();
  process.send?.({ sent, seconds: (performance.now() - begin) / 1000, dropped: emitter.droppedTotal });
}

async function benchIntake(seconds: number, rate: number): Promise<void> {
  await using nats = await TestNats.start();
  await withStore(async (store) => {
    await using bus = await Bus.connect({ servers: [nats.url], name: 'bench', log: silentLog });
    using intake = new Intake({
      clock: systemClock,
      source_lines_per_s: 0,
      deliver: (source_id, entries) => store.append(source_id, entries),
    });
    using _heard = hearEnvelopes(bus, intake);
    await bus.flush();
    const child = fork(import.meta.filename, ['--emit', nats.url, String(rate), String(seconds)]);
    const read_ms: number[] = [];
    const query = { start: -(2n ** 63n), end: 2n ** 62n, limit: 100, descending: true, kinds: ALL_KINDS };
    const reading = systemClock.every(50, async () => {
      const begin = performance.now();
      await store.read('app-1', query);
      read_ms.push(performance.now() - begin);
    });
    const cpu = process.cpuUsage();
    const done = await new Promise<{ sent: number; seconds: number; dropped: number }>((resolve) =>
      child.once('message', (message) => resolve(message as { sent: number; seconds: number; dropped: number })),
    );
    for (let waits = 0; intake.figures.taken < done.sent && waits < 500; waits++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const { user, system } = process.cpuUsage(cpu);
    reading[Symbol.dispose]();
    const stored = [...store.metas()].reduce((sum, [, meta]) => sum + meta.count, 0);
    const perSecond = Math.round(done.sent / done.seconds);
    console.log(
      `in:     ${perSecond.toLocaleString('en')} lines/s asked ${rate.toLocaleString('en')} for ${seconds} s`,
    );
    console.log(
      `        lost ${done.sent - stored} of ${done.sent.toLocaleString('en')} (emitter dropped ${done.dropped})`,
    );
    console.log(`        ${((user + system) / 10_000 / done.seconds).toFixed(0)} % of a core, ${rss()} MB resident`);
    console.log(`        a neighbour's read: median ${at(read_ms, 0.5)} ms, 99th ${at(read_ms, 0.99)} ms`);
  });
}

/** How soon after it was written a line of one app is at its reader, while another app writes at a rate. */
async function latencies(
  test: TestLoggregator,
  { rate, seconds }: { rate: number; seconds: number },
): Promise<number[]> {
  const authorization = await test.neighbours.bearer('admin', ['doppler.firehose']);
  const abort = new AbortController();
  const response = await fetch(`${test.url}/v2/read?log&source_id=neighbour`, {
    headers: { authorization },
    signal: abort.signal,
  });
  const took: number[] = [];
  const reading = (async () => {
    let text = '';
    for await (const bytes of response.body ?? []) {
      text += Buffer.from(bytes as Uint8Array).toString();
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events.filter((one) => one.startsWith('data: '))) {
        const { batch } = JSON.parse(event.slice(6)) as { batch: { log?: { payload: string } }[] };
        for (const { log } of batch) {
          if (log) took.push(performance.now() - Number(Buffer.from(log.payload, 'base64').toString()));
        }
      }
    }
  })().catch(() => {});
  const loud =
    rate > 0 ? fork(import.meta.filename, ['--emit', test.nats.url, String(rate), String(seconds), 'loud']) : undefined;
  // As every component has it: a batch waits for others up to 100 ms.
  await using emitter = new LogEmitter({ publisher: test.bus });
  const origin = { source_id: 'neighbour', instance_id: '0', source_type: 'APP/PROC/WEB', type: 'OUT' } as const;
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    emitter.emit({ ...origin, payload: String(performance.now()) });
    await new Promise((resolve) => setTimeout(resolve, 23));
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
  abort.abort();
  await reading;
  if (loud && loud.exitCode === null) await new Promise((resolve) => loud.once('exit', resolve));
  return took;
}

async function benchLatency(seconds: number): Promise<void> {
  await using test = await TestLoggregator.start();
  const alone = await latencies(test, { rate: 0, seconds });
  const beside = await latencies(test, { rate: 20_000, seconds });
  for (const [what, values] of [
    ['alone', alone],
    ['beside an app of 20,000 lines/s', beside],
  ] as const) {
    console.log(
      `follow: a line is at its reader after ${at(values, 0.5)} ms, 99th ${at(values, 0.99)} ms, ${what} (${values.length} lines)`,
    );
  }
  const ratio = (part: number): string => (Number(at(beside, part)) / Number(at(alone, part))).toFixed(2);
  console.log(`        the neighbour costs: median × ${ratio(0.5)}, 99th × ${ratio(0.99)}; ${rss()} MB resident`);
}

async function benchSearch(millions: number): Promise<void> {
  await withStore(async (store) => {
    const origin: Origin = { instance_id: '0', tags: { source_type: 'APP/PROC/WEB' } };
    let total = millions * 1_000_000;
    const begin = performance.now();
    for (let n = 0; n < total;) {
      // A busy machine searches fewer rather than all day.
      if (performance.now() - begin > FILL_LIMIT_MS) {
        total = n;
        break;
      }
      const entries: Entry[] = [];
      for (const end = n + 2_000; n < end; n++) {
        entries.push({ timestamp: BigInt(n), kind: 'OUT', origin, payload: Buffer.from(text(n)) });
      }
      store.append('app', entries);
      if (n % 200_000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    store.commit();
    const seconds = (performance.now() - begin) / 1000;
    const { disk_bytes } = store.figures;
    console.log(
      `store:  ${Math.round(total / seconds).toLocaleString('en')} lines/s made and written, ${(disk_bytes / total).toFixed(0)} bytes a line, ${rss()} MB resident`,
    );
    const searches: [string, SearchTerms][] = [
      ['a word that is everywhere', { q: 'timeout' }],
      ['an id of an early line', { q: `id=${id(1_234)} ` }],
      ['a word that is nowhere', { q: 'OutOfMemoryError' }],
      ['letters of an id that is nowhere', { q: 'deadbeefcafe' }],
      ['seven signs of an id that is nowhere', { q: '=1d2e3a4 ' }],
      ['words that are everywhere, in an order that is not', { q: 'timeout items status' }],
      ['six signs out of an id', { q: 'f9e8f9' }],
      ['five signs out of an id', { q: '9e8f9' }],
      ['four signs of an id, fewer than the filters know', { q: 'f9e8' }],
    ];
    for (const [what, terms] of searches) {
      const times: number[] = [];
      let found = 0;
      const cpu = process.cpuUsage();
      for (let n = 0; n < 3; n++) {
        const start = performance.now();
        const query = { start: 0n, end: 2n ** 62n, limit: 100, descending: true, kinds: kindBits('OUT', 'ERR') };
        found = (await store.search('app', query, terms)).length;
        times.push(performance.now() - start);
      }
      const { user, system } = process.cpuUsage(cpu);
      const cpu_ms = ((user + system) / 1000 / times.length).toFixed(0);
      console.log(
        `search: ${(total / 1e6).toFixed(1)} million lines, ${what}: ${at(times, 0.5)} ms, ${cpu_ms} ms of CPU (${found} found)`,
      );
    }
  });
}

function at(values: number[], part: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN).toFixed(1);
}

const rss = (): string => (process.memoryUsage.rss() / MB).toFixed(0);

const [first, ...rest] = process.argv.slice(2);
if (first === '--emit') {
  await emit(rest[0] ?? '', { rate: Number(rest[1]), seconds: Number(rest[2]), only: rest[3] });
} else {
  const seconds = Number(first ?? 6);
  await benchIntake(seconds, 100_000);
  await benchLatency(seconds);
  await benchSearch(Number(rest[0] ?? 10));
}
