import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { WardenClient } from '#http/warden-client.ts';
import { eventually } from './eventually.ts';
import { testStack } from './stack.ts';

const DAEMON = resolve(import.meta.dirname, '../warden/daemon.ts');
const letters = (count: number) =>
  Array.from({ length: count }, () => String.fromCharCode(97 + randomInt(26))).join('');

/**
 * A real warden of the test's own, beside any other on the machine: its name, network, ids and ports are its alone. Containers
 * have the small stack of `testStack` under the name `test`. It can be killed and started again in place.
 */
export class TestWarden implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly client: WardenClient;
  /** first and last host port of its pool */
  readonly ports: { first: number; last: number };
  readonly #config: Record<string, unknown>;
  #process: ChildProcess | undefined;

  private constructor(folder: string, stack: string, overrides: Record<string, unknown>) {
    this.folder = folder;
    this.name = `t${letters(6)}`;
    const first = 30_000 + 50 * randomInt(55);
    this.ports = { first, last: first + 49 };
    this.client = new WardenClient({ socket_path: join(folder, 'sock') });
    this.#config = {
      name: this.name,
      socket_path: this.client.socket_path,
      depot: this.depot,
      stacks: { test: stack },
      network_pool: `10.${128 + randomInt(100)}.${16 * randomInt(16)}.0/20`,
      uid_pool: { start: 1_500_000_000 + 65_536 * 256 * randomInt(30), count: 256 },
      host_port_pool: this.ports,
      disk_store: { size_mb: 2048 },
      ...overrides,
    };
  }

  /** `overrides` are keys of warden's configuration. */
  static async start(overrides: Record<string, unknown> = {}): Promise<TestWarden> {
    const stack = await testStack();
    const warden = new TestWarden(await mkdtemp(join(tmpdir(), 'ingot-warden-')), stack, overrides);
    try {
      // Without isolation vcap has to come through here.
      await chmod(warden.folder, 0o711);
      await writeFile(join(warden.folder, 'config.yml'), stringify(warden.#config));
      await warden.resume();
      return warden;
    } catch (error) {
      await warden[Symbol.asyncDispose]();
      throw error;
    }
  }

  get depot(): string {
    return join(this.folder, 'depot');
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const gone = once(running, 'exit');
    running.kill(signal);
    await gone;
  }

  async resume(): Promise<void> {
    const log = join(this.folder, 'log');
    const config = join(this.folder, 'config.yml');
    // Appends: what a daemon said before it was killed is still of interest.
    const child = spawn('/bin/sh', ['-c', 'exec "$@" >>"$0" 2>&1', log, process.execPath, DAEMON, config], {
      stdio: 'ignore',
    });
    this.#process = child;
    await eventually('warden answers', async () => {
      if (child.exitCode !== null) throw new Error(`warden ended: ${await readFile(log, 'utf8')}`);
      await this.client.ping();
      return true;
    });
  }

  /** What its daemons have logged so far. */
  async log(): Promise<string> {
    return await readFile(join(this.folder, 'log'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process) {
      for (const { handle } of await this.client.list().catch(() => [])) await this.client.destroy(handle);
    }
    await this.kill('SIGTERM');
    this.client[Symbol.dispose]();
    const namespace = join(this.depot, 'namespace');
    if (existsSync(namespace)) {
      execFileSync('umount', ['--lazy', '--quiet', join(namespace, 'mnt')]);
      execFileSync('umount', ['--lazy', '--quiet', namespace]);
    }
    await rm(join('/run/ingot-warden', this.name), { recursive: true, force: true });
    execFileSync('nft', ['-f', '-'], {
      input: `add table inet ingot_${this.name}\ndelete table inet ingot_${this.name}`,
    });
    for (const controller of await readdir('/sys/fs/cgroup')) {
      for (const group of [`ingot-${this.name}`, `ingot-${this.name}-background`])
        await rmdir(join('/sys/fs/cgroup', controller, group)).catch(() => {});
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
