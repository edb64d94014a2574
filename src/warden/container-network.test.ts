import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import type { CreateReply, NetworkFlow, NetworkState } from '#contracts/warden.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';
import { flowsOf, mergeRanges } from './container-network.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };
/** Answers each who connects with the address that it sees. */
const SERVER = `import socket
s = socket.create_server(('', 8080))
while True:
  c, who = s.accept()
  c.sendall(who[0].encode())
  c.close()`;

describe('two wardens with a network each', () => {
  let here: TestWarden;
  let there: TestWarden;
  let client: CreateReply;
  let neighbour: CreateReply;
  let remote: CreateReply;
  before(async () => {
    [here, there] = await Promise.all([
      TestWarden.start({ network_pool: '10.230.0.0/24' }),
      TestWarden.start({ network_pool: '10.230.1.0/24' }),
    ]);
    const net_out = [{ protocol: 'all' as const, destination: '0.0.0.0/0' }];
    client = await here.client.create({ stack: 'test', limits: LIMITS, net_out });
    neighbour = await here.client.create({ stack: 'test', limits: LIMITS });
    remote = await there.client.create({ stack: 'test', limits: LIMITS });
    await here.client.spawn(neighbour.handle, { args: ['python3', '-c', SERVER] });
    await there.client.spawn(remote.handle, { args: ['python3', '-c', SERVER] });
  });
  after(async () => {
    await Promise.all([here[Symbol.asyncDispose](), there[Symbol.asyncDispose]()]);
  });

  const flow = (end: CreateReply, direction: 'from' | 'to', peer: CreateReply): NetworkFlow => ({
    handle: end.handle,
    direction,
    peer: peer.container_ip,
    protocol: 'tcp',
    first_port: 8080,
    last_port: 8080,
  });
  async function say(warden: TestWarden, flows: NetworkFlow[], more: Partial<NetworkState> = {}): Promise<void> {
    const other = warden === here ? '10.230.1.0/24' : '10.230.0.0/24';
    await warden.client.setNetwork({ owner: 'dea', internal_routes: {}, flows, networks: [other], ...more });
  }
  /** What the server at `target` says, empty when it can't be reached. */
  async function reach(target: string): Promise<string> {
    const script = `nc -w 2 -d ${target} 8080`;
    return (await here.client.run(client.handle, { args: ['/bin/sh', '-c', script] })).stdout ?? '';
  }

  test('refuse what no policy allows, whatever the security groups say', async () => {
    await say(here, []);
    await say(there, []);
    for (const target of [neighbour, remote]) assert.equal(await reach(target.container_ip), '');
  });

  test('let through what a policy allows, one way, on its ports alone, and the address of who asks is seen', async () => {
    await say(here, [flow(client, 'from', neighbour), flow(neighbour, 'to', client), flow(client, 'from', remote)]);
    await say(there, [flow(remote, 'to', client)]);
    for (const target of [neighbour, remote]) {
      await eventually('the server listens', async () => (await reach(target.container_ip)) !== '');
      assert.equal(await reach(target.container_ip), client.container_ip);
      const other = await here.client.run(client.handle, {
        args: ['/bin/sh', '-c', `nc -w 1 -z ${target.container_ip} 22`],
      });
      assert.notEqual(other.exit_status, 0);
    }
    const back = await here.client.run(neighbour.handle, {
      args: ['/bin/sh', '-c', `nc -w 1 -z ${client.container_ip} 8080`],
    });
    assert.notEqual(back.exit_status, 0);
  });

  test('need leave at both ends', async () => {
    await say(here, [flow(client, 'from', neighbour), flow(client, 'from', remote)]);
    await say(there, []);
    for (const target of [neighbour, remote]) assert.equal(await reach(target.container_ip), '');
  });

  test('tell containers the addresses behind internal routes, and the world of no such name', async () => {
    const internal_routes = {
      'back.apps.internal': [
        { index: 0, address: neighbour.container_ip },
        { index: 1, address: remote.container_ip },
      ],
    };
    await say(here, [flow(client, 'from', neighbour), flow(neighbour, 'to', client)], { internal_routes });
    const ask = async (name: string) => {
      const script = `import socket; print(*sorted(set(a[4][0] for a in socket.getaddrinfo('${name}', 8080))))`;
      return (await here.client.run(client.handle, { args: ['python3', '-c', script] })).stdout?.trim();
    };
    assert.equal(await ask('back.apps.internal'), `${neighbour.container_ip} ${remote.container_ip}`);
    assert.equal(await ask('1.back.apps.internal'), remote.container_ip);
    assert.equal(await ask('other.apps.internal'), '');
    assert.equal(await reach('0.back.apps.internal'), client.container_ip);
  });

  test('keep it all when the daemon is killed', async () => {
    const before = flowElements(here);
    assert.equal(before.length, 2);
    await here.kill();
    execFileSync('nft', ['flush', 'set', 'inet', `ingot_${here.name}`, 'flows_to']);
    await here.resume();
    assert.deepEqual(flowElements(here), before);
    assert.equal(await reach('0.back.apps.internal'), client.container_ip);
  });

  test('let nobody in at the address of a container that is gone', async () => {
    const gone = await here.client.create({ stack: 'test', limits: LIMITS });
    const flows = [flow(client, 'from', gone), flow(gone, 'to', client)];
    await say(here, flows);
    assert.equal(flowElements(here).length, 2);
    await here.client.destroy(gone.handle);
    assert.deepEqual(
      flowElements(here).filter((line) => line.startsWith('flows_to')),
      [],
    );
    await say(here, flows);
    assert.equal(flowElements(here).length, 1);
    await say(here, []);
    assert.deepEqual(flowElements(here), []);
  });

  test('take what several DEAs say together', async () => {
    await here.client.setNetwork({
      owner: 'other',
      internal_routes: { 'back.apps.internal': [{ index: 7, address: '10.230.0.99' }] },
      flows: [flow(client, 'from', neighbour)],
      networks: [],
    });
    await say(here, [{ ...flow(client, 'from', neighbour), first_port: 8000, last_port: 8100 }]);
    assert.equal(flowElements(here).length, 1);
    await here.client.setNetwork({ owner: 'other', internal_routes: {}, flows: [], networks: [] });
    await say(here, []);
  });

  /** What stands in the kernel. */
  function flowElements(warden: TestWarden): string[] {
    return ['flows_from', 'flows_to'].flatMap((set) => {
      const text = execFileSync('nft', ['-j', 'list', 'set', 'inet', `ingot_${warden.name}`, set]).toString();
      const { nftables } = JSON.parse(text) as { nftables: { set?: { elem?: unknown[] } }[] };
      return nftables.flatMap((entry) => entry.set?.elem ?? []).map((element) => `${set} ${JSON.stringify(element)}`);
    });
  }
});

test('flows of one pair do not overlap, and those of containers that are not here are none', () => {
  const flow = (handle: string, first_port: number, last_port: number): NetworkFlow => ({
    handle,
    direction: 'from',
    peer: '10.0.0.9',
    protocol: 'udp',
    first_port,
    last_port,
  });
  const wanted = [flow('a', 80, 90), flow('a', 85, 100), flow('a', 101, 101), flow('a', 200, 200), flow('b', 1, 2)];
  const ports = flowsOf(wanted, [{ handle: 'a', container_ip: '10.0.0.1' }]);
  assert.deepEqual(
    ports.map(({ first_port, last_port }) => [first_port, last_port]),
    [
      [80, 101],
      [200, 200],
    ],
  );
  assert.deepEqual(mergeRanges([]), []);
});
