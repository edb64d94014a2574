import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { placeBeat, type BeatMark, type BeatPlace } from './beat-order.ts';
import type { DeaHeartbeat } from './dea.ts';

const held: BeatMark = { run: 'r', seq: 5, digest: 'd5' };
const changes = { held: [], gone: ['i'] };

const CASES: [what: string, known: BeatMark | undefined, beat: Partial<DeaHeartbeat>, place: BeatPlace][] = [
  ['the first heard of a DEA, without its list', undefined, {}, 'unknown'],
  ['the first heard of a DEA, changes only', undefined, { changes }, 'unknown'],
  ['the first heard of a DEA, its list', undefined, { droplets: [] }, 'full'],
  ['nothing changed', held, {}, 'same'],
  ['a change', held, { seq: 6, digest: 'd6', changes }, 'next'],
  ['the same change twice', held, { changes }, 'same'],
  ['a change from before', held, { seq: 4, digest: 'd4', changes }, 'old'],
  ['a whole list from before', held, { seq: 4, digest: 'd4', droplets: [] }, 'old'],
  ['a change after one that was lost', held, { seq: 7, digest: 'd7', changes }, 'unknown'],
  ['a beat after a change that was lost', held, { seq: 6, digest: 'd6' }, 'unknown'],
  ['a change that was undone, both lost', held, { seq: 7 }, 'unknown'],
  ['a list that is not what it ought to be', held, { digest: 'other' }, 'unknown'],
  ['a DEA that started again with the same', held, { run: 'other', seq: 1 }, 'same'],
  ['a DEA that started again with something else', held, { run: 'other', seq: 1, digest: 'e' }, 'unknown'],
  ['a change of a DEA that started again', held, { run: 'other', seq: 6, digest: 'd6', changes }, 'unknown'],
  ['the list of a DEA that started again', held, { run: 'other', seq: 1, digest: 'e', droplets: [] }, 'full'],
];

describe('a beat', () => {
  for (const [what, known, beat, place] of CASES) {
    it(`is ${place}: ${what}`, () => {
      assert.equal(placeBeat(known, { dea: 'dea', ...held, ...beat }), place);
    });
  }
});
