import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import { deaHeartbeat, dropletExited, type HeartbeatInstance } from '#contracts/dea.ts';
import { hm9000Start } from '#contracts/health-manager.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { HealthManagerConfig } from './config.ts';
import { start } from './main.ts';
import { simulatedCloudController } from './testing.ts';

async function varz(address: string): Promise<Record<string, unknown>> {
  const headers = { authorization: `Basic ${Buffer.from('u:p').toString('base64')}` };
  return (await (await fetch(`http://${address}/varz`, { headers })).json()) as Record<string, unknown>;
}

describe('the health manager', () => {
  it('asks over the bus for the crashed and the missing, and for nothing while the bus is away', async () => {
    await using nats = await TestNats.start();
    const wanted = (droplet: string): DesiredProcess => ({
      droplet,
      app: droplet,
      version: 'v',
      instances: 1,
      state: 'STARTED',
      package_state: 'STAGED',
    });
    await using cc = await simulatedCloudController([wanted('runs'), wanted('missing')]);
    const config = HealthManagerConfig.parse({
      nats_servers: [nats.url],
      cc_url: cc.url,
      internal_api: { user: 'internal', password: 'secret' },
      status: { user: 'u', password: 'p' },
      heartbeat_period_s: 0.1,
      missing_grace_s: 0.3,
      start_keep_alive_s: 30,
    });
    await using bus = await Bus.connect({ servers: [nats.url], name: 'dea', log: silentLog });
    const asked: string[] = [];
    bus.subscribe(hm9000Start, ({ droplet, reason }) => void asked.push(`${droplet} ${reason}`));
    const instance: HeartbeatInstance = {
      cc_partition: 'default',
      droplet: 'runs',
      app: 'runs',
      version: 'v',
      instance: 'i',
      index: 0,
      state: 'RUNNING',
      state_timestamp: 1,
      routable: true,
    };
    let list = [instance];
    using _beats = systemClock.every(
      100,
      () => void bus.publish(deaHeartbeat, { dea: 'one', run: 'r', seq: 1, droplets: list, digest: beatDigest(list) }),
    );
    await using manager = await start(config, { log: silentLog, clock: systemClock });
    await eventually('the missing is asked for', () => asked.length > 0);
    const isFresh = async (): Promise<boolean> => (await varz(manager.addresses['status'] ?? ''))['Fresh'] === 1;
    await nats.kill();
    await eventually('it knows that it hears nothing', async () => !(await isFresh()));
    await nats.resume();
    await eventually('it hears again', async () => await isFresh());
    list = [];
    bus.publish(dropletExited, {
      ...instance,
      dea: 'one',
      reason: 'CRASHED',
      exit_status: 1,
      exit_description: 'app instance exited',
    });
    await eventually('the crashed is asked for', () => asked.length > 1);
    assert.deepEqual(asked, ['missing missing', 'runs crashed']);
  });
});
