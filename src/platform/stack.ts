/**
 * The stack: the root file system that staging and instances see, built once by mmdebstrap from the machine's own Debian
 * mirror and then only read. It is called `cflinuxfs4` because that is the stack that buildpacks and users of `cf` know;
 * what is inside is Debian 12. Nothing of the host is in it: what a container needs of the host (resolv.conf, CA
 * certificates) is mounted over empty files by the platform.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AppError } from '#kernel/errors.ts';
import { debianSources } from './debian-sources.ts';

export const stackName = 'cflinuxfs4';
export const stackDescription = 'Debian 12 (bookworm), under the name that buildpacks expect';

const suite = 'bookworm';
const neededBytes = 2 * 1024 ** 3;

/** What buildpacks and apps may count on. Language run times but Python (which Debian's own tools need) come by buildpack. */
const packages = {
  // The shell, and what scripts of buildpacks call.
  // igzip of `isal` packs droplets.
  base: 'bash bzip2 coreutils file findutils gawk grep gzip isal jq less patch procps psmisc sed tar unzip util-linux xz-utils zip zstd',
  net: 'ca-certificates curl git iproute2 netbase openssh-client openssh-sftp-server openssl wget',
  // `catatonit` reaps as pid 1, `nginx` is what the staticfile buildpack serves with.
  run: 'catatonit nginx python3 python3-pip python3-venv tzdata',
  // Packages of npm and PyPI that have no binary for this machine are compiled while staging.
  build: 'g++ gcc libffi-dev libssl-dev make pkg-config python3-dev zlib1g-dev',
};

const includes = Object.values(packages).flatMap((line) => line.split(' '));

// `man` pages go but for the folder, without which some packages' install scripts fail.
const excludes = ['doc', 'info', 'lintian', 'locale', 'man/*'].map((name) => `/usr/share/${name}/*`);

const finish = [
  'chroot "$1" groupadd --gid 2000 vcap',
  'chroot "$1" useradd --uid 2000 --gid 2000 --home-dir /home/vcap --no-create-home --shell /bin/bash vcap',
  'install -d -o 2000 -g 2000 -m 0755 "$1/home/vcap"',
  // mmdebstrap copies these two from the host; containers get their own mounted or written.
  'printf "127.0.0.1 localhost\\n::1 localhost\\n" > "$1/etc/hosts"',
  'rm -f "$1/etc/resolv.conf" "$1/etc/hostname"; : > "$1/etc/resolv.conf"; echo stack > "$1/etc/hostname"',
  'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap',
  'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old',
  'find "$1/var/log" -type f -delete; rm -f "$1"/etc/nginx/sites-enabled/*; install -d "$1/usr/share/man/man1"',
  // No program in a container may gain rights; noNewPrivileges says so at run time, this says so on disk.
  'find "$1" -xdev -type f -perm /6000 -exec chmod ug-s {} +',
];

export class StackError extends AppError {}

export interface EnsureStackOptions {
  /** Where stacks are kept; the stack itself lands in `<stacks_folder>/<name>/rootfs`. */
  stacks_folder: string;
  name: string;
  /** Told one line at a time what is being done; never called when the stack is there already. */
  onProgress?: (line: string) => void;
}

/**
 * Finds the stack of this recipe or builds it, once, however many processes ask at the same time. A stack of an older
 * recipe is replaced; the replaced one stays on disk until the next replacement, since running containers read from it.
 * Errors: StackError `stack_not_supported` (not root, not Linux), `stack_no_tool`, `stack_no_space`, `stack_no_sources`,
 * `stack_build_failed` (the message ends with what mmdebstrap said).
 */
export async function ensureStack(options: EnsureStackOptions): Promise<{ rootfs: string; built: boolean }> {
  const folder = join(options.stacks_folder, options.name);
  const rootfs = join(folder, 'rootfs');
  const recipe = recipeHash();
  if ((await recipeOf(folder)) === recipe) return { rootfs, built: false };
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new StackError('stack_not_supported', 'building the stack needs Linux and root: run this as root');
  }
  await mkdir(options.stacks_folder, { recursive: true });
  await using lock = await lockFile(join(options.stacks_folder, `.${options.name}.lock`), options.onProgress);
  lock.assertHeld();
  if ((await recipeOf(folder)) === recipe) return { rootfs, built: false };
  await build(options, folder, recipe);
  return { rootfs, built: true };
}

/** Changes with everything that decides what is in the stack, so that a changed recipe is built again. */
export function recipeHash(): string {
  const recipe = JSON.stringify({ suite, includes, excludes, finish, arch: process.arch });
  return createHash('sha256').update(recipe).digest('hex').slice(0, 16);
}

async function recipeOf(folder: string): Promise<string | undefined> {
  try {
    const made: unknown = JSON.parse(await readFile(join(folder, 'stack.json'), 'utf8'));
    if (typeof made !== 'object' || made === null || !('recipe' in made)) return undefined;
    return existsSync(join(folder, 'rootfs')) ? String(made.recipe) : undefined;
  } catch {
    // Missing or half-written is the same as not there: it is built again.
    return undefined;
  }
}

async function build(options: EnsureStackOptions, folder: string, recipe: string): Promise<void> {
  const unfinished = `.building-${options.name}`;
  const retired = `.retired-${options.name}`;
  const place = join(options.stacks_folder, unfinished);
  // Whatever a killed build or an earlier replacement left; the lock says that nobody is at work on it.
  for (const name of await readdir(options.stacks_folder)) {
    if (name === unfinished || name === retired) {
      await rm(join(options.stacks_folder, name), { recursive: true, force: true });
    }
  }
  const { bavail, bsize } = await statfs(options.stacks_folder);
  if (bavail * bsize < neededBytes) {
    throw new StackError('stack_no_space', `building the stack needs 2 GB free in ${options.stacks_folder}: make room`);
  }
  const sources = await debianSources(suite);
  if (sources === '') {
    throw new StackError(
      'stack_no_sources',
      `apt on this machine has no source for Debian's main: list a Debian mirror in /etc/apt/sources.list.d`,
    );
  }
  await mkdir(place, { recursive: true });
  try {
    const sourcesFile = join(place, 'debian.sources');
    await writeFile(sourcesFile, sources);
    const rootfs = join(place, 'rootfs');
    await runMmdebstrap(await mmdebstrapArguments(rootfs, sourcesFile), options.onProgress);
    // Containers get a /dev of their own; the nodes that the build used must not lie in the lower layer.
    await rm(join(rootfs, 'dev'), { recursive: true });
    await mkdir(join(rootfs, 'dev'));
    await rm(sourcesFile);
    await writeFile(join(place, 'stack.json'), `${JSON.stringify({ recipe, suite, description: stackDescription })}\n`);
    if (existsSync(folder)) await rename(folder, join(options.stacks_folder, retired));
    await rename(place, folder);
  } catch (error) {
    await rm(place, { recursive: true, force: true });
    throw error;
  }
}

async function mmdebstrapArguments(rootfs: string, sourcesFile: string): Promise<string[]> {
  return [
    '--mode=root',
    '--variant=minbase',
    `--include=${includes.join(',')}`,
    ...excludes.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    // A build that is cut off is thrown away whole, so dpkg need not sync each file.
    '--dpkgopt=force-unsafe-io',
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "3"',
    ...(await hostAcquireOptions()).map((option) => `--aptopt=${option}`),
    ...finish.map((command) => `--customize-hook=${command}`),
    suite,
    rootfs,
    sourcesFile,
  ];
}

/** The proxies and certificates by which apt reaches its mirror on this machine; they do not stay in the stack. */
async function hostAcquireOptions(): Promise<string[]> {
  const child = spawn('apt-config', ['dump'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const spawned = once(child, 'close');
  const options: string[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      if (/^Acquire::https?::.*(Proxy|CaInfo|SslCert|SslKey|Verify)[^ ]* ".+";$/i.test(line)) options.push(line);
    }
    await spawned;
  } catch {
    // Without apt-config, mmdebstrap itself will say what is missing.
  }
  return options;
}

async function runMmdebstrap(arguments_: string[], onProgress?: (line: string) => void): Promise<void> {
  const child = spawn('mmdebstrap', arguments_, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
  });
  const end = exitOf(child);
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    const text = line.trim();
    if (text === '' || text.startsWith('done')) continue;
    said.push(text);
    if (/^I: (running apt-get|downloading|extracting|installing|cleaning)/.test(text)) onProgress?.(text.slice(3));
  }
  const outcome = await end;
  if (outcome === 0) return;
  if (outcome instanceof Error) {
    const message = 'mmdebstrap cannot be run: run script/bootstrap, which installs it';
    throw new StackError('stack_no_tool', message, { cause: outcome });
  }
  const tail = said.slice(-25).join('\n');
  throw new StackError('stack_build_failed', `mmdebstrap ended with ${String(outcome)}:\n${tail}`);
}

/** Resolves (never rejects, so it may be awaited late) with the status, the signal's name, or why it could not run. */
function exitOf(child: ChildProcess): Promise<number | string | Error> {
  return new Promise((resolve) => {
    child.once('error', resolve);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'an unknown status'));
  });
}

/**
 * An advisory lock among processes, held by a child that ends when our end of its standard input closes: so the kernel
 * gives it back however this process dies.
 */
async function lockFile(
  path: string,
  onWait?: (line: string) => void,
): Promise<AsyncDisposable & { assertHeld(): void }> {
  const child = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo held; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const end = exitOf(child);
  let isHeld = false;
  const held = once(child.stdout, 'data').then(() => (isHeld = true));
  const patience = setTimeout(() => onWait?.('waiting for another process that builds the stack'), 1000);
  await Promise.race([held, end]);
  clearTimeout(patience);
  return {
    assertHeld() {
      if (!isHeld) throw new StackError('stack_build_failed', `the lock ${path} cannot be taken`);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await end;
    },
  };
}
