import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import type { DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import { Reconciler } from './reconciler.ts';

const reconciler = (): Reconciler =>
  new Reconciler({
    silence_ms: 6_000,
    desired_ttl_ms: 120_000,
    crash_count_ttl_ms: 1_920_000,
    max_starts_per_round: 3,
    missing_grace_ms: 5_000,
    start_keep_alive_ms: 8_000,
    stop_keep_alive_ms: 10_000,
    duplicate_delay_ms: 30_000,
    duplicate_stagger_ms: 10_000,
    crashes_before_backoff: 3,
    first_backoff_ms: 30_000,
    max_backoff_ms: 960_000,
  });
const desired = (droplet: string, instances: number, change: Partial<DesiredProcess> = {}): DesiredProcess => ({
  droplet,
  app: droplet,
  version: 'v',
  instances,
  state: 'STARTED',
  package_state: 'STAGED',
  ...change,
});
const held = (droplet: string, index: number, change: Partial<HeartbeatInstance> = {}): HeartbeatInstance => ({
  cc_partition: 'default',
  droplet,
  app: droplet,
  version: 'v',
  instance: `${droplet}-${index}`,
  index,
  state: 'RUNNING',
  state_timestamp: 1,
  routable: true,
  ...change,
});
const full = (dea: string, droplets: HeartbeatInstance[]): Parameters<Reconciler['beat']>[0] => ({
  dea,
  run: 'r',
  seq: 1,
  droplets,
  digest: beatDigest(droplets),
});
const short = (dea: string, digest: string): Parameters<Reconciler['beat']>[0] => ({ dea, run: 'r', seq: 1, digest });
const exit = (droplet: string, index: number, reason: DropletExited['reason'] = 'CRASHED'): DropletExited => ({
  cc_partition: 'default',
  dea: 'one',
  droplet,
  app: droplet,
  version: 'v',
  instance: `${droplet}-${index}`,
  index,
  reason,
  exit_status: 1,
  exit_description: '',
});

/** Beats each second from `from` to `to`, as DEAs at rest do. */
function live(on: Reconciler, deas: Record<string, HeartbeatInstance[]>, from: number, to: number): string[] {
  const said: string[] = [];
  for (let now = from; now <= to; now += 1000) {
    for (const [dea, list] of Object.entries(deas)) on.beat(full(dea, list), now);
    said.push(
      ...on.round(now).steps.map((step) => `${now / 1000}: ${step.do} ${step.droplet}/${step.index} ${step.why}`),
    );
  }
  return said;
}

describe('the reconciler', () => {
  it('does nothing before both sides are fresh', () => {
    const on = reconciler();
    assert.deepEqual(live(on, { one: [] }, 0, 10_000), []);
    on.fetched([desired('a', 1)], { askedAt: 10_000, now: 10_000 });
    assert.deepEqual(live(on, { one: [] }, 11_000, 17_000), ['11: start a/0 missing']);
  });

  it('asks again only after the keep-alive', () => {
    const on = reconciler();
    on.fetched([desired('a', 1)], { askedAt: 0, now: 0 });
    assert.deepEqual(live(on, { one: [] }, 0, 28_000), [
      '6: start a/0 missing',
      '14: start a/0 missing',
      '22: start a/0 missing',
    ]);
  });

  it('answers a crash at once', () => {
    const on = reconciler();
    on.fetched([desired('a', 1)], { askedAt: 0, now: 0 });
    live(on, { one: [held('a', 0)] }, 0, 8_000);
    on.exited(exit('a', 0), 8_100);
    assert.deepEqual(
      on.round(8_100).steps.map((step) => step.do),
      ['start'],
    );
    assert.deepEqual(on.round(8_200).steps, []);
  });

  it('starts what a silent DEA held elsewhere after three beats, at once', () => {
    const on = reconciler();
    on.fetched([desired('a', 2)], { askedAt: 0, now: 0 });
    live(on, { one: [held('a', 0)], two: [held('a', 1)] }, 0, 8_000);
    assert.deepEqual(live(on, { two: [held('a', 1)] }, 9_000, 14_000), ['14: start a/0 missing']);
  });

  it('blames no DEA for a bus that was away, and begins with a list that is fresh', () => {
    const on = reconciler();
    on.fetched([desired('a', 2)], { askedAt: 0, now: 0 });
    live(on, { one: [held('a', 0)], two: [held('a', 1)] }, 0, 8_000);
    on.interrupt(60_000);
    assert.deepEqual(live(on, { one: [held('a', 0)], two: [held('a', 1)] }, 60_000, 75_000), []);
  });

  it('asks a DEA for its list when something of it was missed, and takes what changed when nothing was', () => {
    const on = reconciler();
    const names = (): string[] => on.actual.instancesOf('a').map(({ instance, state }) => `${instance} ${state}`);
    assert.equal(on.beat(short('one', 'x'), 0), true);
    const list = [held('a', 0), held('a', 1)];
    assert.equal(on.beat(full('one', list), 1), false);
    assert.equal(on.beat(short('one', beatDigest(list)), 2), false);
    on.exited(exit('a', 0), 3);
    const changes = { held: [held('a', 2, { state: 'STARTING' })], gone: ['a-0', 'unheard-of'] };
    assert.equal(on.beat({ ...short('one', 'two'), seq: 2, changes }, 4), false);
    assert.deepEqual(names(), ['a-1 RUNNING', 'a-2 STARTING']);
    assert.equal(on.beat(full('one', list), 5), false, 'what came late is passed over');
    const next = { held: [held('a', 2)], gone: ['a-1'] };
    assert.equal(on.beat({ ...short('one', 'three'), seq: 3, changes: next }, 6), false);
    assert.deepEqual(names(), ['a-2 RUNNING']);
    assert.equal(on.beat({ ...short('one', 'five'), seq: 5, changes: next }, 7), true, 'one was lost');
  });

  it('limits the starts of a round and takes apps with nothing left first', () => {
    const on = reconciler();
    on.fetched([desired('half', 2), desired('none', 3)], { askedAt: 0, now: 0 });
    const said = live(on, { one: [held('half', 0)] }, 0, 8_000);
    assert.deepEqual(
      said.slice(0, 3).map((line) => line.slice(3)),
      ['start none/0 missing', 'start none/1 missing', 'start none/2 missing'],
    );
    assert.equal(said[3], '7: start half/1 missing');
  });

  it('keeps a hint over a reading that began before it', () => {
    const on = reconciler();
    on.desired.beginReading();
    on.updated(desired('a', 5));
    on.fetched([desired('a', 1)], { askedAt: 0, now: 10 });
    assert.equal(on.desired.get('a')?.instances, 5);
  });

  it('stops what runs of a process that is gone', () => {
    const on = reconciler();
    on.fetched([], { askedAt: 0, now: 0 });
    assert.deepEqual(live(on, { one: [held('a', 0)] }, 0, 7_000), ['6: stop a/0 undesired']);
  });

  it('is not fresh while a DEA that beats has not said what it holds, but waits for none for ever', () => {
    const on = reconciler();
    on.fetched([desired('a', 1)], { askedAt: 0, now: 0 });
    const fresh: number[] = [];
    for (let now = 0; now <= 20_000; now += 1_000) {
      on.beat(full('one', [held('a', 0)]), now);
      assert.equal(on.beat(short('mute', 'x'), now), true);
      if (on.isFresh(now)) fresh.push(now);
    }
    assert.equal(fresh[0], 12_000);
    const other = reconciler();
    other.fetched([desired('a', 1)], { askedAt: 0, now: 0 });
    for (let now = 0; now <= 8_000; now += 1_000) {
      other.beat(short('late', 'x'), now);
      assert.equal(other.isFresh(now), false);
    }
    other.beat(full('late', [held('a', 0)]), 8_500);
    assert.equal(other.isFresh(8_500), true);
  });

  it('blames no DEA for what it slept through itself', () => {
    const on = reconciler();
    on.fetched([desired('a', 1)], { askedAt: 0, now: 0 });
    const beats = { one: [held('a', 0)], other: [] };
    let now = 0;
    const go = (): ReturnType<Reconciler['round']> => {
      on.wake(now);
      return on.round(now);
    };
    for (; now <= 8_000; now += 250) {
      if (now < 7_000) on.beat(full('one', beats.one), now);
      on.beat(full('other', beats.other), now);
      assert.deepEqual(go(), { steps: [], lostDeas: [] });
    }
    now += 5_000;
    assert.deepEqual(go(), { steps: [], lostDeas: [] });
    on.beat(full('one', beats.one), now);
    now += 250;
    assert.deepEqual(go(), { steps: [], lostDeas: [] });
  });

  it('asks for nothing while another leads, and for nothing that the other asked for when it leads itself', () => {
    const on = reconciler();
    on.fetched([desired('a', 1), desired('b', 1)], { askedAt: 0, now: 0 });
    let now = 0;
    for (; now <= 12_000; now += 250) {
      on.beat(full('one', []), now);
      assert.deepEqual(on.round(now, { isLeading: false }).steps, []);
      if (now === 11_500) on.asked({ do: 'start', droplet: 'a', version: 'v', index: 0 }, now);
    }
    on.beat(full('one', []), now);
    assert.deepEqual(
      on.round(now).steps.map((step) => step.droplet),
      ['b'],
    );
  });

  it('takes what waits for its turn before what is less urgent, and each once', () => {
    const on = reconciler();
    const apps = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    on.fetched([...apps.map((app) => desired(app, 1)), desired('half', 2)], { askedAt: 0, now: 0 });
    const asked: string[] = [];
    for (let now = 0; now < 15_000; now += 250) {
      on.beat(full('one', [held('half', 0)]), now);
      asked.push(...on.round(now).steps.map((step) => step.droplet));
    }
    // Again after the keep-alive, in the same order.
    assert.deepEqual(asked.slice(0, 8), [...apps, 'half']);
    assert.equal(new Set(asked.slice(0, 8)).size, 8);
  });
});
