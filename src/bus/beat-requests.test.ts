import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BeatRequests } from './beat-requests.ts';

describe('requests for whole lists', () => {
  it('go to fifty DEAs at once, and to the next as they answer or fail to', () => {
    const asked: string[] = [];
    const requests = new BeatRequests({ ask: (dea) => void asked.push(dea) });
    for (let n = 0; n < 50; n++) requests.want(`d${n}`, 0);
    for (const dea of ['a', 'b', 'd0']) requests.want(dea, 0);
    assert.equal(asked.length, 50);
    requests.heard('d0', 10);
    assert.deepEqual(asked.slice(50), ['a']);
    requests.want('d1', 2000);
    assert.deepEqual(asked.slice(50), ['a', 'b']);
    requests.heard('d2', 2010);
    requests.want('d1', 2020);
    assert.deepEqual(asked.slice(50), ['a', 'b', 'd1']);
  });
});
