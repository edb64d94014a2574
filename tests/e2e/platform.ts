import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '#testing/free-port.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
/** Built once per machine and shared by all test platforms. */
const STACKS = '/var/cache/ingot/stacks';

export interface Outcome {
  exit_status: number;
  output: string;
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/**
 * A whole platform of the tests' own, beside whatever else runs on the machine: own home, ports, names, networks, two DEAs. The
 * runner of all end-to-end files starts one and says where in INGOT_E2E_HOME; a file run alone starts its own.
 */
export class TestPlatform implements AsyncDisposable {
  readonly home: string;
  readonly domain = 'e2e.localhost';
  readonly #isOwn: boolean;

  private constructor(home: string, isOwn: boolean) {
    this.home = home;
    this.#isOwn = isOwn;
  }

  static async start(): Promise<TestPlatform> {
    const shared = process.env['INGOT_E2E_HOME'];
    if (shared !== undefined) return new TestPlatform(shared, false);
    const home = await mkdtemp(join(tmpdir(), 'ingot-e2e-'));
    mkdirSync(STACKS, { recursive: true });
    symlinkSync(STACKS, join(home, 'stacks'));
    const settings = {
      name: 'ite2e',
      domain: 'e2e.localhost',
      http_port: await freePort(),
      https_port: await freePort(),
      memory_mb: 6144,
      disk_mb: 16_384,
      network_pool: '10.253.0.0/20',
      host_ports: { first: 28_000, last: 29_999 },
      uid_start: 2_000_000_000,
      deas: 2,
      edit_hosts_file: false,
      push_welcome: false,
    };
    // JSON is YAML.
    writeFileSync(join(home, 'platform.yml'), JSON.stringify(settings), { mode: 0o600 });
    const platform = new TestPlatform(home, true);
    try {
      const up = await platform.ingot(['up', '--detach']);
      if (up.exit_status !== 0) throw new Error(`the platform did not come up:\n${up.output}\n${platform.logs()}`);
      const login = await platform.ingot(['login']);
      if (login.exit_status !== 0) throw new Error(`cf could not log in:\n${login.output}`);
      return platform;
    } catch (error) {
      // What went wrong first is what one wants to read.
      await platform[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  get port(): number {
    return (JSON.parse(readFileSync(join(this.home, 'run/reach.json'), 'utf8')) as { http_port: number }).http_port;
  }

  /** Runs `ingot` on this platform. */
  async ingot(args: readonly string[]): Promise<Outcome> {
    return await this.#command(join(root, 'bin/ingot'), args, {});
  }

  /** Runs the bundled `cf` as this platform's admin. */
  async cf(args: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}): Promise<Outcome> {
    return await this.#command(join(root, 'bin/cf'), args, options);
  }

  /** As cf, and fails the test when cf fails. */
  async mustCf(args: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}): Promise<string> {
    const { exit_status, output } = await this.cf(args, options);
    if (exit_status !== 0) throw new Error(`cf ${args.join(' ')} ended with ${exit_status}:\n${output}`);
    return output;
  }

  /** GET of an app by its host, through the router. */
  async get(host: string, path = '/'): Promise<HttpAnswer> {
    const options = {
      host: '127.0.0.1',
      port: this.port,
      path,
      headers: { host: `${host}.${this.domain}` },
      timeout: 20_000,
    };
    return await new Promise((done, reject) => {
      const asked = request(options, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.once('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, body }));
        response.once('error', reject);
      });
      asked.once('error', reject);
      asked.once('timeout', () => asked.destroy(new Error('no answer within 20 s')));
      asked.end();
    });
  }

  /** The process id of one of the platform's processes. */
  pidOf(name: string): number {
    return (JSON.parse(readFileSync(join(this.home, 'run', `${name}.process.json`), 'utf8')) as { pid: number }).pid;
  }

  /** A copy of a sample in a folder of its own, to be changed at will. */
  async sample(name: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), `ingot-app-${name}-`));
    await cp(join(root, 'samples', name), folder, { recursive: true });
    // A host that is known beforehand.
    const manifest = join(folder, 'manifest.yml');
    await writeFile(manifest, readFileSync(manifest, 'utf8').replace(/^ *random-route: true\n/m, ''));
    return folder;
  }

  /** A folder with the given files. */
  async folder(files: Record<string, string>): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-app-'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      await writeFile(join(folder, path), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
    }
    return folder;
  }

  logs(): string {
    return ['supervisor', 'control', 'router', 'warden', 'dea', 'dea-1']
      .map((name) => join(this.home, 'logs', `${name}.log`))
      .filter((file) => existsSync(file))
      .map((file) => `== ${file}\n${readFileSync(file, 'utf8').split('\n').slice(-15).join('\n')}`)
      .join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOwn) return;
    const { exit_status, output } = await this.ingot(['destroy', '--yes']);
    await rm(this.home, { recursive: true, force: true });
    if (exit_status !== 0) throw new Error(`the platform was not destroyed:\n${output}`);
    const left = await leftovers();
    if (left.length > 0) throw new Error(`the platform left behind: ${left.join(', ')}`);
  }

  async #command(
    file: string,
    args: readonly string[],
    options: { cwd?: string; env?: Record<string, string> },
  ): Promise<Outcome> {
    const env = { ...process.env, INGOT_HOME: this.home, CF_HOME: join(this.home, 'cf-tests'), ...options.env };
    mkdirSync(env.CF_HOME, { recursive: true });
    const child = spawn(file, args, { cwd: options.cwd ?? tmpdir(), env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const exit_status = await new Promise<number>((done, reject) =>
      child.once('error', reject).once('close', (status) => done(status ?? -1)),
    );
    return { exit_status, output };
  }
}

/** Interfaces, tables and mounts that bear the test platform's name. */
async function leftovers(): Promise<string[]> {
  const commands: [string, string[]][] = [
    ['ip', ['-brief', 'link']],
    ['nft', ['list', 'tables']],
    ['cat', ['/proc/self/mounts']],
  ];
  const found: string[] = [];
  for (const [command, args] of commands) {
    const { stdout } = await run(command, args);
    found.push(...stdout.split('\n').filter((line) => line.includes('ite2e')));
  }
  return found;
}
