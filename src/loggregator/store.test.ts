import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Clock, systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { type Entry, KIND_NUMBER } from './chunk.ts';
import { ALL_KINDS, type ReadQuery } from './found.ts';
import { LogStore, type StoreLimits } from './store.ts';
import { gauge, line } from './testing.ts';

const MB = 1024 * 1024;
/** A clock whose ticks the test makes itself, by `commit` and `prune`. */
const still = (now_ms = 1_000_000): Clock => ({
  ...systemClock,
  now: () => now_ms,
  every: () => ({ [Symbol.dispose]: () => {} }),
});

class Folder implements AsyncDisposable {
  readonly path: string;
  private constructor(path: string) {
    this.path = path;
  }
  static async make(): Promise<Folder> {
    return new Folder(await mkdtemp(join(tmpdir(), 'ingot-logs-')));
  }
  open(limits: Partial<StoreLimits> = {}, clock = still()): LogStore {
    return new LogStore({
      folder: this.path,
      clock,
      log: silentLog,
      limits: { source_bytes: 64 * MB, total_bytes: 256 * MB, retention_ms: 1e12, memory_bytes: 32 * MB, ...limits },
    });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

const everything: ReadQuery = {
  start: -(2n ** 62n),
  end: 2n ** 62n,
  limit: 1_000_000,
  descending: false,
  kinds: ALL_KINDS,
};
const read = async (store: LogStore, query: Partial<ReadQuery> = {}, source = 'app'): Promise<string[]> =>
  (await store.read(source, { ...everything, ...query })).map(({ payload }) => payload.toString());
const noise = (bytes: number): string => randomBytes(bytes / 2).toString('hex');

describe('the log store', () => {
  it('gives back what was appended, in order of time, before and after it was written', async () => {
    await using folder = await Folder.make();
    await using store = folder.open();
    store.append('app', [line(30), line(10)]);
    assert.deepEqual(await read(store), ['line 10', 'line 30']);
    store.commit();
    store.append('app', [line(20)]);
    assert.deepEqual(await read(store), ['line 10', 'line 20', 'line 30']);
    assert.deepEqual(await read(store, { start: 20n, end: 30n }), ['line 20']);
    assert.deepEqual(await read(store, { descending: true, limit: 2 }), ['line 30', 'line 20']);
    assert.deepEqual(await read(store, {}, 'another'), []);
    assert.deepEqual(store.meta('app'), { count: 3, expired: 0, oldest: 10n, newest: 30n });
  });

  it('agrees with a sorted list, whatever is asked and however it came', async () => {
    await using folder = await Folder.make();
    let source = 0;
    const text = noise(20_000);
    const entry = fc.record({ at: fc.integer({ min: -50, max: 50 }), isGauge: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(entry, { maxLength: 40 }), fc.boolean()), { maxLength: 6 }),
        fc.array(
          fc.record({
            start: fc.bigInt({ min: -60n, max: 60n }),
            end: fc.bigInt({ min: -60n, max: 60n }),
            limit: fc.integer({ min: 1, max: 30 }),
            descending: fc.boolean(),
            kinds: fc.constantFrom(ALL_KINDS, 1 << KIND_NUMBER.OUT),
          }),
          { minLength: 3, maxLength: 6 },
        ),
        async (groups, queries) => {
          await using store = folder.open();
          const name = `source-${source++}`;
          const all: Entry[] = [];
          for (const [group, isCommitted] of groups) {
            // Entries large enough that a commit now and then makes a block.
            const entries = group.map(({ at, isGauge }) => (isGauge ? gauge(at, text, 1) : line(at, text)));
            store.append(name, entries);
            all.push(...entries);
            if (isCommitted) store.commit();
          }
          for (const query of queries) {
            const within = all.filter(
              ({ timestamp, kind }) =>
                timestamp >= query.start && timestamp < query.end && (query.kinds & (1 << KIND_NUMBER[kind])) !== 0,
            );
            const way = query.descending ? -1 : 1;
            const expected = within.map(({ timestamp }) => Number(timestamp)).sort((a, b) => way * (a - b));
            const boundary = expected[query.limit - 1];
            const last = boundary === undefined ? expected.length : expected.lastIndexOf(boundary) + 1;
            const found = await store.read(name, query);
            assert.deepEqual(
              found.map(({ timestamp }) => Number(timestamp)),
              expected.slice(0, last),
            );
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('has after a crash what was committed before it', async () => {
    await using folder = await Folder.make();
    // The first store is never closed: what a crash leaves is the file as it is.
    const crashed = folder.open();
    crashed.append('app', [line(1), gauge(2, 'cpu', 3)]);
    crashed.append(
      'big',
      Array.from({ length: 100 }, (_, n) => line(n, noise(10_000))),
    );
    crashed.commit();
    crashed.append('app', [line(3, 'never written')]);
    {
      await using store = folder.open();
      assert.deepEqual(await read(store), ['line 1', '{"metrics":{"cpu":{"unit":"","value":3}}}']);
      assert.equal((await read(store, {}, 'big')).length, 100);
      assert.equal(store.meta('big')?.count, 100);
      store.append('app', [line(4)]);
    }
    await using store = folder.open();
    assert.deepEqual((await read(store)).at(-1), 'line 4');
    await crashed[Symbol.asyncDispose]();
  });

  it('keeps a source within its bytes and its time, and counts what expired', async () => {
    await using folder = await Folder.make();
    await using store = folder.open({ source_bytes: 2 * MB });
    for (let n = 0; n < 10; n++) {
      store.append(
        'app',
        Array.from({ length: 100 }, (_, m) => line(n * 100 + m + 1, noise(10_000))),
      );
      store.commit();
    }
    store.append('small', [line(1, 'stays')]);
    store.commit();
    store.prune();
    const meta = store.meta('app');
    assert.ok(meta && meta.count > 200 && meta.count < 500, String(meta?.count));
    assert.equal(meta.count + meta.expired, 1000);
    assert.equal(meta.newest, 1000n);
    assert.ok(store.figures.disk_bytes <= 2 * MB);
    assert.equal((await read(store)).length, meta.count);
    assert.deepEqual(await read(store, {}, 'small'), ['stays']);
  });

  it('takes from the largest source when all together are too many', async () => {
    await using folder = await Folder.make();
    await using store = folder.open({ total_bytes: 3 * MB });
    const fill = (source: string, count: number): void => {
      for (let n = 1; n <= count; n++) store.append(source, [line(n, noise(50_000))]);
      store.commit();
    };
    fill('quiet', 20);
    fill('loud', 200);
    store.prune();
    assert.equal(store.meta('quiet')?.count, 20);
    assert.ok((store.meta('loud')?.count ?? 0) < 200);
    assert.ok(store.figures.disk_bytes <= 3 * MB);
  });

  it('forgets sources all of whose entries are too old', async () => {
    await using folder = await Folder.make();
    {
      await using store = folder.open({ retention_ms: 1000 }, still(10_000));
      store.append('old', [line(8_000_000_000n)]);
      store.append('new', [line(9_500_000_000n)]);
      store.commit();
      store.prune();
      assert.deepEqual(
        [...store.metas()].map(([source_id]) => source_id),
        ['new'],
      );
    }
    await using store = folder.open();
    assert.deepEqual(
      [...store.metas()].map(([source_id]) => source_id),
      ['new'],
    );
  });

  it('holds no more in memory than it may, however many sources there are', async () => {
    await using folder = await Folder.make();
    await using store = folder.open({ memory_bytes: MB });
    for (let n = 0; n < 300; n++) {
      store.append(`source-${n}`, [line(n, noise(20_000))]);
      if (n % 10 === 0) store.commit();
      assert.ok(store.figures.memory_bytes <= 1.5 * MB, String(store.figures.memory_bytes));
    }
    assert.equal((await read(store, {}, 'source-7')).length, 1);
    assert.equal([...store.metas()].length, 300);
  });

  it('never tears entries of one ns apart at the limit', async () => {
    await using folder = await Folder.make();
    await using store = folder.open();
    store.append('app', [line(1, 'a'), line(2, 'b'), line(2, 'c'), line(3, 'd')]);
    assert.deepEqual(await read(store, { limit: 2 }), ['a', 'b', 'c']);
    assert.deepEqual(await read(store, { limit: 2, start: 3n }), ['d']);
  });
});
