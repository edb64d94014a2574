import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BeatRequests } from './beat-requests.ts';

describe('requests for full beats', () => {
  it('go to so many DEAs at once, and to the next as they answer or fail to', () => {
    const asked: string[] = [];
    const requests = new BeatRequests({ at_once: 2, patience_ms: 1000, ask: (dea) => void asked.push(dea) });
    for (const dea of ['a', 'b', 'c', 'd', 'a']) requests.want(dea, 0);
    assert.deepEqual(asked, ['a', 'b']);
    requests.heard('a', 10);
    assert.deepEqual(asked, ['a', 'b', 'c']);
    requests.want('b', 1000);
    assert.deepEqual(asked, ['a', 'b', 'c', 'd']);
    requests.heard('c', 1010);
    requests.want('b', 1020);
    assert.deepEqual(asked, ['a', 'b', 'c', 'd', 'b']);
  });
});
