import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '#testing/eventually.ts';
import { type Failure, FILES, PUSH_ARGS, underLoad } from './load.ts';
import { TestPlatform } from './platform.ts';

const APP = 'hosts-app';

describe('hosts in trouble under load', () => {
  let platform: TestPlatform;
  let folder: string;
  before(async () => {
    platform = await TestPlatform.start({ routers: 2 });
    folder = await platform.folder(FILES);
    await push();
    await whole(2);
  });
  after(async () => {
    await platform.cf(['delete', APP, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** Its instances as the platform tells them: state and DEA of each. */
  async function instances(): Promise<{ state: string; dea: string }[]> {
    const { output } = await platform.ingot(['status']);
    return [...output.matchAll(new RegExp(`${APP}/web/\\d+ +(\\S+) +(\\S+)`, 'g'))].map((match) => ({
      state: match[1] ?? '',
      dea: match[2] ?? '',
    }));
  }

  /** A DEA that holds instances, and how many. */
  async function busyDea(): Promise<{ dea: string; count: number }> {
    const all = await instances();
    const dea = all[0]?.dea ?? '';
    return { dea, count: all.filter((instance) => instance.dea === dea).length };
  }

  async function whole(count: number): Promise<void> {
    let all: unknown;
    try {
      await eventually(
        `${count} instances run, and no more`,
        async () => {
          const seen = await instances();
          all = seen;
          return seen.length === count && seen.every(({ state }) => state === 'RUNNING');
        },
        90,
      );
    } catch (error) {
      throw new Error(`${count} instances wanted, there are ${JSON.stringify(all)}`, { cause: error });
    }
  }

  /** What failed while it was asked all the while. */
  const failuresDuring = async (work: () => Promise<void>): Promise<Failure[]> =>
    (await underLoad(platform, APP, work)).failures;

  it('a crash of one of two instances costs only the request that crashed it', async () => {
    const failures = await failuresDuring(async () => {
      await platform.get(APP, '/crash');
      await sleep(1_000);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('kill -9 of each process that no request goes through goes unnoticed, and nothing moves', async () => {
    const guids = await serving(2);
    for (const name of ['control', 'warden', 'dea', 'dea-1', 'nats', 'postgres']) {
      const failures = await failuresDuring(async () => await killed(name));
      assert.deepEqual(failures, [], `after ${name} was killed`);
    }
    // Longer than a DEA may be silent.
    assert.deepEqual(await failuresDuring(async () => await sleep(8_000)), []);
    await whole(2);
    assert.deepEqual(await serving(2), guids);
  });

  it('kill -9 of each of two routers costs what it had in flight, nothing that comes after, and nothing moves', async () => {
    const guids = await serving(2);
    for (const name of ['router', 'router-1']) {
      const pid = platform.pidOf(name);
      let goneAt = Number.POSITIVE_INFINITY;
      const failures = await failuresDuring(async () => {
        await sleep(500);
        process.kill(pid, 'SIGKILL');
        await eventually('it is gone', () => !existsSync(`/proc/${pid}`));
        goneAt = performance.now();
        await eventually('it is back', () => platform.pidOf(name) !== pid && platform.isReady(name));
        await sleep(2_000);
      });
      assert.deepEqual(
        failures.filter(({ began_ms }) => began_ms > goneAt),
        [],
        name,
      );
    }
    assert.deepEqual(await serving(2), guids);
  });

  it('a DEA that stands still has its instances started elsewhere, and when it goes on the surplus is stopped', async (t) => {
    const { dea, count } = await busyDea();
    const pid = platform.pidOf(dea);
    const failures = await failuresDuring(async () => {
      process.kill(pid, 'SIGSTOP');
      const stoppedAt = performance.now();
      try {
        await serving(2 + count);
        t.diagnostic(`served elsewhere after ${((performance.now() - stoppedAt) / 1000).toFixed(1)} s`);
        await sleep(3_000);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('a DEA is evacuated without a dropped request', async () => {
    const { dea } = await busyDea();
    const pid = platform.pidOf(dea);
    const failures = await failuresDuring(async () => {
      process.kill(pid, 'SIGUSR2');
      await eventually('it left and is back', () => platform.pidOf(dea) !== pid, 120);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('scaling up and down drops no request', async () => {
    const failures = await failuresDuring(async () => {
      await platform.mustCf(['scale', APP, '-i', '4']);
      await whole(4);
      await platform.mustCf(['scale', APP, '-i', '1']);
      await whole(1);
      await platform.mustCf(['scale', APP, '-i', '2']);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('a rolling push, a canary that is promoted, and a rollback drop no request', async () => {
    await changed();
    const failures = await failuresDuring(async () => {
      await push('--strategy', 'rolling');
      await whole(2);
    });
    assert.deepEqual(failures, [], 'rolling');
    await changed();
    const canary = await failuresDuring(async () => {
      await push('--strategy', 'canary');
      assert.match(await platform.mustCf(['app', APP]), /PAUSED/);
      await platform.mustCf(['continue-deployment', APP]);
      await whole(2);
    });
    assert.deepEqual(canary, [], 'canary');
    const back = await failuresDuring(async () => {
      await platform.mustCf(['rollback', APP, '--version', '1', '-f']);
      await whole(2);
    });
    assert.deepEqual(back, [], 'rollback');
  });

  it('a version that never gets healthy leaves the old one serving, says why, and can be taken back', async () => {
    const guids = await serving(2);
    const command = 'echo "no database to talk to" >&2; exit 3';
    const failures = await failuresDuring(async () => {
      const args = ['push', APP, ...PUSH_ARGS, '--strategy', 'rolling', '--no-wait', '-c', command];
      const { exit_status, output } = await platform.cf(args, { cwd: folder });
      assert.equal(exit_status, 1, output);
      assert.match(output, /Start unsuccessful[^]*cf logs hosts-app --recent[^]*FAILED/);
      await eventually('the reason is told', async () =>
        /deploying[^]*Exited with status 3/i.test(await platform.mustCf(['app', APP])),
      );
      await eventually('the crash among its events', async () =>
        /app\.crash .*Exited with status 3/.test(await platform.mustCf(['events', APP])),
      );
      assert.match(await platform.mustCf(['logs', APP, '--recent']), /ERR no database to talk to/);
      // Long enough for the third crash, and the first wait.
      await sleep(3_000);
      assert.deepEqual(await serving(2), guids);
      await platform.mustCf(['cancel-deployment', APP]);
      await whole(2);
    });
    assert.deepEqual(failures, []);
    assert.deepEqual(await serving(2), guids);
  });

  async function push(...more: readonly string[]): Promise<void> {
    await platform.mustCf(['push', APP, ...PUSH_ARGS, ...more], { cwd: folder });
  }

  async function changed(): Promise<void> {
    await appendFile(join(folder, 'server.py'), '# another version\n');
  }

  async function killed(name: string): Promise<void> {
    const pid = platform.pidOf(name);
    process.kill(pid, 'SIGKILL');
    await eventually(`${name} is back`, () => platform.pidOf(name) !== pid, 60);
  }

  /** Guids of the instances that answer, once there are so many. */
  async function serving(count: number): Promise<string[]> {
    return await eventually(
      `${count} instances answer`,
      async () => {
        const seen = new Set<string>();
        for (let n = 0; n < count * 8; n++) {
          const { status, body } = await platform.get(APP);
          if (status === 200) seen.add(body.split(' ')[1] ?? '');
        }
        return seen.size === count && [...seen].toSorted();
      },
      60,
    );
  }
});
