import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { Cf } from './context.ts';
import { tailLogs } from './log-tail.ts';

/** The log cache as a client sees it: lines by their time, a page at once. */
class FakeLogCache {
  readonly #lines: { timestamp: bigint; text: string }[] = [];
  reads = 0;

  write(timestamp: bigint, text: string): void {
    this.#lines.push({ timestamp, text });
    this.#lines.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
  }

  get cf(): Cf {
    const get = async (_url: string, query: Record<string, string>): Promise<object> => {
      this.reads += 1;
      const found = this.#lines.filter(({ timestamp }) => timestamp >= BigInt(query['start_time'] ?? 0));
      const batch = found.slice(0, Number(query['limit'])).map(({ timestamp, text }) => ({
        timestamp: String(timestamp),
        instance_id: '0',
        tags: { source_type: 'APP/PROC/WEB' },
        log: { payload: Buffer.from(text).toString('base64'), type: 'OUT' },
      }));
      return { envelopes: { batch } };
    };
    return { session: { data: { LogCacheEndPoint: 'http://log-cache.test' } }, client: { get } } as unknown as Cf;
  }
}

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

async function following(cache: FakeLogCache, work: (seen: string[]) => Promise<void>): Promise<string[]> {
  const abort = new AbortController();
  const seen: string[] = [];
  const from_ns = now() - 60_000_000_000n;
  const tail = (async () => {
    for await (const { text } of tailLogs(cache.cf, 'app', { from_ns, signal: abort.signal })) seen.push(text);
  })();
  await work(seen);
  abort.abort();
  await tail;
  return seen;
}

describe('cf logs', () => {
  it('shows a line that came in later than others of its time, and none twice', async () => {
    const cache = new FakeLogCache();
    const seen = await following(cache, async (shown) => {
      const at = now();
      cache.write(at, 'first');
      await eventually('the first', () => shown.includes('first'));
      cache.write(at - 200_000_000n, 'written before, come after');
      await eventually('the late one', () => shown.length === 2);
      const reads = cache.reads;
      await eventually('looked again', () => cache.reads > reads + 3);
    });
    assert.deepEqual(seen, ['first', 'written before, come after']);
  });

  it('shows every line of a burst of more than a page once, in order', async () => {
    const cache = new FakeLogCache();
    const lines = Array.from({ length: 3_500 }, (_, n) => `line ${n}`);
    const seen = await following(cache, async (shown) => {
      const at = now() - 100_000_000n;
      for (const [n, line] of lines.entries()) cache.write(at + BigInt(n), line);
      await eventually('all', () => shown.length >= lines.length);
    });
    assert.deepEqual(seen, lines);
  });

  it('shows what was held back when it is asked to stop', async () => {
    const cache = new FakeLogCache();
    const seen = await following(cache, async () => cache.write(now(), 'last words'));
    assert.deepEqual(seen, ['last words']);
  });
});
