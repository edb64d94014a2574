import { rmSync, rmdirSync, statfsSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#kernel/clock.ts';
import { Cgroup, groupPaths } from './cgroup.ts';
import type { WardenConfig } from './config.ts';
import { tableName } from './firewall.ts';
import { lockDepot } from './lock.ts';
import { releaseNamespace, runFolder } from './namespace.ts';
import { nft } from './nft.ts';
import { processesWith, signalProcess } from './processes.ts';

const CGROUPS = '/sys/fs/cgroup';
const CGROUP2 = 0x63677270;
const PATIENCE_MS = 10_000;
const LOOK_MS = 20;

/**
 * Ends all containers of a warden whose daemon is stopped and removes all that it has on this machine: depot, disks, rules, cgroups.
 * Errors: DepotTaken while a daemon runs.
 */
export async function removeWarden(config: Pick<WardenConfig, 'name' | 'depot'>, clock: Clock): Promise<void> {
  const { name, depot } = config;
  if (!existsSync(depot)) return;
  using _lock = lockDepot(depot);
  const version = statfsSync(CGROUPS).type === CGROUP2 ? 2 : 1;
  const deadline = clock.monotonic() + PATIENCE_MS;
  const tops = groupPaths(name).map((path) => new Cgroup(version, path));
  for (;;) {
    const groups = tops.flatMap((top) => top.names().map((handle) => top.below(handle)));
    for (const group of groups) group.signalAll('SIGKILL');
    // What crun and conmon are still at ends as well: their processes would keep the mounts.
    for (const pid of processesWith([join(runFolder(name), 'crun')])) signalProcess(pid, 'SIGKILL');
    if ([...groups, ...tops].every((group) => group.remove())) break;
    if (clock.monotonic() > deadline) throw new Error(`processes in the containers of warden ${name} do not end`);
    await clock.sleep(LOOK_MS);
  }
  releaseNamespace(join(depot, 'namespace'));
  nft(`add table inet ${tableName(name)}\ndelete table inet ${tableName(name)}`);
  rmSync(depot, { recursive: true, force: true });
  if (existsSync(runFolder(name))) rmdirSync(runFolder(name));
}
