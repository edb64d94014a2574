import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '#kernel/errors.ts';
import type { ComponentContext } from '#kernel/component.ts';
import { type AddressRange, parseCidr } from './address.ts';
import { ContainerNetwork } from './container-network.ts';
import { nameserversIn } from './dns/names.ts';
import { DnsServer } from './dns/server.ts';
import { BtrfsStore, DiskTooSmall } from './btrfs-store.ts';
import { Cgroup, groupPaths } from './cgroup.ts';
import type { WardenConfig } from './config.ts';
import { type ContainerRecord, Depot } from './depot.ts';
import type { DiskStore } from './disk-store.ts';
import { FirewallTable } from './firewall-table.ts';
import { IdMappings } from './id-mapping.ts';
import { LoopStore } from './loop-store.ts';
import { prepareCgroups, runFolder } from './namespace.ts';
import { enableForwarding, hostMtu, type Place, placeOf, slotsIn } from './network.ts';
import { Runtime } from './runtime.ts';
import { HostPorts, Slots } from './slots.ts';
import { Volumes } from './volumes.ts';
import { UnfitMachine } from './unfit-machine.ts';

/** What all containers of one warden stand on. */
export interface Ground extends ComponentContext {
  config: WardenConfig;
  depot: Depot;
  runtime: Runtime;
  disks: DiskStore;
  ids: IdMappings;
  /** images that several containers share */
  volumes: Volumes;
  slots: Slots;
  ports: HostPorts;
  firewall: FirewallTable;
  /** what is said of ways between containers */
  network: ContainerNetwork;
  /** the name server of all containers */
  dns: DnsServer;
  mtu: number;
  /** of compiled seccomp, once a container has run */
  seccomp: { program: string | undefined };
  /** No process can be given more open files than this. */
  max_open_files: number;
  placeOf(slot: number): Place;
  cgroupOf(container: Pick<ContainerRecord, 'handle' | 'is_background'>): Cgroup;
  /** The groups that containers' own lie in. */
  groups: { foreground: Cgroup; background: Cgroup };
  /** A container's folder on the tmpfs. */
  mountsOf(handle: string): string;
}

/** Makes ready what containers need on this machine; run inside the mount namespace, and again at each start. */
export async function prepareGround(config: WardenConfig, context: ComponentContext): Promise<Ground> {
  const run = runFolder(config.name);
  for (const [name, folder] of Object.entries(config.stacks)) {
    if (!existsSync(join(folder, 'usr/bin/catatonit'))) {
      throw new UnfitMachine(`stack ${name}: ${folder} is no stack (it has no usr/bin/catatonit); build it first`);
    }
  }
  const version = prepareCgroups(config.name);
  enableForwarding();
  const disks = await openDisks(config, context);
  const pool = parseCidr(config.network_pool) as AddressRange; // the configuration is checked
  const network = new ContainerNetwork(join(config.depot, 'network.json'));
  const dns = await DnsServer.open({
    port: network.dns_port,
    zone: () => ({ routes: network.routes, internal_domains: config.dns.internal_domains, pool }),
    upstreams: () => ({ nameservers: config.dns.nameservers ?? hostNameservers() }),
    log: context.log,
  });
  network.rememberPort(dns.port);
  const { name, allow_host_access } = config;
  const settings = { name, pool, allow_host_access, dns_port: dns.port };
  const [foreground, background] = groupPaths(name);
  const groups = { foreground: new Cgroup(version, foreground), background: new Cgroup(version, background) };
  mkdirSync(join(run, 'containers'), { recursive: true });
  return {
    ...context,
    config,
    depot: new Depot(config.depot),
    runtime: new Runtime(join(run, 'crun')),
    disks,
    volumes: new Volumes(join(run, 'volumes')),
    ids: new IdMappings({ folder: join(run, 'users'), pool: config.uid_pool }),
    slots: new Slots(Math.min(config.uid_pool.count, slotsIn(pool)), context.clock),
    ports: new HostPorts(config.host_port_pool),
    firewall: new FirewallTable(settings),
    network,
    dns,
    mtu: hostMtu(),
    seccomp: { program: undefined },
    max_open_files: openFilesLimit(),
    placeOf: (slot) => placeOf(slot, config.name, pool),
    groups,
    cgroupOf: ({ handle, is_background }) => groups[is_background ? 'background' : 'foreground'].below(handle),
    mountsOf: (handle) => join(run, 'containers', handle),
  };
}

async function openDisks(config: WardenConfig, { log }: ComponentContext): Promise<DiskStore> {
  const { backend, size_mb } = config.disk_store;
  const folder = join(runFolder(config.name), 'disks');
  if (backend !== 'loop') {
    try {
      const store = await BtrfsStore.open({ image: join(config.depot, 'disks.btrfs'), folder, size_mb });
      log.info({ backend: store.kind, size_mb }, 'disk store open');
      return store;
    } catch (error) {
      if (backend === 'btrfs' || error instanceof DiskTooSmall) throw error;
      log.warn(
        { error: describeError(error) },
        'no btrfs with simple quotas here, an image for each container instead',
      );
    }
  }
  const store = LoopStore.open({ images: join(config.depot, 'disks'), folder, size_mb });
  log.info({ backend: store.kind, size_mb }, 'disk store open');
  return store;
}

/** Read anew each time: a machine that moves gets others. */
function hostNameservers(): string[] {
  return existsSync('/etc/resolv.conf') ? nameserversIn(readFileSync('/etc/resolv.conf', 'utf8')) : [];
}

/** Without CAP_SYS_RESOURCE nothing can be raised above our own limit; with it, what the kernel allows is far off. */
function openFilesLimit(): number {
  const CAP_SYS_RESOURCE = 1n << 24n;
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  if ((BigInt(`0x${capabilities}`) & CAP_SYS_RESOURCE) !== 0n) return 1_048_576;
  const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return Number(limit ?? 1024);
}
