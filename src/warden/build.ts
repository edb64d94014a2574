import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WardenError } from '#http/warden-client.ts';
import { limitBandwidth } from './bandwidth.ts';
import type { ContainerRecord } from './depot.ts';
import type { ContainerRules } from './firewall.ts';
import type { Ground } from './ground.ts';
import { connectContainer } from './network.ts';
import { containerSpec, STACK_REAPER } from './oci-spec.ts';
import { commandOf, identify, processesWith, type ProcessIdentity, signalProcess } from './processes.ts';
import { mountRootFs, unmountRootFs } from './root-fs.ts';

const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
const LOOK_MS = 10;
const PATIENCE_MS = 10_000;

export function rulesOf(ground: Ground, record: ContainerRecord): ContainerRules {
  const { slot, ports, net_out } = record;
  return { slot, place: ground.placeOf(slot), ports, net_out };
}

/** Errors: WardenError path_not_found, before anything is made. */
export function checkPaths(ground: Ground, record: ContainerRecord): void {
  const { stack, layers } = record;
  if (stack === undefined && layers.length === 0) {
    throw new WardenError('invalid_request', 'neither a stack nor layers: there is nothing to run on');
  }
  if (stack !== undefined && ground.config.stacks[stack] === undefined) {
    throw new WardenError('path_not_found', `there is no stack ${stack}`);
  }
  for (const path of [...layers, ...record.bind_mounts.map((bind) => bind.src_path)]) {
    if (!path.startsWith('/') || !existsSync(path)) throw new WardenError('path_not_found', `there is no ${path}`);
  }
}

/**
 * Makes the container that the record describes and gives its pid 1. What it has made when it fails, `demolish` takes away; the
 * record is on disk before it is called.
 */
export async function build(ground: Ground, record: ContainerRecord): Promise<ProcessIdentity> {
  const { handle, slot, limits } = record;
  const place = ground.placeOf(slot);
  const folder = ground.mountsOf(handle);
  const [userns, writable] = await Promise.all([
    ground.ids.namespaceOf(slot),
    ground.disks.create(handle, limits.disk_in_bytes),
  ]);
  const bound = await ground.volumes.mountAll(record.bind_mounts);
  const bind_mounts = mountRootFs({
    folder,
    layers: rootLayers(ground, record),
    bind_mounts: [...trustedCa(ground), ...reaperOf(ground, record), ...bound],
    writable,
    ids: ground.ids.rangeOf(slot),
    userns,
    files: {
      'etc/hostname': `${record.hostname}\n`,
      'etc/hosts': `127.0.0.1 localhost\n${place.container_ip} ${record.hostname}\n`,
      'etc/resolv.conf': `nameserver ${place.host_ip}\noptions timeout:2 attempts:3\n`,
    },
  });
  const bundle = join(folder, 'bundle');
  const spec = containerSpec({
    rootfs: join(folder, 'rootfs'),
    hostname: record.hostname,
    reaper: reaperPath(record),
    cgroup_path: `/${ground.cgroupOf(record).path}`,
    ids: ground.ids.rangeOf(slot),
    limits,
    bind_mounts,
    seccomp_program: ground.seccomp.program,
  });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  const running = ground.runtime.run(handle, bundle);
  // While crun works. Neither's failure leaves the other unawaited.
  const [ran, ruled] = await Promise.allSettled([
    running,
    Promise.try(() => ground.firewall.add(rulesOf(ground, record))),
  ]);
  if (ruled.status === 'rejected') throw ruled.reason;
  if (ran.status === 'rejected') throw ran.reason;
  const started = ran.value;
  await untilReaping(ground, started, reaperPath(record));
  connectContainer(started, place, ground.mtu);
  if (limits.bandwidth) await limitBandwidth(started, place, limits.bandwidth);
  ground.seccomp.program ??= await ground.runtime.seccompProgram(handle);
  if (limits.io_weight !== undefined) ground.cgroupOf(record).setLimits({ io_weight: limits.io_weight });
  // crun has made that group, if this is the first container in it.
  if (record.is_background) ground.groups.background.setLimits(ground.config.background);
  const process = identify(started);
  if (!process) throw new Error('its first process ended at once');
  return process;
}

/**
 * crun says that it has started the container while its first process may still be on its way into the last namespaces: whoever
 * enters it then is refused. All is done once the reaper runs.
 */
async function untilReaping(ground: Ground, pid: number, reaper: string): Promise<void> {
  const deadline = ground.clock.monotonic() + PATIENCE_MS;
  while (commandOf(pid) !== reaper) {
    if (!identify(pid)) throw new Error('its first process ended at once');
    if (ground.clock.monotonic() > deadline) throw new Error('its first process does not start');
    await ground.clock.sleep(1);
  }
}

function rootLayers(ground: Ground, { stack, layers }: ContainerRecord): string[] {
  return [...(stack === undefined ? [] : [ground.config.stacks[stack] ?? '']), ...layers];
}

/** An image has no reaper of its own: it gets one of a stack's, which is linked statically, where nothing of its own can be. */
const IMAGE_REAPER = '/dev/init';

function reaperPath({ stack }: ContainerRecord): string {
  return stack === undefined ? IMAGE_REAPER : STACK_REAPER;
}

function reaperOf(ground: Ground, { stack }: ContainerRecord): ContainerRecord['bind_mounts'] {
  const [any] = Object.values(ground.config.stacks);
  if (stack !== undefined) return [];
  return [{ src_path: join(any ?? '/', STACK_REAPER), dst_path: IMAGE_REAPER, mode: 'ro' }];
}

/** Containers trust what the host trusts, where that is asked for. */
function trustedCa(ground: Ground): ContainerRecord['bind_mounts'] {
  const src_path = ground.config.trusted_ca_file;
  return src_path === undefined ? [] : [{ src_path, dst_path: CA_BUNDLE, mode: 'ro' }];
}

/**
 * Takes away all that there may be of a container, but for its folder in the depot: as often as needed, whatever of it stands.
 * `slot` is undefined when the record was unreadable.
 */
export async function demolish(ground: Ground, handle: string, slot: number | undefined): Promise<void> {
  const folder = ground.mountsOf(handle);
  await ground.runtime.delete(handle);
  await emptyCgroup(ground, handle);
  if (slot !== undefined) {
    ground.firewall.remove(slot);
  }
  unmountRootFs(folder);
  await ground.disks.remove(handle);
}

/** Ends what crun left running, if anything, and waits until the group is gone, in whichever of the two it was. */
async function emptyCgroup(ground: Ground, handle: string): Promise<void> {
  const groups = Object.values(ground.groups).map((top) => top.below(handle));
  const deadline = ground.clock.monotonic() + PATIENCE_MS;
  for (;;) {
    const left = groups.filter((group) => group.exists());
    for (const group of left) group.signalAll('SIGKILL');
    if (left.every((group) => group.remove())) return;
    if (ground.clock.monotonic() > deadline) throw new Error(`processes of ${handle} do not end`);
    await ground.clock.sleep(LOOK_MS);
  }
}

/**
 * Ends crun and conmon processes that a killed daemon left at work on a container that was being made or destroyed, and waits for
 * their end: they would go on making what we take away.
 */
export async function endWorkOn(ground: Ground, handle: string): Promise<void> {
  const deadline = ground.clock.monotonic() + PATIENCE_MS;
  for (;;) {
    const pids = processesWith([`--root=${ground.runtime.state}`, `\0${handle}\0`]);
    if (pids.length === 0) return;
    for (const pid of pids) signalProcess(pid, 'SIGKILL');
    if (ground.clock.monotonic() > deadline) throw new Error(`commands that work on ${handle} do not end`);
    await ground.clock.sleep(LOOK_MS);
  }
}
