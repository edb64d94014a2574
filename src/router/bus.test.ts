import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemClock, type Clock } from '#kernel/clock.ts';
import { silentLog, type Log } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { RawBackend, talk, TestRouter } from './testing.ts';

const PRUNE_INTERVAL_MS = 30_000;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** The system's clock, but for what is far ahead: it jumps, and pruning is done when the test says so. */
class JumpingClock implements Clock {
  readonly sleep: Clock['sleep'] = async (ms, signal) => await systemClock.sleep(ms, signal);
  prune: () => void = () => assert.fail('nobody prunes');
  #ahead_ms = 0;

  now(): number {
    return systemClock.now() + this.#ahead_ms;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#ahead_ms;
  }

  every(ms: number, work: () => void | Promise<void>): Disposable {
    if (ms !== PRUNE_INTERVAL_MS) return systemClock.every(ms, work);
    this.prune = () => void work();
    return { [Symbol.dispose]: () => undefined };
  }

  jump(seconds: number): void {
    this.#ahead_ms += seconds * 1000;
  }
}

describe('while NATS is away', () => {
  /** A router with a route, whose NATS was killed, and which has noticed. */
  const bereft = async (suspend_pruning_if_nats_unavailable: boolean, run: Run): Promise<void> => {
    const clock = new JumpingClock();
    const said: string[] = [];
    const note = (_facts: object, message?: string): void => void said.push(message ?? '');
    const log = { ...silentLog, info: note, warn: note, child: () => log } as Log;
    await using router = await TestRouter.start({ suspend_pruning_if_nats_unavailable }, { clock, log });
    await using backend = await RawBackend.answering(OK);
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['kept.test'] });
    const status = async (): Promise<string> =>
      (await talk(router.port, 'GET / HTTP/1.1\r\nHost: kept.test\r\nConnection: close\r\n\r\n')).slice(9, 12);
    await router.nats.kill();
    await eventually('the loss', () => said.includes('message bus lost'));
    await run({
      clock,
      router,
      status,
      returns: async () => await eventually('it', () => said.includes('message bus back')),
    });
  };
  interface Run {
    (parts: {
      clock: JumpingClock;
      router: TestRouter;
      status: () => Promise<string>;
      returns: () => Promise<unknown>;
    }): Promise<void>;
  }

  it('no route is pruned, and all have their full time once it is back', async () => {
    await bereft(true, async ({ clock, router, status, returns }) => {
      for (let round = 0; round < 5; round++) {
        clock.jump(200);
        clock.prune();
        assert.equal(await status(), '200');
      }
      await router.nats.resume();
      await returns();
      clock.jump(110);
      clock.prune();
      assert.equal(await status(), '200');
      clock.jump(20);
      clock.prune();
      assert.equal(await status(), '404');
    });
  });

  it('routes are pruned all the same where that is what was asked for', async () => {
    await bereft(false, async ({ clock, status }) => {
      clock.jump(200);
      clock.prune();
      assert.equal(await status(), '404');
    });
  });
});
