/**
 * A place to run buildpacks and what they stage without a platform: the real stack as root file system, in namespaces of
 * its own, as vcap without any right, with the machine's network. It follows the contract that the DEA follows.
 */
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { ensureStack, stackName } from '#platform/stack.ts';
import { eventually } from '#testing/eventually.ts';

export const repository = resolve(import.meta.dirname, '..', '..');
const buildpacks = join(repository, 'buildpacks');
export const stacks_folder = '/var/cache/ingot/stacks';

/** Runs as root in new mount and pid namespaces: all that it mounts ends with them. */
const setUp = `
rootfs=$1 base=$2 buildpacks=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs "$base/mnt"
mkdir "$base/mnt/upper" "$base/mnt/work" "$base/mnt/root"
root=$base/mnt/root
mount -t overlay -o "lowerdir=$rootfs,upperdir=$base/mnt/upper,workdir=$base/mnt/work" overlay "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/\${node%:*}" c 1 "\${node#*:}"; done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"
mount --bind "$base/tmp" "$root/tmp"
mount --bind "$base/vcap" "$root/home/vcap"
mkdir -p "$root/tmp/buildpacks"
mount --bind "$buildpacks" "$root/tmp/buildpacks"
mount -o remount,bind,ro "$root/tmp/buildpacks"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
exec chroot "$root" /usr/bin/catatonit -- /usr/bin/setpriv --reuid 2000 --regid 2000 --clear-groups --no-new-privs \\
  --inh-caps=-all --bounding-set=-all /usr/bin/env -i "$@"
`;

/** What the platform's start script does: environment of the buildpacks, then of the app, then the command. */
const launch = `
cd /home/vcap/app
for script in /home/vcap/profile.d/*.sh .profile.d/*.sh .profile; do
  if [ -f "$script" ]; then source "$script"; fi
done
exec bash -c "$1"
`;

const common = { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C.UTF-8', USER: 'vcap', CF_STACK: stackName };

type Env = Readonly<Record<string, string>>;
type Child = ChildProcessByStdio<null, Readable, Readable>;

export interface Outcome {
  status: number;
  /** Standard output and standard error as they came. */
  output: string;
}

export class Sandbox implements AsyncDisposable {
  readonly #base: string;
  readonly #rootfs: string;
  readonly #children = new Set<Child>();
  /** Whether what runs from now on has the machine's network, or none. */
  hasNetwork = true;

  private constructor(base: string, rootfs: string) {
    this.#base = base;
    this.#rootfs = rootfs;
  }

  static async create(): Promise<Sandbox> {
    const { rootfs } = await ensureStack({ stacks_folder, name: stackName });
    const base = await mkdtemp(join(tmpdir(), 'ingot-buildpacks-'));
    const sandbox = new Sandbox(base, rootfs);
    for (const folder of ['mnt', 'tmp', 'vcap', 'tmp/app', 'tmp/cache', 'tmp/deps', 'tmp/profile.d', 'vcap/tmp']) {
      await mkdir(join(base, folder));
      if (folder !== 'mnt') await chown(join(base, folder), 2000, 2000);
    }
    return sandbox;
  }

  /** The app's files, as the user pushed them. */
  async place(files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const place = join(this.#base, 'tmp/app', path);
      await mkdir(dirname(place), { recursive: true });
      await writeFile(place, content);
    }
    await chownAll(join(this.#base, 'tmp/app'));
  }

  /** Copies one of samples/ as the app. */
  async placeSample(name: string): Promise<void> {
    const skipped = /(^|\/)(node_modules|\.venv|__pycache__)(\/|$)/;
    const from = join(repository, 'samples', name);
    const filter = (source: string) => !skipped.test(source.slice(from.length));
    await cp(from, join(this.#base, 'tmp/app'), { recursive: true, filter });
    await chownAll(join(this.#base, 'tmp/app'));
  }

  /** An archive that another sandbox holds at `path`, unpacked as the app: what `cf push -p FILE.jar` uploads. */
  async placeArchive(other: Sandbox, path: string): Promise<void> {
    await finished(spawn('unzip', ['-q', join(other.#base, path), '-d', join(this.#base, 'tmp/app')]));
    await chownAll(join(this.#base, 'tmp/app'));
  }

  /** Begins with what another app's staging has cached, so that a test need not fetch it again. */
  async useCacheOf(other: Sandbox): Promise<void> {
    await cp(join(other.#base, 'tmp/cache'), join(this.#base, 'tmp/cache'), { recursive: true });
    await chownAll(join(this.#base, 'tmp/cache'));
  }

  /** A new, empty build folder with the cache kept: the next push of the same app. */
  async pushAgain(): Promise<void> {
    for (const folder of ['tmp/app', 'tmp/deps', 'tmp/profile.d']) {
      await rm(join(this.#base, folder), { recursive: true, force: true });
      await mkdir(join(this.#base, folder));
      await chown(join(this.#base, folder), 2000, 2000);
    }
  }

  read(path: string): Promise<string> {
    return readFile(join(this.#base, path), 'utf8');
  }

  list(path: string): Promise<string[]> {
    return readdir(join(this.#base, path));
  }

  detect(buildpack: string): Promise<Outcome> {
    return this.#finish([`/tmp/buildpacks/${buildpack}/bin/detect`, '/tmp/app'], {});
  }

  /** supply of each, finalize and release of the last; `start` is what release (or the app's Procfile) says for web. */
  async stage(names: readonly string[], env: Env = {}): Promise<Outcome & { start: string | undefined }> {
    let output = '';
    for (const [index, name] of names.entries()) {
      const bin = `/tmp/buildpacks/${name}/bin`;
      const places = ['/tmp/app', '/tmp/cache', '/tmp/deps', String(index)];
      await this.#finish(['mkdir', '-p', `/tmp/deps/${index}`], {});
      const steps = [[`${bin}/supply`, ...places]];
      if (index === names.length - 1) steps.push([`${bin}/finalize`, ...places, '/tmp/profile.d']);
      for (const step of steps) {
        const done = await this.#finish(step, env);
        output += done.output;
        if (done.status !== 0) return { status: done.status, output, start: undefined };
      }
    }
    const release = await this.#finish([`/tmp/buildpacks/${names.at(-1) ?? ''}/bin/release`, '/tmp/app'], env);
    const start = webOf(parse(release.output)) ?? (await this.#procfileWeb());
    return { status: release.status, output, start };
  }

  /** bin/compile alone, the older contract; the app must then run without deps/ and profile.d/ beside it. */
  async compile(name: string, env: Env = {}): Promise<Outcome & { start: string | undefined }> {
    const done = await this.#finish([`/tmp/buildpacks/${name}/bin/compile`, '/tmp/app', '/tmp/cache'], env);
    const release = await this.#finish([`/tmp/buildpacks/${name}/bin/release`, '/tmp/app'], env);
    return { ...done, start: webOf(parse(release.output)) ?? (await this.#procfileWeb()) };
  }

  /** Lays the staged files out as a droplet does and runs `command` in it to its end. */
  async runToEnd(command: string, env: Env = {}): Promise<Outcome> {
    await this.#layOut();
    return this.#outcome(this.#spawn(['bash', '-c', launch, 'launch', command], this.#runEnv(env)));
  }

  /** As runToEnd for a server: resolves when it listens on `$PORT`; throws with its output when it ends before that. */
  async serve(command: string | undefined, env: Env = {}): Promise<Server> {
    if (command === undefined) throw new Error('staging gave no start command');
    await this.#layOut();
    const port = await freePort();
    const child = this.#spawn(['bash', '-c', launch, 'launch', command], {
      ...this.#runEnv(env),
      PORT: String(port),
    });
    const server = new Server(child, port, this.#outcome(child));
    await server.listening();
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    while (this.#children.size > 0) await delay(10);
    await rm(this.#base, { recursive: true, force: true, maxRetries: 5 });
  }

  #runEnv(env: Env): Env {
    return { ...common, HOME: '/home/vcap/app', TMPDIR: '/home/vcap/tmp', DEPS_DIR: '/home/vcap/deps', ...env };
  }

  async #layOut(): Promise<void> {
    for (const part of ['app', 'deps', 'profile.d']) {
      const to = join(this.#base, 'vcap', part);
      await rm(to, { recursive: true, force: true });
      // Hard links: a droplet with Node in it is large, and nothing here changes files in place.
      await finished(spawn('cp', ['--archive', '--link', join(this.#base, 'tmp', part), to]));
    }
  }

  async #procfileWeb(): Promise<string | undefined> {
    const text = await this.read('tmp/app/Procfile').catch(() => '');
    return /^web:\s*(.+)$/m.exec(text)?.[1];
  }

  #finish(command: readonly string[], env: Env): Promise<Outcome> {
    const staging = { ...common, HOME: '/home/vcap', TMPDIR: '/tmp', ...env };
    return this.#outcome(this.#spawn(command, staging));
  }

  #spawn(command: readonly string[], env: Env): Child {
    const flags = ['--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child=KILL', '--propagation=private'];
    if (!this.hasNetwork) flags.push('--net');
    const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const places = [this.#rootfs, this.#base, buildpacks];
    const child = spawn(
      'unshare',
      [...flags, 'sh', '-euc', setUp, 'set-up', ...places, ...pairs, 'bash', '-c', 'exec "$@" 2>&1', 'run', ...command],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  async #outcome(child: Child): Promise<Outcome> {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    const [code] = (await once(child, 'close')) as [number | null];
    return { status: code ?? -1, output };
  }
}

export class Server {
  readonly url: string;
  readonly #child: Child;
  readonly #end: Promise<Outcome>;
  #output = '';

  constructor(child: Child, port: number, end: Promise<Outcome>) {
    this.#child = child;
    this.#end = end;
    this.url = `http://127.0.0.1:${port}`;
    child.stdout.on('data', (text: string) => (this.#output += text));
  }

  get output(): string {
    return this.#output;
  }

  get end(): Promise<Outcome> {
    return this.#end;
  }

  async listening(): Promise<void> {
    await eventually(
      'the app listens',
      async () => {
        const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null;
        return isOver || (await fetch(this.url, { method: 'HEAD' }).then(Boolean, () => false));
      },
      120,
    );
    if (this.#child.exitCode !== null) throw new Error(`the app ended: ${(await this.#end).output}`);
  }

  /** Signals the app as the platform does: its pid 1, which hands the signal on. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> {
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      // Fields after the name in parentheses: state, parent's pid.
      const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
      if (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(this.#child.pid))
        process.kill(Number(entry), signal);
    }
    return this.#end;
  }
}

function webOf(release: unknown): string | undefined {
  const types = (release as { default_process_types?: { web?: string } } | null)?.default_process_types;
  return types?.web;
}

async function chownAll(folder: string): Promise<void> {
  await finished(spawn('chown', ['-R', '-h', '2000:2000', folder]));
}

async function finished(child: ChildProcess): Promise<void> {
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with ${code}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
