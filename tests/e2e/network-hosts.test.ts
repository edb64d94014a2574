import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '#testing/eventually.ts';
import { FILES, type Load, PUSH_ARGS, underLoad } from './load.ts';
import { NetworkHost } from './network-host.ts';
import { TestPlatform } from './platform.ts';

const APP = 'network-hosts-app';
/** Longer than a DEA may be silent. */
const SILENCE_MS = 8_000;

describe('hosts of their own on a network, in trouble under load', () => {
  let platform: TestPlatform;
  let folder: string;
  let guid: string;
  let one: NetworkHost;
  let two: NetworkHost;
  /** DEAs of the platform's own machine, which stand still so that all is on the hosts. */
  let standing: number[] = [];

  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder(FILES);
    await platform.mustCf(['push', APP, ...PUSH_ARGS], { cwd: folder });
    await platform.mustCf(['stop', APP]);
    guid = (await platform.mustCf(['app', APP, '--guid'])).trim();
    standing = ['dea', 'dea-1'].map((name) => platform.pidOf(name));
    for (const pid of standing) process.kill(pid, 'SIGSTOP');
    [one, two] = await Promise.all([NetworkHost.start(platform, 1), NetworkHost.start(platform, 2)]);
    await platform.mustCf(['start', APP]);
  });
  after(async () => {
    for (const host of [one, two]) await host?.[Symbol.asyncDispose]();
    for (const pid of standing) process.kill(pid, 'SIGCONT');
    await platform.cf(['delete', APP, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** Hosts of the instances that run, as the API tells them. */
  async function running(): Promise<string[]> {
    const { body } = await platform.api(`/v3/apps/${guid}/processes/web/stats`);
    const { resources } = JSON.parse(body) as { resources: { state: string; host?: string }[] };
    return resources.filter(({ state }) => state === 'RUNNING').map(({ host }) => host ?? '');
  }

  async function runOn(...hosts: readonly NetworkHost[]): Promise<void> {
    let seen: string[] = [];
    const wanted = hosts.map(({ ip }) => ip).toSorted();
    try {
      await eventually(
        'the instances run where they should',
        async () => {
          seen = (await running()).toSorted();
          return seen.join() === wanted.join();
        },
        60,
      );
    } catch (error) {
      const logs = [one, two].map((host) => host.logs()).join('\n');
      throw new Error(`wanted on ${wanted.join()}, run on ${seen.join()}\n${logs}`, { cause: error });
    }
  }

  /** One instance on each host, and nothing else. */
  async function spread(): Promise<void> {
    // A restart would place the new ones away from the old ones.
    await platform.mustCf(['stop', APP]);
    await eventually('nothing is left', async () => (await one.containers()) + (await two.containers()) === 0, 60);
    await platform.mustCf(['start', APP]);
    await runOn(one, two);
  }

  /** An outage of `one`, until both run on `two`; only what was in flight may be lost. */
  async function moves(t: TestContext, strike: () => Promise<void>): Promise<Load> {
    let struckAt = 0;
    const load = await underLoad(platform, APP, async () => {
      struckAt = performance.now();
      await strike();
      await runOn(two, two);
      t.diagnostic(`serves elsewhere after ${((performance.now() - struckAt) / 1000).toFixed(1)} s`);
      await sleep(1_000);
    });
    t.diagnostic(`${load.answered} answered, the slowest in ${Math.round(load.slowest_ms)} ms`);
    t.diagnostic(
      JSON.stringify(load.failures.slice(0, 8).map((f) => ({ ...f, began_ms: f.began_ms - struckAt }))) +
        load.failures.length,
    );
    const late = load.failures.filter(({ began_ms }) => began_ms > struckAt);
    assert.deepEqual(late.slice(0, 3), [], 'only what was in flight is lost');
    return load;
  }

  it('a slow host loses nothing, and nothing moves', async () => {
    await spread();
    const { failures } = await underLoad(platform, APP, async () => {
      await one.slowDown();
      await sleep(SILENCE_MS);
      await one.speedUp();
    });
    assert.deepEqual(failures, []);
    await runOn(one, two);
  });

  it('a host whose clock jumps loses nothing, and nothing moves', async () => {
    const { failures } = await underLoad(platform, APP, async () => {
      one.jumpClock('+2h');
      await sleep(SILENCE_MS);
      one.jumpClock('-2h');
      await sleep(SILENCE_MS);
      one.jumpClock('+0');
    });
    assert.deepEqual(failures, []);
    await runOn(one, two);
  });

  it('a host whose link is down is replaced, and its surplus is stopped when it is back', async (t) => {
    await moves(t, async () => await one.link('down'));
    const { failures } = await underLoad(platform, APP, async () => {
      await one.link('up');
      await eventually('its surplus is stopped', async () => (await one.containers()) === 0, 90);
    });
    assert.deepEqual(failures, []);
    await runOn(two, two);
  });

  for (const lost of ['what it says', 'what it is told'] as const) {
    it(`a host of which ${lost} is lost is replaced`, async (t) => {
      await spread();
      await moves(t, async () => await one.halfOpen(lost));
      await one.wholeAgain();
    });
  }

  it('a host that loses its power is replaced', async (t) => {
    await spread();
    await moves(t, async () => await one.kill());
  });
});
