import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

export interface EngineLimits {
  memory_mb: number;
  pids: number;
}

/**
 * Makes the control group of one engine in every hierarchy that limits it (version 1 has one for each controller), and tells the
 * files that a process writes its id into to be in it. None when this machine does not let us.
 */
export function prepareCgroup(path: string, limits: EngineLimits): string[] {
  const bytes = String(limits.memory_mb * 1024 * 1024);
  const isUnified = existsSync(join(ROOT, 'cgroup.controllers'));
  const groups: [folder: string, writes: [file: string, value: string][]][] = isUnified
    ? [
        [
          join(ROOT, path),
          [
            ['memory.max', bytes],
            ['pids.max', String(limits.pids)],
          ],
        ],
      ]
    : [
        [join(ROOT, 'memory', path), [['memory.limit_in_bytes', bytes]]],
        [join(ROOT, 'pids', path), [['pids.max', String(limits.pids)]]],
      ];
  try {
    if (isUnified) delegate(path);
    return groups.map(([folder, writes]) => {
      mkdirSync(folder, { recursive: true });
      for (const [file, value] of writes) writeFileSync(join(folder, file), value);
      return join(folder, 'cgroup.procs');
    });
  } catch {
    return [];
  }
}

/** Version 2 gives a group only the controllers that its parents hand down. */
function delegate(path: string): void {
  let folder = ROOT;
  for (const name of path.split('/')) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'cgroup.subtree_control'), '+memory +pids');
    folder = join(folder, name);
  }
}

/** Removes a group and those below it, in every hierarchy; one that still holds a process stays. */
export function removeCgroup(path: string): void {
  for (const folder of [join(ROOT, path), join(ROOT, 'memory', path), join(ROOT, 'pids', path)]) removeFolder(folder);
}

function removeFolder(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeFolder(join(folder, entry.name));
    }
    rmdirSync(folder);
  } catch {
    // Not there, or of use.
  }
}
