import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { WardenClient } from '#http/warden-client.ts';
import { systemClock } from '#kernel/clock.ts';
import { eventually } from '#testing/eventually.ts';
import { removeWarden } from '#warden/remove.ts';
import type { TestPlatform } from './platform.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const CGROUP2 = 0x63677270;

/**
 * Another machine of a platform, as far as one kernel can make it: a network namespace with a link to the platform's, in it a warden
 * and a DEA of its own. Its link can be cut, wholly or one way; it can lose its power, its clock, and its speed.
 */
export class NetworkHost implements AsyncDisposable {
  readonly name: string;
  /** Where the platform's routers reach it. */
  readonly ip: string;
  readonly #gateway: string;
  readonly #folder: string;
  /** Ports on the platform's loopback: bus, cloud controller. */
  readonly #ports: string;
  readonly #children: ChildProcess[] = [];
  readonly #depot: string;

  private constructor(options: { name: string; subnet: string; folder: string; ports: string }) {
    this.name = options.name;
    this.ip = `${options.subnet}.2`;
    this.#gateway = `${options.subnet}.1`;
    this.#folder = options.folder;
    this.#depot = join(options.folder, 'depot');
    this.#ports = options.ports;
  }

  /** The platform's `n`-th such host, from 1. It is in a zone of its own, so that instances are spread over hosts. */
  static async start(platform: TestPlatform, n: number): Promise<NetworkHost> {
    const config = (role: string): Record<string, unknown> =>
      parse(readFileSync(join(platform.home, `config/${role}.yml`), 'utf8')) as Record<string, unknown>;
    const dea = config('dea');
    const warden = config('warden');
    const [bus] = dea['nats_servers'] as string[];
    const pool = String(warden['network_pool']).split('.');
    const host = new NetworkHost({
      name: `${String(warden['name'])}h${n}`,
      subnet: `10.252.${Number(pool[2]) + n}`,
      folder: await mkdtemp(join(tmpdir(), 'ingot-host-')),
      ports: [bus, dea['cc_url']].map((url) => new URL(String(url)).port).join(', '),
    });
    try {
      await host.#connect();
      host.#write('warden', {
        ...warden,
        name: host.name,
        socket_path: join(host.#folder, 'warden.sock'),
        depot: host.#depot,
        uid_pool: { start: (warden['uid_pool'] as { start: number }).start + n * 2_000_000, count: 24 },
      });
      host.#write('dea', {
        ...dea,
        base_dir: join(host.#folder, 'dea'),
        index: 10 + n,
        zone: host.name,
        ip: host.ip,
        warden_socket: join(host.#folder, 'warden.sock'),
        resources: { memory_mb: 1024, disk_mb: 4096 },
      });
      await host.#run('warden');
      await host.#run('dea');
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  /** The cable is out at its end, or in again: the others' way to it is still there, and leads nowhere. */
  async link(state: 'down' | 'up'): Promise<void> {
    await run('ip', ['-n', this.name, 'link', 'set', 'eth0', state]);
    // Routes over a link go with it.
    if (state === 'up') await run('ip', `-n ${this.name} route add default via ${this.#gateway}`.split(' '));
  }

  /** How many its warden has. */
  async containers(): Promise<number> {
    using warden = new WardenClient({ socket_path: join(this.#folder, 'warden.sock') });
    return (await warden.list()).length;
  }

  /** What it says is lost, or what it is told; the other way is open. */
  async halfOpen(lost: 'what it says' | 'what it is told'): Promise<void> {
    const [hook, match] = lost === 'what it says' ? ['prerouting', 'iifname'] : ['postrouting', 'oifname'];
    await nft(`table inet ${this.name}cut {
      chain cut { type filter hook ${hook} priority -400; ${match} "${this.#interface}" counter drop; }
    }`);
  }

  async wholeAgain(): Promise<void> {
    await nft(`add table inet ${this.name}cut\ndelete table inet ${this.name}cut`);
  }

  /** Its processes see another time of day from now on. */
  jumpClock(by: string): void {
    writeFileSync(this.#clockFile, `${by}\n`);
  }

  /** Its platform's processes get two hundredths of a core, and its link 256 kbit/s. */
  async slowDown(): Promise<void> {
    await run('tc', `qdisc add dev ${this.#interface} root tbf rate 256kbit burst 16kb latency 2s`.split(' '));
    mkdirSync(this.#cgroup, { recursive: true });
    if (isCgroup2) writeFileSync(join(this.#cgroup, 'cpu.max'), '2000 100000');
    else {
      writeFileSync(join(this.#cgroup, 'cpu.cfs_period_us'), '100000');
      writeFileSync(join(this.#cgroup, 'cpu.cfs_quota_us'), '2000');
    }
    for (const { pid } of this.#children) writeFileSync(join(this.#cgroup, 'cgroup.procs'), String(pid));
  }

  async speedUp(): Promise<void> {
    await run('tc', ['qdisc', 'del', 'dev', this.#interface, 'root']);
    const top = isCgroup2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu';
    for (const { pid } of this.#children) writeFileSync(join(top, 'cgroup.procs'), String(pid));
    rmdirSync(this.#cgroup);
  }

  /** The power fails: nothing of it says goodbye. */
  async kill(): Promise<void> {
    await this.link('down');
    for (const child of this.#children) await ended(child);
    const { stdout } = await run('ip', ['netns', 'pids', this.name]);
    for (const pid of stdout.split('\n').filter((line) => line !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await removeWarden({ name: this.name, depot: this.#depot }, systemClock);
  }

  logs(): string {
    return readdirSync(this.#folder)
      .filter((file) => file.endsWith('.log'))
      .map((file) => `== ${file}\n${readFileSync(join(this.#folder, file), 'utf8').split('\n').slice(-25).join('\n')}`)
      .join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (existsSync(this.#cgroup)) await this.speedUp();
    if (existsSync(`/sys/class/net/${this.#interface}`)) await this.kill();
    await this.wholeAgain();
    await nft(`add table ip ${this.name}in\ndelete table ip ${this.name}in`);
    await run('ip', ['netns', 'del', this.name]);
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #interface(): string {
    return `${this.name}v`;
  }

  get #clockFile(): string {
    return join(this.#folder, 'clock');
  }

  get #cgroup(): string {
    return join(isCgroup2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu', `${this.name}slow`);
  }

  #write(role: string, config: object): void {
    writeFileSync(join(this.#folder, `${role}.yml`), stringify(config), { mode: 0o600 });
  }

  /**
   * The platform of a test listens on loopback: what the host says to its own goes over the link to the platform's, and so do the
   * addresses of droplets, which name it.
   */
  async #connect(): Promise<void> {
    await run('ip', ['netns', 'add', this.name]);
    const ip = async (line: string): Promise<unknown> => await run('ip', line.split(' '));
    await ip(`link add ${this.#interface} type veth peer name eth0 netns ${this.name}`);
    await ip(`addr add ${this.#gateway}/30 dev ${this.#interface}`);
    await ip(`link set ${this.#interface} up`);
    await ip(`-n ${this.name} addr add ${this.ip}/30 dev eth0`);
    for (const device of ['lo', 'eth0']) await ip(`-n ${this.name} link set ${device} up`);
    await ip(`-n ${this.name} route add default via ${this.#gateway}`);
    writeFileSync(`/proc/sys/net/ipv4/conf/${this.#interface}/route_localnet`, '1');
    await nft(`table ip ${this.name}in {
      chain in { type nat hook prerouting priority -150;
        iifname "${this.#interface}" ip daddr ${this.#gateway} tcp dport { ${this.#ports} } dnat to 127.0.0.1; }
    }`);
    const inside = `table ip out {
      chain out { type nat hook output priority -150;
        ip daddr 127.0.0.1 tcp dport { ${this.#ports} } dnat to ${this.#gateway}; }
      chain away { type nat hook postrouting priority 150; oifname "eth0" masquerade; }
    }`;
    await run('nsenter', [...this.#inside, 'nft', inside]);
    const sysctl = 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet';
    await run('nsenter', [...this.#inside, 'sh', '-c', sysctl]);
  }

  get #inside(): string[] {
    return [`--net=/run/netns/${this.name}`, '--'];
  }

  async #run(role: 'warden' | 'dea'): Promise<void> {
    const log = join(this.#folder, `${role}.log`);
    const ready = join(this.#folder, `${role}.ready-${randomBytes(4).toString('hex')}`);
    this.jumpClock('+0');
    const main = [process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'src/platform/main.ts')];
    const command = [...main, 'run', role, '--config', this.#folder].map((word) => `'${word}'`).join(' ');
    const child = spawn('nsenter', [...this.#inside, 'sh', '-c', `exec ${command} > ${log} 2>&1`], {
      stdio: 'ignore',
      env: {
        ...process.env,
        INGOT_READY_FILE: ready,
        LD_PRELOAD: fakeClock(),
        FAKETIME_TIMESTAMP_FILE: this.#clockFile,
        FAKETIME_NO_CACHE: '1',
        // Clocks that only grow, do: it is the time of day that jumps.
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    });
    this.#children.push(child);
    await eventually(`${role} of ${this.name} is up`, () => existsSync(ready) || child.exitCode !== null, 60);
    if (child.exitCode !== null) throw new Error(`${role} of ${this.name} ended:\n${this.logs()}`);
  }
}

const isCgroup2 = statfsSync('/sys/fs/cgroup').type === CGROUP2;

/** Debian's libfaketime, for whatever processor this is. */
function fakeClock(): string {
  const found = readdirSync('/usr/lib')
    .map((folder) => join('/usr/lib', folder, 'faketime/libfaketimeMT.so.1'))
    .find((file) => existsSync(file));
  if (found === undefined) throw new Error('libfaketime is not installed: script/bootstrap --test');
  return found;
}

async function nft(rules: string): Promise<void> {
  await run('nft', [rules]);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((done) => child.once('exit', done));
  child.kill('SIGKILL');
  await end;
}
