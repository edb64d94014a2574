import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MAX_LOG_LINE_BYTES } from '#contracts/loggregator.ts';
import { LineAssembler } from './line-assembler.ts';
import { LogRateLimit } from './log-rate-limit.ts';

describe('lines of output', () => {
  it('are put together from their pieces', () => {
    const lines = new LineAssembler();
    assert.deepEqual(lines.add(Buffer.from('one'), false).map(String), ['one']);
    assert.deepEqual(lines.add(Buffer.from('t'), true), []);
    assert.deepEqual(lines.add(Buffer.from('wo'), true), []);
    assert.deepEqual(lines.add(Buffer.from('!'), false).map(String), ['two!']);
    assert.deepEqual(lines.end(), []);
  });

  it('are not lost when they end without a newline', () => {
    const lines = new LineAssembler();
    lines.add(Buffer.from('prompt> '), true);
    assert.deepEqual(lines.end().map(String), ['prompt> ']);
  });

  it('are split when too long, never within a character, however they come in', () => {
    const text = 'äß€😀'.repeat(20_000);
    const bytes = Buffer.from(text);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 20 }), (sizes) => {
        const lines = new LineAssembler();
        const got: Buffer[] = [];
        let at = 0;
        for (let n = 0; at < bytes.length; n++) {
          const size = sizes[n % sizes.length] ?? 1;
          got.push(...lines.add(bytes.subarray(at, at + size), at + size < bytes.length));
          at += size;
        }
        got.push(...lines.end());
        assert.equal(got.map(String).join(''), text);
        assert.ok(got.every((line) => line.length <= MAX_LOG_LINE_BYTES));
      }),
      { numRuns: 50 },
    );
  });
});

describe('the log rate limit', () => {
  it('passes what fits into a second, drops the rest, and tells once a second', () => {
    const limit = new LogRateLimit(100);
    assert.equal(limit.take(60, 0), 'pass');
    assert.equal(limit.take(60, 10), 'drop and tell');
    assert.equal(limit.take(60, 20), 'drop');
    assert.equal(limit.take(40, 30), 'pass');
    assert.equal(limit.take(60, 1000), 'pass');
    assert.equal(limit.take(60, 1001), 'drop and tell');
    assert.equal(limit.total, 340);
  });

  it('is none for -1, and lets nothing through for 0', () => {
    assert.equal(new LogRateLimit(-1).take(1e9, 0), 'pass');
    assert.equal(new LogRateLimit(0).take(1, 0), 'drop and tell');
  });
});
