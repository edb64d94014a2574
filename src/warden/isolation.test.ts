import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, before, describe, test } from 'node:test';
import type { EgressRule } from '#contracts/dea.ts';
import type { CreateReply, SpawnRequest } from '#contracts/warden.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 128 * MB, disk_in_bytes: 64 * MB };
const USERS = ['vcap', 'root'] as const;

describe('isolation', () => {
  let warden: TestWarden;
  let here: CreateReply;
  let neighbour: CreateReply;
  let service: Server;
  const host = Object.values(networkInterfaces())
    .flat()
    .find((address) => address?.family === 'IPv4' && !address.internal && !address.address.startsWith('10.'))?.address;

  before(async () => {
    warden = await TestWarden.start();
    const limits = LIMITS;
    here = await warden.client.create({ stack: 'test', limits });
    neighbour = await warden.client.create({ stack: 'test', limits, net_in: [{ container_port: 8080 }] });
    const serve = 'while :; do echo neighbour | nc -l -N -p 8080; done';
    await warden.client.spawn(neighbour.handle, sh(serve));
    service = createServer((socket) => socket.end('host')).listen(0, '0.0.0.0');
    await once(service, 'listening');
  });
  after(async () => {
    service.close();
    await warden[Symbol.asyncDispose]();
  });

  const sh = (script: string, more: Partial<SpawnRequest> = {}): SpawnRequest => ({
    args: ['/bin/sh', '-c', script],
    ...more,
  });
  const succeeds = async (script: string, user: 'vcap' | 'root') =>
    (await warden.client.run(here.handle, sh(`( ${script} ) >/dev/null 2>&1`, { user }))).exit_status === 0;
  const reaches = async (address: string, port: number) =>
    await succeeds(`nc -w 1 -d ${address} ${port} | grep .`, 'vcap');
  const allow = async (...rules: EgressRule[]) => await warden.client.netOut(here.handle, rules);
  const servicePort = () => {
    const address = service.address();
    return typeof address === 'object' && address ? address.port : 0;
  };

  test('processes have no privileges to gain: no new ones, capabilities for root alone, a filter on', async () => {
    for (const user of USERS) {
      const { stdout = '' } = await warden.client.run(here.handle, sh('cat /proc/self/status', { user }));
      const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(stdout)?.[1];
      assert.deepEqual([field('NoNewPrivs'), field('Seccomp')], ['1', '2']);
      assert.equal(field('CapBnd'), user === 'root' ? '00000000a80425fb' : '0000000000000000');
    }
  });

  test('processes of the host and of neighbours are not to be seen', async () => {
    const { stdout = '' } = await warden.client.run(here.handle, sh('ls /proc | grep -E "^[0-9]+$" | wc -l; ls /home'));
    const [count, home] = stdout.split('\n');
    assert.ok(Number(count) < 8, `${count} processes`);
    assert.equal(home, 'vcap');
  });

  test('by default a container reaches no neighbour, no service of the host and no metadata', async () => {
    await allow({ protocol: 'all', destination: '0.0.0.0/0' });
    const [mapping] = neighbour.ports;
    assert.ok(host !== undefined && mapping);
    const targets: [string, number][] = [
      [neighbour.container_ip, 8080],
      [here.host_ip, servicePort()],
      [neighbour.host_ip, servicePort()],
      [host, servicePort()],
      [host, mapping.host_port],
      ['127.0.0.1', servicePort()],
      ['169.254.169.254', 80],
    ];
    for (const [address, port] of targets) assert.equal(await reaches(address, port), false, `${address}:${port}`);
  });

  test('a rule that names a neighbour or a service of the host opens just that, and replacing the rules closes it', async () => {
    assert.ok(host !== undefined);
    await allow(
      { protocol: 'tcp', destination: `${neighbour.container_ip}/32`, ports: '8080' },
      { protocol: 'tcp', destination: host, ports: String(servicePort()) },
    );
    await eventually('the neighbour answers', async () => await reaches(neighbour.container_ip, 8080));
    assert.equal(await reaches(host, servicePort()), true);
    assert.equal(await reaches(here.host_ip, servicePort()), false);
    await allow();
    assert.equal(await reaches(neighbour.container_ip, 8080), false);
    assert.equal(await reaches(host, servicePort()), false);
  });

  test('packets with a false source get nowhere', async () => {
    await allow({ protocol: 'icmp', destination: `${neighbour.container_ip}/32`, type: 8, code: 0 });
    const ping = async (user: 'root') => await succeeds(`ping -c 1 -W 1 ${neighbour.container_ip}`, user);
    assert.equal(await ping('root'), true);
    const false_source = `python3 -c '
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0, socket.inet_aton("${neighbour.host_ip}"), socket.inet_aton("${neighbour.container_ip}"))
s.sendto(head + struct.pack("!HHHH", 9, 9, 8, 0), ("${neighbour.container_ip}", 0))'`;
    const dropped = () => {
      const rules = execFileSync('nft', ['-a', 'list', 'chain', 'inet', `ingot_${warden.name}`, 'spoof']).toString();
      return Number(/!= @bound counter packets (\d+)/.exec(rules)?.[1]);
    };
    const before = dropped();
    await succeeds(false_source, 'root');
    assert.ok(dropped() > before, 'the packet was counted and dropped');
  });
});
