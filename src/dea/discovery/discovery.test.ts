import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { networkPoliciesChanged, networkPoliciesList, type NetworkPolicy } from '#contracts/networking.ts';
import type { NetworkState } from '#contracts/warden.ts';
import { WardenUnreachable } from '#http/warden-client.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { sampleStart } from '../testing/sample-messages.ts';
import type { InstanceRecord } from '../store.ts';
import { Discovery } from './discovery.ts';

const policy = (source: string, destination: string): NetworkPolicy => ({
  source,
  destination,
  protocol: 'tcp',
  first_port: 8080,
  last_port: 8080,
});

/** A warden that remembers what it is told, and is away when it is told to be. */
class ListeningWarden {
  readonly network: string;
  isAway = false;
  state: NetworkState | undefined;

  constructor(network: string) {
    this.network = network;
  }

  async ping(): Promise<{ network: string }> {
    if (this.isAway) throw new WardenUnreachable('/nowhere');
    return { network: this.network };
  }

  async setNetwork(state: NetworkState): Promise<void> {
    if (this.isAway) throw new WardenUnreachable('/nowhere');
    this.state = state;
  }
}

describe('what DEAs tell each other and their wardens of the network', () => {
  let nats: TestNats;
  let bus: Bus;
  let folder: string;
  /** As the cloud controller has them. */
  let held: NetworkPolicy[] = [];
  let revision = 100;
  let answers = true;
  before(async () => {
    nats = await TestNats.start();
    bus = await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog });
    // One policy a page: what is read is put together from several.
    bus.reply(networkPoliciesList, ({ after: from }) => {
      if (!answers) return undefined;
      return { revision, policies: held.slice(from, from + 1), ...(from + 1 < held.length && { next: from + 1 }) };
    });
    folder = await mkdtemp(join(tmpdir(), 'ingot-discovery-'));
  });
  after(async () => {
    await bus[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    answers = true;
    held = [policy('front', 'back'), policy('other', 'other')];
    revision = 100;
  });

  const change = (added: NetworkPolicy[], removed: NetworkPolicy[]): void => {
    const before = revision++;
    held = [...held.filter((one) => !removed.some((gone) => gone.source === one.source)), ...added];
    bus.publish(networkPoliciesChanged, { revision, before, added, removed });
  };

  function instanceOf(app: string, address: string, internal_uris: string[] = []) {
    const record: InstanceRecord = {
      start: sampleStart({ app, instance: `${app}-0`, internal_uris }),
      state: 'RUNNING',
      state_timestamp: 0,
      handle: `${app}-0`,
      network: { host_ip: '', container_ip: address, ports: [] },
      started_at_ms: 0,
      is_ready: true,
      log_offsets: {},
    };
    return { record, isRoutable: true };
  }

  async function dea(name: string, warden: ListeningWarden, instances: ReturnType<typeof instanceOf>[]) {
    const own = await Bus.connect({ servers: [nats.url], name, log: silentLog });
    const options = { dea: name, bus: own, warden, clock: systemClock, log: silentLog, base_dir: join(folder, name) };
    const discovery = new Discovery({ ...options, instances: () => instances });
    return {
      discovery,
      async [Symbol.asyncDispose]() {
        await discovery[Symbol.asyncDispose]();
        await own[Symbol.asyncDispose]();
      },
    };
  }
  const flows = (warden: ListeningWarden) =>
    warden.state?.flows.map(({ handle, direction, peer }) => `${handle} ${direction} ${peer}`) ?? [];

  it('find each other, hear of policies as they change, and of those that they missed', async () => {
    const [a, b] = [new ListeningWarden('10.1.0.0/18'), new ListeningWarden('10.2.0.0/18')];
    await using _first = await dea('a', a, [instanceOf('front', '10.1.0.2')]);
    await using _second = await dea('b', b, [instanceOf('back', '10.2.0.2', ['back.apps.internal'])]);
    await eventually('both ends are open', () => flows(a).length === 1 && flows(b).length === 1);
    assert.deepEqual([...flows(a), ...flows(b)], ['front-0 from 10.2.0.2', 'back-0 to 10.1.0.2']);
    assert.deepEqual(a.state?.internal_routes, { 'back.apps.internal': [{ index: 0, address: '10.2.0.2' }] });
    assert.deepEqual([a.state?.networks, b.state?.networks], [['10.2.0.0/18'], ['10.1.0.0/18']]);
    change([], [policy('front', 'back')]);
    await eventually('both ends are shut', () => flows(a).length === 0 && flows(b).length === 0);
    // One that nobody said, as when the bus lost it.
    held = [policy('back', 'front')];
    revision += 1;
    bus.publish(networkPoliciesChanged, { revision, before: revision, added: [], removed: [] });
    await eventually('the other way is open', () => flows(a).length === 1 && flows(b).length === 1);
    assert.deepEqual(flows(a), ['front-0 to 10.2.0.2']);
  });

  it('take up where they were after a restart, with nobody there to ask', async () => {
    const warden = new ListeningWarden('10.1.0.0/18');
    const back = new ListeningWarden('10.2.0.0/18');
    {
      await using _other = await dea('d', back, [instanceOf('back', '10.2.0.2')]);
      await using _first = await dea('c', warden, [instanceOf('front', '10.1.0.2')]);
      await eventually('the way is open', () => flows(warden).length === 1);
    }
    answers = false;
    warden.state = undefined;
    await using _again = await dea('c', warden, [instanceOf('front', '10.1.0.2')]);
    await eventually('warden is told', () => warden.state !== undefined);
    assert.deepEqual(flows(warden), ['front-0 from 10.2.0.2']);
  });

  it('say nothing to warden while they know no policies, and all again once it is back', async () => {
    const warden = new ListeningWarden('10.1.0.0/18');
    answers = false;
    await using fresh = await dea('e', warden, [instanceOf('front', '10.1.0.2'), instanceOf('back', '10.1.0.6')]);
    await fresh.discovery[Symbol.asyncDispose]();
    assert.equal(warden.state, undefined);
    answers = true;
    warden.isAway = true;
    await using _second = await dea('e', warden, [instanceOf('front', '10.1.0.2'), instanceOf('back', '10.1.0.6')]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    warden.isAway = false;
    await eventually('warden is told', () => flows(warden).length === 2);
  });
});
