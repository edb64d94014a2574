import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import { systemClock } from '#kernel/clock.ts';
import { InstanceTracker } from './instance-tracker.ts';

const process = { guid: 'p', version: 'v', instances: 2 };

function instance(name: string, change: Partial<HeartbeatInstance> = {}): HeartbeatInstance {
  return {
    cc_partition: 'default',
    droplet: 'p',
    app: 'a',
    version: 'v',
    instance: name,
    index: 0,
    state: 'RUNNING',
    state_timestamp: 100,
    routable: true,
    ...change,
  };
}
const exit = (name: string, reason: DropletExited['reason']): DropletExited => {
  const { cc_partition, droplet, app, version, index } = instance(name);
  const status = { exit_status: 1, exit_description: 'out of memory', crash_timestamp: 200 };
  return { cc_partition, droplet, app, version, index, instance: name, dea: 'd', reason, ...status };
};

class Tracked {
  now_ms = 0;
  readonly asked: string[] = [];
  readonly tracker = new InstanceTracker({
    clock: { ...systemClock, monotonic: () => this.now_ms },
    instance_silence_s: 10,
    askForBeat: (dea) => this.asked.push(dea),
  });

  beat(...droplets: HeartbeatInstance[]): void {
    this.tracker.hearBeat({ dea: 'd', run: 'r', seq: 1, digest: beatDigest(droplets), droplets });
  }
  change(seq: number, changes: DeaHeartbeat['changes']): void {
    this.tracker.hearBeat({ dea: 'd', run: 'r', seq, digest: `d${seq}`, changes });
  }
  get states(): string[] {
    return this.tracker.indexStates(process).map(({ state }) => state);
  }
}

describe('the instance tracker', () => {
  it('knows of each index what beats say, and DOWN of what none says', () => {
    const tracked = new Tracked();
    assert.deepEqual(tracked.states, ['DOWN', 'DOWN']);
    tracked.beat(instance('i'), instance('j', { index: 1, state: 'STARTING', routable: false }));
    assert.deepEqual(tracked.states, ['RUNNING', 'STARTING']);
    tracked.beat(instance('j', { index: 1 }));
    assert.deepEqual(tracked.states, ['DOWN', 'RUNNING']);
  });

  it('counts no other version, no index beyond, and an evacuating instance as running', () => {
    const tracked = new Tracked();
    tracked.beat(
      instance('i', { version: 'old' }),
      instance('j', { index: 7 }),
      instance('k', { index: 1, state: 'EVACUATING' }),
    );
    assert.deepEqual(tracked.states, ['DOWN', 'RUNNING']);
    assert.equal(tracked.tracker.isAlive(process, 1), false);
  });

  it('takes the instance that serves for the index', () => {
    const tracked = new Tracked();
    tracked.beat(instance('i', { state: 'STARTING', routable: false }), instance('j', { routable: true }));
    assert.equal(tracked.tracker.indexStates(process)[0]?.instance?.instance, 'j');
  });

  it('counts an order as starting until the DEA names it, and no longer than an order may take', () => {
    const tracked = new Tracked();
    tracked.beat();
    tracked.tracker.ordered('d', instance('i', { state: 'STARTING', routable: false }));
    assert.deepEqual(tracked.states, ['STARTING', 'DOWN']);
    tracked.beat();
    assert.deepEqual(tracked.states, ['STARTING', 'DOWN']);
    tracked.now_ms = 10_001;
    tracked.beat();
    assert.deepEqual(tracked.states, ['DOWN', 'DOWN']);
  });

  it('shows a crash with its reason until another instance starts', () => {
    const tracked = new Tracked();
    tracked.beat(instance('i'));
    tracked.tracker.exited(exit('i', 'CRASHED'));
    const [state] = tracked.tracker.indexStates(process);
    assert.deepEqual([state?.state, state?.since_s, state?.details], ['CRASHED', 200, 'out of memory']);
    tracked.tracker.notPlaced(process, 0, 'insufficient resources: memory');
    assert.equal(tracked.states[0], 'CRASHED');
    tracked.tracker.ordered('d', instance('j', { state: 'STARTING', routable: false }));
    assert.equal(tracked.states[0], 'STARTING');
    tracked.tracker.exited(exit('j', 'STOPPED'));
    assert.equal(tracked.states[0], 'DOWN');
  });

  it('takes no order for starting whose instance has already crashed', () => {
    const tracked = new Tracked();
    tracked.tracker.exited(exit('i', 'CRASHED'));
    tracked.tracker.ordered('d', instance('i', { state: 'STARTING', routable: false }));
    assert.equal(tracked.states[0], 'CRASHED');
  });

  it('says why an index has no place', () => {
    const tracked = new Tracked();
    tracked.tracker.notPlaced(process, 1, 'insufficient resources: memory');
    assert.equal(tracked.tracker.indexStates(process)[1]?.details, 'insufficient resources: memory');
  });

  it('forgets what a silent DEA holds, and takes it back when it is heard again', () => {
    const tracked = new Tracked();
    tracked.beat(instance('i'));
    tracked.now_ms = 10_001;
    assert.deepEqual(tracked.states, ['DOWN', 'DOWN']);
    tracked.tracker.hearBeat({ dea: 'd', run: 'r', seq: 1, digest: beatDigest([instance('i')]) });
    assert.deepEqual(tracked.states, ['RUNNING', 'DOWN']);
    assert.deepEqual(tracked.asked, []);
  });

  it('takes what changed, in order, and passes over what comes twice', () => {
    const tracked = new Tracked();
    tracked.beat(instance('i'));
    tracked.change(2, { held: [instance('j', { index: 1, state: 'STARTING' })], gone: [] });
    assert.deepEqual(tracked.states, ['RUNNING', 'STARTING']);
    tracked.change(3, { held: [instance('j', { index: 1 })], gone: ['i'] });
    tracked.change(2, { held: [instance('i')], gone: [] });
    assert.deepEqual(tracked.states, ['DOWN', 'RUNNING']);
    assert.deepEqual(tracked.asked, []);
  });

  it('asks for a full beat when a change was missed, keeps what it has until then, and does not ask with every beat', () => {
    const tracked = new Tracked();
    tracked.beat(instance('i'));
    for (let seq = 3; seq < 6; seq++) tracked.change(seq, { held: [], gone: ['i'] });
    assert.deepEqual(tracked.asked, ['d']);
    assert.deepEqual(tracked.states, ['RUNNING', 'DOWN']);
    tracked.beat();
    assert.deepEqual(tracked.states, ['DOWN', 'DOWN']);
    tracked.change(7, { held: [], gone: [] });
    assert.deepEqual(tracked.asked, ['d', 'd']);
  });

  it('forgets an order that its DEA never names', () => {
    const tracked = new Tracked();
    tracked.beat();
    tracked.tracker.ordered('d', instance('i', { state: 'STARTING', routable: false }));
    tracked.now_ms = 9_000;
    tracked.change(2, { held: [], gone: [] });
    tracked.tracker.prune();
    assert.deepEqual(tracked.states, ['STARTING', 'DOWN']);
    tracked.now_ms = 10_001;
    tracked.tracker.prune();
    assert.deepEqual(tracked.states, ['DOWN', 'DOWN']);
  });
});
