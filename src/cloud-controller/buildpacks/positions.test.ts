import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { reorder } from './positions.ts';

describe('the order of buildpacks', () => {
  const cases: [what: string, moved: string, position: number | undefined, order: string][] = [
    ['a new one goes to the front', 'x', 1, 'xabc'],
    ['a new one goes between', 'x', 3, 'abxc'],
    ['beyond the end is last', 'x', 99, 'abcx'],
    ['one moves back', 'a', 2, 'bac'],
    ['one moves to the front', 'c', 1, 'cab'],
    ['one is taken out', 'b', undefined, 'ac'],
  ];
  for (const [what, moved, position, order] of cases) {
    it(what, () => assert.equal(reorder(['a', 'b', 'c'], moved, position).join(''), order));
  }
});
