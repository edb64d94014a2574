import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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

export interface CommandOptions {
  cwd?: string;
  env?: Record<string, string>;
}

/** `output` is what it has said so far. */
export interface RunningCommand {
  outcome: Promise<Outcome>;
  output: () => string;
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface ApiCall {
  method?: string;
  json?: unknown;
  body?: Buffer;
  type?: string;
  token?: string;
  /** What the request says of its length when that is not its body's. */
  declared_length?: number;
}

export interface ShortLivedTokens {
  client: { id: string; secret: string };
  access_token: string;
  refresh_token: string;
}

/** Written into the home of a shared platform by the process that has it, which is named in it. */
const CLAIM = 'claimed-by';

/**
 * A whole platform of the tests' own, beside whatever else runs on the machine: own home, ports, names, networks, two DEAs. The
 * runner of all end-to-end files starts some and says where in INGOT_E2E_HOMES, of which each file takes one for as long as it
 * runs, since some break it on purpose; a file run alone starts its own.
 */
export class TestPlatform implements AsyncDisposable {
  readonly home: string;
  readonly domain = 'e2e.localhost';
  /** What the platform calls all that it makes in the kernel; undefined when another started it and will end it. */
  readonly #own: string | undefined;

  private constructor(home: string, own: string | undefined) {
    this.home = home;
    this.#own = own;
  }

  /** `chosen` are settings of `platform.yml` beside the usual ones; of a platform that is shared whoever started it chose. */
  static async start(chosen: object = {}): Promise<TestPlatform> {
    const shared = process.env['INGOT_E2E_HOMES'];
    if (shared !== undefined) return new TestPlatform(await claimOne(shared.split(':')), undefined);
    const home = await mkdtemp(join(tmpdir(), 'ingot-e2e-'));
    mkdirSync(STACKS, { recursive: true });
    symlinkSync(STACKS, join(home, 'stacks'));
    const slot = await freeSlot();
    const settings = {
      name: nameOf(slot),
      domain: 'e2e.localhost',
      http_port: await freePort(),
      https_port: await freePort(),
      ssh_port: await freePort(),
      memory_mb: 6144,
      disk_mb: 16_384,
      network_pool: `10.253.${slot * 16}.0/20`,
      host_ports: { first: 20_000 + slot * 750, last: 20_749 + slot * 750 },
      uid_start: 2_000_000_000 + slot * 10_000_000,
      deas: 2,
      edit_hosts_file: false,
      push_welcome: false,
      ...chosen,
      local_image_registries: true,
    };
    // JSON is YAML.
    writeFileSync(join(home, 'platform.yml'), JSON.stringify(settings), { mode: 0o600 });
    const platform = new TestPlatform(home, settings.name);
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
  async ingot(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    return await this.#command(join(root, 'bin/ingot'), args, options);
  }

  /** As ingot, and fails the test when it fails. */
  async mustIngot(args: readonly string[]): Promise<string> {
    const { exit_status, output } = await this.ingot(args);
    if (exit_status !== 0) throw new Error(`ingot ${args.join(' ')} ended with ${exit_status}:\n${output}`);
    return output;
  }

  /** Runs the bundled `cf` as this platform's admin. */
  async cf(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    return await this.#command(join(root, 'bin/cf'), args, options);
  }

  /** As cf, and fails the test when cf fails. */
  async mustCf(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { exit_status, output } = await this.cf(args, options);
    if (exit_status !== 0) throw new Error(`cf ${args.join(' ')} ended with ${exit_status}:\n${output}`);
    return output;
  }

  /** Begins a `cf` command, for doing something meanwhile. */
  begin(args: readonly string[], options: CommandOptions = {}): RunningCommand {
    return this.#begin(join(root, 'bin/cf'), args, options);
  }

  /** Asks an app again and again until the work is over; says what it got but 200. */
  async failuresDuring(host: string, work: () => Promise<void>): Promise<string[]> {
    const over = new AbortController();
    const failures: string[] = [];
    const watching = (async () => {
      do {
        try {
          const { status, headers } = await this.get(host);
          if (status !== 200) failures.push(`${status} ${String(headers['x-cf-routererror'] ?? '')}`);
        } catch (error) {
          failures.push(String(error));
        }
        await sleep(10);
      } while (!over.signal.aborted);
    })();
    try {
      await work();
    } finally {
      over.abort();
      await watching;
    }
    return failures;
  }

  /** GET of an app by its host, through the router. */
  async get(host: string, path = '/'): Promise<HttpAnswer> {
    return await this.#request({ path, headers: { host: `${host}.${this.domain}` } });
  }

  /** POST of a text to an app, through the router. */
  async post(host: string, path: string, text: string): Promise<HttpAnswer> {
    const body = Buffer.from(text);
    const headers = { host: `${host}.${this.domain}`, 'content-length': body.length };
    return await this.#request({ method: 'POST', path, headers }, body);
  }

  /** The process id of one of the platform's processes. */
  pidOf(name: string): number {
    return (JSON.parse(readFileSync(join(this.home, 'run', `${name}.process.json`), 'utf8')) as { pid: number }).pid;
  }

  /** Whether the process serves, by what it says itself. */
  isReady(name: string): boolean {
    const ready = join(this.home, 'run', `${name}.ready`);
    return existsSync(ready) && readFileSync(ready, 'utf8') === String(this.pidOf(name));
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

  /** The session that `cf` has here, as admin. */
  get cfHome(): string {
    return join(this.home, 'cf-tests');
  }

  /** As api, and fails the test when it refuses. */
  async mustApi(path: string, call: ApiCall = {}): Promise<HttpAnswer> {
    const answer = await this.api(path, call);
    if (answer.status >= 400) throw new Error(`${path} answered ${answer.status}: ${answer.body}`);
    return answer;
  }

  /** Calls the API with admin's token or the one given, as a client that holds to nothing would. */
  async api(path: string, call: ApiCall = {}): Promise<HttpAnswer> {
    const { json, type = 'application/json', token = (await this.mustCf(['oauth-token'])).trim() } = call;
    const body = call.body ?? (json === undefined ? undefined : Buffer.from(JSON.stringify(json)));
    const length = call.declared_length ?? body?.length;
    return await this.#request(
      {
        method: call.method ?? 'GET',
        path,
        headers: {
          host: `api.${this.domain}`,
          authorization: token,
          ...(body !== undefined && { 'content-type': type, 'content-length': length }),
        },
      },
      body,
    );
  }

  /** Tokens of admin whose access token lives for one second. */
  async shortLivedTokens(): Promise<ShortLivedTokens> {
    const { admin_password, uaa_clients } = this.#secrets();
    const uaa = async (path: string, client: ShortLivedTokens['client'], form: Record<string, string>) =>
      await this.#uaa<{ access_token: string; refresh_token: string }>(path, {
        type: 'application/x-www-form-urlencoded',
        authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`,
        body: new URLSearchParams(form).toString(),
      });
    const registrar = { id: 'cc-service-dashboards', secret: uaa_clients['cc-service-dashboards'] ?? '' };
    const { access_token } = await uaa('/oauth/token', registrar, { grant_type: 'client_credentials' });
    const client = { id: `short-${randomUUID()}`, secret: randomUUID() };
    await this.#uaa('/oauth/clients', {
      type: 'application/json',
      authorization: `Bearer ${access_token}`,
      body: JSON.stringify({
        client_id: client.id,
        client_secret: client.secret,
        authorized_grant_types: ['password', 'refresh_token'],
        scope: ['openid', 'cloud_controller.read', 'cloud_controller.write', 'cloud_controller.admin'],
        access_token_validity: 1,
      }),
    });
    const form = { grant_type: 'password', username: 'admin', password: admin_password };
    return { client, ...(await uaa('/oauth/token', client, form)) };
  }

  async #uaa<T>(path: string, call: { type: string; authorization: string; body: string }): Promise<T> {
    const { type, authorization, body } = call;
    const headers = { host: `uaa.${this.domain}`, authorization, 'content-type': type, accept: 'application/json' };
    const answer = await this.#request({ method: 'POST', path, headers }, Buffer.from(body));
    if (answer.status >= 400) throw new Error(`UAA's ${path} answered ${answer.status}: ${answer.body}`);
    return JSON.parse(answer.body) as T;
  }

  get adminPassword(): string {
    return this.#secrets().admin_password;
  }

  #secrets(): { admin_password: string; uaa_clients: Record<string, string> } {
    return JSON.parse(readFileSync(join(this.home, 'secrets.json'), 'utf8')) as ReturnType<
      () => {
        admin_password: string;
        uaa_clients: Record<string, string>;
      }
    >;
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
    return ['supervisor', 'control', 'router', 'router-1', 'warden', 'dea', 'dea-1']
      .map((name) => join(this.home, 'logs', `${name}.log`))
      .filter((file) => existsSync(file))
      .map((file) => `== ${file}\n${readFileSync(file, 'utf8').split('\n').slice(-15).join('\n')}`)
      .join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#own === undefined) return await rm(join(this.home, CLAIM));
    const { exit_status, output } = await this.ingot(['destroy', '--yes']);
    await rm(this.home, { recursive: true, force: true });
    if (exit_status !== 0) throw new Error(`the platform was not destroyed:\n${output}`);
    const left = await traces(this.#own, this.home);
    if (left.length > 0) throw new Error(`the platform left behind:\n${left.join('\n')}`);
  }

  async #request(options: RequestOptions, body?: Buffer): Promise<HttpAnswer> {
    return await new Promise((done, reject) => {
      const asked = request({ host: '127.0.0.1', port: this.port, timeout: 60_000, ...options }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.once('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
        response.once('error', reject);
      });
      asked.once('error', reject);
      asked.once('timeout', () => asked.destroy(new Error('no answer within 60 s')));
      // What declares more than it has stays open: the answer must come all the same.
      const declared =
        options.headers !== undefined && 'content-length' in options.headers
          ? options.headers['content-length']
          : undefined;
      if (body !== undefined && declared !== undefined && Number(declared) > body.length) asked.write(body);
      else asked.end(body);
    });
  }

  async #command(file: string, args: readonly string[], options: CommandOptions): Promise<Outcome> {
    return await this.#begin(file, args, options).outcome;
  }

  #begin(file: string, args: readonly string[], options: CommandOptions): RunningCommand {
    const env = { ...process.env, INGOT_HOME: this.home, CF_HOME: this.cfHome, ...options.env };
    mkdirSync(env.CF_HOME, { recursive: true });
    const child = spawn(file, args, { cwd: options.cwd ?? tmpdir(), env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const outcome = new Promise<Outcome>((done, reject) =>
      child.once('error', reject).once('close', (status) => done({ exit_status: status ?? -1, output })),
    );
    return { outcome, output: () => output };
  }
}

/** The first of these platforms that no other living process has. */
async function claimOne(homes: readonly string[]): Promise<string> {
  for (;;) {
    for (const home of homes) {
      const claim = join(home, CLAIM);
      try {
        writeFileSync(claim, String(process.pid), { flag: 'wx' });
        return home;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const owner = await readFile(claim, 'utf8').catch(() => '');
      // Whoever ended without giving it back.
      if (owner !== '' && !existsSync(`/proc/${owner}`)) await rm(claim, { force: true });
    }
    await sleep(100);
  }
}

const SLOTS = 16;
const nameOf = (slot: number): string => `ite2e${slot.toString(16)}`;

/** Names, networks, ports and user ids that no other test platform on this machine has. */
async function freeSlot(): Promise<number> {
  for (let tries = 0; tries < SLOTS; tries++) {
    const slot = (process.pid + tries) % SLOTS;
    if ((await traces(nameOf(slot))).length === 0) return slot;
  }
  throw new Error(`${SLOTS} test platforms have left traces on this machine; see "ip link" and "nft list tables"`);
}

/** All in the kernel and in /run that bears a platform's name, and its processes and mounts by its home. */
async function traces(name: string, home?: string): Promise<string[]> {
  const found: string[] = [];
  const owned = [name, ...(home === undefined ? [] : [home])];
  const look = (what: string, lines: Iterable<string>): void => {
    for (const line of lines) {
      if (owned.some((word) => line.includes(word))) found.push(`${what} ${line.trim()}`);
    }
  };
  look('interface', (await run('ip', ['-brief', 'link'])).stdout.split('\n'));
  look('network namespace', (await run('ip', ['netns', 'list'])).stdout.split('\n'));
  look('firewall table', (await run('nft', ['list', 'tables'])).stdout.split('\n'));
  look('mount', readFileSync('/proc/mounts', 'utf8').split('\n'));
  look('cgroup', (await run('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `*${name}*`])).stdout.split('\n'));
  look('folder', existsSync('/run/ingot-warden') ? readdirSync('/run/ingot-warden') : []);
  look('loop device', (await run('losetup', ['--all'])).stdout.split('\n'));
  look('process', commandLines());
  return found;
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && entry !== String(process.pid))
    .flatMap((pid) => {
      try {
        return [`${pid} ${readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ')}`];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
