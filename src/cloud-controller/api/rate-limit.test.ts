import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemClock } from '#kernel/clock.ts';
import { TestCloudController } from '../testing.ts';
import { RateLimiter } from './rate-limit.ts';

describe('rate limits', () => {
  it('count each user alone, and anew each hour', () => {
    let now = 0;
    const limiter = new RateLimiter(
      { user_per_hour: 2, unauthenticated_per_hour: 1 },
      { ...systemClock, now: () => now },
    );
    const isOver = (user: string): boolean => limiter.count({ user }).isOver;
    assert.deepEqual([isOver('a'), isOver('a'), isOver('a'), isOver('b')], [false, false, true, false]);
    assert.deepEqual(limiter.count({ address: '::1' }), { limit: 1, remaining: 0, resets_at_s: 3600, isOver: false });
    assert.equal(limiter.count({ address: '::1' }).isOver, true);
    now = 3_600_000;
    assert.equal(isOver('a'), false);
  });

  it('refuse users who ask too often, and never an admin', async () => {
    await using cc = await TestCloudController.start({
      limits: { rate_limit: { user_per_hour: 2, unauthenticated_per_hour: 100 } },
    });
    const eve = await cc.user('eve');
    const answers = [];
    for (let n = 0; n < 3; n++) answers.push(await eve.get('/v3/organizations'));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 429],
    );
    assert.equal(answers[2]?.at('errors.0.title'), 'CF-RateLimitExceeded');
    assert.deepEqual(
      answers.map(({ headers }) => headers.get('x-ratelimit-remaining')),
      ['1', '0', '0'],
    );
    for (let n = 0; n < 3; n++) assert.equal((await cc.admin.get('/v3/organizations')).status, 200);
  });
});
