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

/** What nobody in a container may do, as a shell command that would succeed if it could. */
const ESCAPES: Record<string, string> = {
  'mount a file system': 'mount -t tmpfs none /mnt',
  'bind a folder': 'mkdir -p /tmp/x; mount --bind /etc /tmp/x',
  'make what is read-only writable': 'mount -o remount,rw /proc/sys',
  'take a namespace of its own': 'unshare --user --map-root-user true',
  'take a mount namespace': 'unshare --mount true',
  'make a device node': 'mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk',
  'open the disk of the host': 'head -c 1 /dev/vda || head -c 1 /dev/sda',
  'write kernel settings': 'echo 1 > /proc/sys/kernel/sysrq',
  'write settings of all processes': 'echo /tmp/x > /proc/sys/kernel/core_pattern',
  'press the magic key': 'echo h > /proc/sysrq-trigger',
  'read the memory of the kernel': 'head -c 1 /proc/kcore | grep -q .',
  'read the log of the kernel': 'dmesg',
  'set the clock': 'date -s 2001-01-01',
  'see control groups': 'ls /sys/fs/cgroup | grep .',
  'write a release agent': 'echo /x > /sys/fs/cgroup/memory/release_agent || echo /x > /sys/fs/cgroup/release_agent',
  'write below /sys': 'echo 1 > /sys/kernel/profiling || echo x > /sys/power/state',
  'change the name of the machine': 'hostname other',
  'open more files than allowed': 'ulimit -n 1000000',
  'make the kernel spare it': 'echo -1000 > /proc/self/oom_score_adj',
  'add an address': 'ip addr add 10.0.0.1/8 dev eth0',
  'kill pid 1': 'kill -KILL 1; sleep 0.2; kill -0 1 && exit 1',
  'use keyrings': `python3 -c 'import ctypes; exit(ctypes.CDLL(None).syscall(250, 0, -3, 0) < 0)'`,
  'load a program into the kernel': `python3 -c 'import ctypes; exit(ctypes.CDLL(None).syscall(321, 0, 0, 0) < 0)'`,
  'use io_uring': `python3 -c 'import ctypes; exit(ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120)) < 0)'`,
};

const AS_VCAP_ONLY: Record<string, string> = {
  'become root by a setuid program': 'su -c true root < /dev/null || [ "$(passwd -S 2>/dev/null; id -u)" = 0 ]',
  'look into pid 1': 'cat /proc/1/environ',
  'open a raw socket': `python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'`,
  'write system files': 'echo x >> /etc/passwd',
  'read what is for root': 'cat /etc/shadow',
};

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

  for (const user of USERS) {
    test(`${user} of a container gets nothing of the host`, async () => {
      const cases = { ...ESCAPES, ...(user === 'vcap' ? AS_VCAP_ONLY : {}) };
      const escaped: string[] = [];
      for (const [what, script] of Object.entries(cases)) if (await succeeds(script, user)) escaped.push(what);
      assert.deepEqual(escaped, []);
      assert.equal((await warden.client.info(here.handle)).state, 'active');
    });
  }

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
