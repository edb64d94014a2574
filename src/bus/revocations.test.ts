import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { revocationList, tokenRevoked, type Revocation } from '#contracts/uaa.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { Bus } from './bus.ts';
import { followRevocations } from './revocations.ts';

describe('revocations', () => {
  it('are told as the UAA says them, and all of them again after the bus was away', async () => {
    await using nats = await TestNats.start();
    await using uaa = await Bus.connect({ servers: [nats.url], name: 'uaa', log: silentLog });
    await using bus = await Bus.connect({ servers: [nats.url], name: 'resource', log: silentLog });
    const kept: Revocation[] = [{ jti: 'old', issued_until: 1, expires_at: 2 }];
    uaa.reply(revocationList, () => ({ revocations: kept }));
    await uaa.flush();
    const heard: (string | undefined)[] = [];
    using _following = followRevocations({
      bus,
      clock: systemClock,
      refusers: [{ refuse: ({ jti }) => heard.push(jti) }],
    });
    await eventually('the list', () => heard.includes('old'));
    uaa.publish(tokenRevoked, { jti: 'new', issued_until: 1, expires_at: 2 });
    await eventually('the new one', () => heard.includes('new'));
    await nats.kill();
    kept.push({ jti: 'meanwhile', issued_until: 1, expires_at: 2 });
    await eventually('both see it gone', () => !bus.isConnected && !uaa.isConnected);
    await nats.resume();
    await eventually('what was missed', () => heard.includes('meanwhile'), 90);
    assert.equal(heard.filter((jti) => jti === 'new').length, 1);
  });
});
