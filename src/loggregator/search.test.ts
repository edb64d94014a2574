import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { Chunk, type Entry, type Origin } from './chunk.ts';
import { kindBits, type ReadQuery } from './found.ts';
import { LogStore } from './store.ts';
import { buildFilter } from './text-filter.ts';
import { line, web } from './testing.ts';
import { type SearchTerms, TextSearch } from './text-search.ts';

const MB = 1024 * 1024;
const router: Origin = { instance_id: '1', tags: { source_type: 'RTR', request_id: 'tagged-1f2e' } };
const query: ReadQuery = { start: 0n, end: 2n ** 62n, limit: 100, descending: true, kinds: kindBits('OUT', 'ERR') };

describe('a search', () => {
  let folder: string;
  let store: LogStore;
  const ids = Array.from({ length: 30_000 }, () => randomUUID());
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingot-search-'));
    const limits = { source_bytes: 256 * MB, total_bytes: 256 * MB, retention_ms: 1e15, memory_bytes: 16 * MB };
    store = new LogStore({ folder, clock: systemClock, log: silentLog, limits });
    // Enough for many blocks, and the last hundred still in memory.
    const entries = ids.map((id, n) => line(n, `INFO request ${id} of user-${n} took ${n % 97} ms`));
    entries[7] = line(7, 'ERROR: Außer Betrieb, Überlauf');
    entries[8] = line(8, 'level=warn the disk fills');
    entries[9] = { ...line(9, 'a line without a level'), kind: 'ERR' };
    entries[10] = line(10, 'GET /x vcap_request_id:"9d7f1c2e"', router);
    for (let at = 0; at < 29_900; at += 1000) {
      store.append('app', entries.slice(at, Math.min(at + 1000, 29_900)));
      store.commit();
    }
    store.append('app', entries.slice(29_900));
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  const find = async (terms: SearchTerms, change: Partial<ReadQuery> = {}): Promise<number[]> =>
    (await store.search('app', { ...query, ...change }, terms)).map(({ timestamp }) => Number(timestamp));

  const cases: [string, () => SearchTerms, number[]][] = [
    ['an id on disk', () => ({ q: ids[1234] ?? '' }), [1234]],
    ['an id in memory', () => ({ q: ids[29_999] ?? '' }), [29_999]],
    ['part of an id', () => ({ q: (ids[20_000] ?? '').slice(3, 30) }), [20_000]],
    ['a request id, exactly', () => ({ request_id: ids[555] ?? '' }), [555]],
    ['a request id in a tag', () => ({ request_id: 'tagged-1f2e' }), [10]],
    ['text whatever its case', () => ({ q: 'aUßer BETRIEB, Üb' }), [7]],
    ['text that is nowhere', () => ({ q: 'no such thing' }), []],
    ['text across the end of a line', () => ({ q: 'msINFO' }), []],
    ['a level by its word', () => ({ level: 'warn' }), [8]],
    ['the level of standard error', () => ({ level: 'error' }), [9, 7]],
    ['a source', () => ({ source: 'rtr' }), [10]],
    ['an instance and a text', () => ({ instance: '0', q: 'GET /x' }), []],
  ];
  for (const [what, terms, expected] of cases) {
    it(`finds ${what}`, async () => {
      assert.deepEqual(await find(terms()), expected);
    });
  }

  it('gives the newest first, or the oldest, up to the limit', async () => {
    assert.deepEqual(await find({ q: 'took 5 ms' }, { limit: 3 }), [29_978, 29_881, 29_784]);
    assert.deepEqual(await find({ q: 'took 5 ms' }, { limit: 3, descending: false }), [5, 102, 199]);
    assert.deepEqual(await find({ source: 'APP' }, { limit: 2, end: 500n }), [499, 498]);
  });

  it('runs beside others without mixing up what they find', async () => {
    const wanted = Array.from({ length: 20 }, (_, n) => n * 1371);
    const found = await Promise.all(wanted.map(async (n) => await find({ q: ids[n] ?? '' })));
    assert.deepEqual(
      found,
      wanted.map((n) => [n]),
    );
  });

  it('is never kept by a filter from a block that has what it looks for', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'B', '1', '9', 'f', '-', ' ', 'é', 'x'), maxLength: 30 });
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(),
        fc.nat(),
        (lines, which, from, length) => {
          const chunk = Chunk.encode(lines.map((payload, n): Entry => ({ ...line(n, payload), origin: web })));
          const chosen = lines[which % lines.length] ?? '';
          const start = from % (chosen.length + 1);
          const q = chosen.slice(start, start + 1 + (length % 12));
          if (q === '') return;
          const search = new TextSearch({ q });
          const filter = buildFilter(chunk);
          assert.ok(search.mayHold(filter));
          // A third of before, which knew other runs, says nothing of these.
          filter.writeUInt32LE((filter.readUInt32LE(0) & ~0x4000_0000) >>> 0, 0);
          filter.fill(0, 8 + (filter.readUInt32LE(0) & 0x3fff_ffff) + filter.readUInt32LE(4));
          assert.ok(search.mayHold(filter));
          assert.ok(search.matcher(chunk)?.(chunk, which % lines.length));
        },
      ),
    );
  });

  it('skips blocks that cannot have it', () => {
    const filter = buildFilter(Chunk.encode(ids.slice(0, 1000).map((id, n) => line(n, id))));
    const others = ids.slice(1000, 2000).filter((id) => new TextSearch({ q: id }).mayHold(filter));
    assert.ok(others.length < 50, String(others.length));
    // Each word of these is everywhere, and they never meet like that.
    const lines = ['GET /items took 5 ms', 'status of the timeout', 'items: status is ok'];
    const prose = buildFilter(Chunk.encode(lines.map((text, n) => line(n, text))));
    const may = (q: string): boolean => new TextSearch({ q }).mayHold(prose);
    for (const q of ['tus of the tim', 'status is', ': Status i', '/items to', 'items', 'e timeout'])
      assert.ok(may(q), q);
    for (const q of ['timeout items status', 'items status', 'status the', 'items took 5 ms status'])
      assert.ok(!may(q), q);
    // Every run of three is there in text full of ids, and few of those of five.
    for (const q of ['deadbeefcafe', 'xdeadbx', '0d1e2a3d4']) assert.ok(!new TextSearch({ q }).mayHold(filter), q);
    for (const [length, most] of [
      [5, 500],
      [6, 200],
    ] as const) {
      const parts = ids.slice(1000, 2000).map((id) => id.slice(-length));
      const held = parts.filter((q) => new TextSearch({ q }).mayHold(filter)).length;
      assert.ok(held < most, `${held} of 1000 parts of ${length} signs`);
    }
  });
});
