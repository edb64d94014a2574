import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { groupPaths } from '../cgroup.ts';
import type { TestWarden } from '#testing/warden.ts';

/** All that containers can leave on a machine, as a running warden has it. */
export function remainsOf({ name, depot, pid }: TestWarden) {
  const run = `/proc/${pid}/root/run/ingot-warden/${name}`;
  const table = execFileSync('nft', ['list', 'table', 'inet', `ingot_${name}`]).toString();
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
  return {
    containers: readdirSync(join(depot, 'containers')),
    mounts: mounts.filter((line) => line.includes(`${name}/containers/`)),
    disks: [
      ...readdirSync(join(run, 'disks')),
      ...readdirSync(join(run, 'containers')),
      ...readdirSync(join(run, 'crun')),
    ],
    interfaces: readdirSync('/sys/class/net').filter((device) => device.startsWith(`w${name}-`)),
    cgroups: cgroupsOf(name),
    processes: readdirSync('/proc').filter(
      (entry) => /^\d+$/.test(entry) && commandOf(entry).includes(`ingot-warden/${name}/`),
    ),
    elements: table.split('\n').filter((line) => line.includes('elements =')).length,
    chains: table.split('\n').filter((line) => /chain (out|host)-\d/.test(line)).length,
  };
}

export const NOTHING: ReturnType<typeof remainsOf> = {
  containers: [],
  mounts: [],
  disks: [],
  interfaces: [],
  cgroups: [],
  processes: [],
  elements: 0,
  chains: 0,
};

export function cgroupsOf(name: string): string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((controller) => join(root, controller))]
    .flatMap((folder) => groupPaths(name).map((path) => join(folder, path)))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    .map((entry) => entry.name);
}

export function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
