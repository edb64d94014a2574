import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatLabels, mergeExpositions, parseExposition } from '#http/exposition.ts';
import { History } from './history.ts';

describe('the history', () => {
  it('has the last points of a series, whatever was recorded', () => {
    const points = 10;
    fc.assert(
      fc.property(
        fc.array(fc.record({ pause: fc.integer({ min: 1, max: 4 }), value: fc.integer({ min: 0, max: 2 }) })),
        (steps) => {
          const history = new History({ step_ms: 10, points, memory_bytes: 1e6 });
          const expected: [number, number][] = [];
          let step = 100;
          for (const { pause, value } of steps) {
            step += pause;
            history.record('n', 'a="1"', { at_ms: step * 10 + 3, value });
            expected.push([step * 10, value]);
          }
          const kept = expected.filter(([at_ms]) => at_ms > (step - points) * 10);
          assert.deepEqual(history.find('n')[0]?.points ?? [], kept);
        },
      ),
    );
  });

  it('takes no more memory than it may, and forgets what has ended', () => {
    const history = new History({ step_ms: 1, points: 1000, memory_bytes: 100_000 });
    for (let step = 0; step < 5; step++) {
      for (let n = 0; n < 500; n++) history.record('n', `n="${n}"`, { at_ms: step, value: step * n });
    }
    assert.ok(history.figures.bytes <= 100_000);
    assert.ok(history.figures.series > 5);
    assert.ok(history.figures.refused > 0);
    history.prune(5_000);
    assert.deepEqual({ ...history.figures, refused: 0 }, { series: 0, bytes: 0, refused: 0 });
  });
});

describe('the exposition', () => {
  it('reads what it wrote', () => {
    const labels = { component: 'Router', path: 'a "quoted" \\ {one}\n, b=' };
    const exposition = [
      { name: 'a_total', help: 'counts', type: 'counter', samples: [{ name: 'a_total', labels: '', value: 1 }] },
      {
        name: 'h',
        help: '',
        type: 'histogram',
        samples: [
          { name: 'h_bucket', labels: 'le="+Inf"', value: 3 },
          { name: 'h_sum', labels: '', value: 1e-7 },
          { name: 'h_count', labels: '', value: 3 },
        ],
      },
      { name: 'g', help: '', type: 'gauge', samples: [{ name: 'g', labels: '', value: -Infinity }] },
    ];
    const read = parseExposition(mergeExpositions([{ labels, exposition }]), 100);
    const own = formatLabels(labels);
    const expected = exposition.map((family) => ({
      ...family,
      samples: family.samples.map((sample) => ({
        ...sample,
        labels: sample.labels === '' ? own : `${own},${sample.labels}`,
      })),
    }));
    assert.deepEqual(read, expected);
  });

  it('reads no more samples than it may', () => {
    const text = Array.from({ length: 100 }, (_, n) => `m{n="${n}"} ${n}`).join('\n');
    assert.equal(parseExposition(text, 10)[0]?.samples.length, 10);
  });
});
