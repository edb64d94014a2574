import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import type { BulkApps } from '#contracts/cloud-controller.ts';
import { deaHeartbeat, dropletExited, type HeartbeatInstance } from '#contracts/dea.ts';
import { hm9000Start } from '#contracts/health-manager.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { HealthManagerConfig } from './config.ts';
import { start } from './main.ts';

/** The cloud controller's side of the contract: one process, in pages of one. */
async function simulatedCloudController(processes: BulkApps['results']): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://cc');
    const at = Number(url.searchParams.get('bulk_token') ?? 0);
    const next = at + 1 < processes.length ? String(at + 1) : null;
    const page: BulkApps = { results: processes.slice(at, at + 1), bulk_token: next };
    const isAllowed = request.headers.authorization === `Basic ${Buffer.from('internal:secret').toString('base64')}`;
    response.writeHead(isAllowed ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(page));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function varz(address: string): Promise<Record<string, unknown>> {
  const headers = { authorization: `Basic ${Buffer.from('u:p').toString('base64')}` };
  return (await (await fetch(`http://${address}/varz`, { headers })).json()) as Record<string, unknown>;
}

describe('the health manager', () => {
  it('asks over the bus for the crashed and the missing, and for nothing while the bus is away', async () => {
    await using nats = await TestNats.start();
    const wanted = (droplet: string): BulkApps['results'][number] => ({
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
      () => void bus.publish(deaHeartbeat, { dea: 'one', droplets: list, digest: beatDigest(list) }),
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
