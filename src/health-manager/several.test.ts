import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import { deaHeartbeat, dropletExited, type HeartbeatInstance } from '#contracts/dea.ts';
import { hm9000Start, hm9000Stop } from '#contracts/health-manager.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { simulatedCloudController } from './testing.ts';

const BEAT_MS = 200;

const wanted = (droplet: string): DesiredProcess => ({
  droplet,
  app: droplet,
  version: 'v',
  instances: 1,
  state: 'STARTED',
  package_state: 'STAGED',
});
const running = (droplet: string): HeartbeatInstance => ({
  cc_partition: 'default',
  droplet,
  app: droplet,
  version: 'v',
  instance: `${droplet}-instance`,
  index: 0,
  state: 'RUNNING',
  state_timestamp: 1,
  routable: true,
});
const isLeading = (manager: ComponentProcess): boolean =>
  manager.output.lastIndexOf('"msg":"leading"') > manager.output.lastIndexOf('"msg":"no longer leading"');
const isFresh = (manager: ComponentProcess): boolean => manager.output.includes('"msg":"knowledge fresh"');

describe('several health managers', () => {
  it('are one after the other when the leader is killed: each thing is asked for, and nothing twice', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-hm-'));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const nats = stack.use(await TestNats.start());
    const apps = ['lives', 'vanishes', 'crashes-before', 'crashes-after', 'crashes-meanwhile'];
    const cc = stack.use(await simulatedCloudController(apps.map(wanted)));
    const bus = stack.use(await Bus.connect({ servers: [nats.url], name: 'dea', log: silentLog }));
    const asked: string[] = [];
    bus.subscribe(hm9000Start, ({ droplet, reason }) => void asked.push(`${droplet} ${reason}`));
    bus.subscribe(hm9000Stop, ({ droplet }) => void asked.push(`${droplet} stopped`));
    const held = new Map(apps.map((droplet) => [droplet, running(droplet)]));
    const beat = (): void => {
      const droplets = [...held.values()];
      bus.publish(deaHeartbeat, { dea: 'one', run: 'r', seq: 1, droplets, digest: beatDigest(droplets) });
    };
    const crash = (droplet: string): void => {
      held.delete(droplet);
      const exit = { exit_status: 1, exit_description: '', reason: 'CRASHED' as const };
      bus.publish(dropletExited, { ...running(droplet), dea: 'one', ...exit });
      beat();
    };
    stack.use(systemClock.every(BEAT_MS, beat));
    const launch = async (): Promise<ComponentProcess> =>
      stack.use(
        await ComponentProcess.start({
          room: 'health-manager',
          schema: 'HealthManagerConfig',
          folder,
          config: {
            nats_servers: [nats.url],
            cc_url: cc.url,
            internal_api: { user: 'internal', password: 'secret' },
            status: { user: 'u', password: 'p' },
            heartbeat_period_s: BEAT_MS / 1000,
            missing_grace_s: 0.5,
            // What was asked for and never came up is asked for again only after the test.
            start_keep_alive_s: 600,
            stop_keep_alive_s: 600,
          },
        }),
      );
    const leader = await launch();
    await eventually('the first leads', () => isLeading(leader));
    const other = await launch();
    await eventually('the other knows as much', () => isFresh(other));
    held.delete('vanishes');
    held.set('undesired', running('undesired'));
    await eventually('the missing and the undesired are seen to', () => asked.length === 2);
    crash('crashes-before');
    await eventually('the crash is seen to', () => asked.length === 3);

    await leader.signal('SIGKILL');
    const killedAt = performance.now();
    crash('crashes-meanwhile');
    await eventually('the crash is seen to by the other', () => asked.length === 4);
    t.diagnostic(`the other asked ${((performance.now() - killedAt) / 1000).toFixed(2)} s after the leader was killed`);
    crash('crashes-after');
    await eventually('and the next', () => asked.length === 5);
    // The first comes back and hears the same; one leads.
    await leader.resume();
    await eventually('the first is back', () => isFresh(leader));
    assert.deepEqual([isLeading(leader), isLeading(other)], [false, true]);
    assert.deepEqual(asked.toSorted(), [
      'crashes-after crashed',
      'crashes-before crashed',
      'crashes-meanwhile crashed',
      'undesired stopped',
      'vanishes missing',
    ]);
  });
});
