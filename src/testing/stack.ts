import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const CACHE = '/var/cache/ingot-test';

/** `vcap` is who apps run as: warden expects uid 2000 and this home in any stack. */
const CUSTOMIZE = [
  'chroot "$1" useradd --uid 2000 --user-group --create-home --shell /bin/bash vcap',
  'mkdir -p "$1/home/vcap/app"',
  'chroot "$1" chown -R vcap:vcap /home/vcap',
];
const ARGUMENTS = [
  '--mode=root',
  '--variant=minbase',
  '--include=python3-minimal,libpython3-stdlib,catatonit,iproute2,iputils-ping,netcat-openbsd,procps',
  '--dpkgopt=path-exclude=/usr/share/doc/*',
  '--dpkgopt=path-exclude=/usr/share/man/*',
  '--dpkgopt=path-exclude=/usr/share/locale/*',
  ...CUSTOMIZE.map((command) => `--customize-hook=${command}`),
  'bookworm',
];

/**
 * The folder of a small Debian 12 root file system with Python for tests of containers. It is built once by mmdebstrap (some
 * 20 s) and kept below /var/cache; test files that run side by side wait for one build under a file lock.
 */
export async function testStack(): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(ARGUMENTS)).digest('hex').slice(0, 12);
  const folder = join(CACHE, `stack-${hash}`);
  if (existsSync(folder)) return folder;
  await mkdir(CACHE, { recursive: true });
  // The name of the finished folder appears by one rename, so a build that was interrupted is never taken for a stack.
  const unfinished = `${folder}.unfinished`;
  await execute('flock', [
    join(CACHE, 'lock'),
    'sh',
    '-c',
    'folder=$1 unfinished=$2; shift 2; [ -d "$folder" ] || { rm -rf "$unfinished" && mmdebstrap "$@" && mv "$unfinished" "$folder"; }',
    'build',
    folder,
    unfinished,
    ...ARGUMENTS,
    unfinished,
  ]);
  return folder;
}
