import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { systemClock } from './clock.ts';
import { currentRequest, forRequest, requestHeaders } from './request-scope.ts';

describe('a loop', () => {
  /** The ids under which three turns ran, read after they waited for something. */
  async function idsOfTurns(): Promise<string[]> {
    const ids: string[] = [];
    using _loop = systemClock.every(1, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(requestHeaders()['x-vcap-request-id'], currentRequest()?.request_id);
      ids.push(currentRequest()?.request_id ?? 'none');
    });
    return await eventually('three turns', () => ids.length >= 3 && ids.slice(0, 3));
  }

  it('has an id for each of its turns, which goes on to whoever is asked', async () => {
    const ids = await idsOfTurns();
    for (const id of ids) assert.match(id, /^own-[\w-]{36}$/);
    assert.equal(new Set(ids).size, 3);
  });

  it('that was begun for a request is that request’s', async () => {
    const ids = await forRequest({ request_id: 'r-1' }, idsOfTurns);
    assert.deepEqual(ids, ['r-1', 'r-1', 'r-1']);
  });
});
