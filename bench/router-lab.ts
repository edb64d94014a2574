/**
 * A router, its rivals and a backend, each pinned to a core of its own choosing, in processes that are gone when the lab is. The
 * router runs with the flags that the platform gives it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#bus/bus.ts';
import { routerRegister } from '#contracts/router.ts';
import { silentLog } from '#kernel/log.ts';
import { nodeFlags } from '#platform/node-flags.ts';
import { freePort } from '#testing/free-port.ts';

/** Where things run: the proxy on one core and all else on the other, or everything wherever there is room. */
export const PINNED = { proxy: '0', load: '1' };
export const FLOATING = { proxy: '0,1', load: '0,1' };
export const HOST = 'bench.test';
const TICKS_PER_S = 100;
const STATUS_USER = { user: 'bench', password: 'bench' };

export interface Proxy {
  name: string;
  port: number;
  pids: number[];
}

export interface OurProxy extends Proxy {
  bus: Bus;
  /** The value of a metric of the first process, summed over its labels. */
  metric(name: string): Promise<number>;
}

export class Lab implements AsyncDisposable {
  readonly folder: string;
  readonly cpus: typeof PINNED;
  readonly #children: ChildProcess[] = [];
  readonly #open: AsyncDisposable[] = [];

  private constructor(folder: string, cpus: typeof PINNED) {
    this.folder = folder;
    this.cpus = cpus;
  }

  /** Errors: when a program is missing. */
  static async open(cpus: typeof PINNED = PINNED): Promise<Lab> {
    for (const program of ['nginx', 'haproxy', 'wrk', 'nats-server', 'taskset']) {
      if (spawnSync('which', [program]).status !== 0)
        throw new Error(`${program} is missing: apt-get install nginx-light haproxy wrk nats-server util-linux`);
    }
    return new Lab(await mkdtemp(join(tmpdir(), 'ingot-bench-')), cpus);
  }

  /** nginx with a file of so many bytes. */
  async backend(bodyBytes: number): Promise<number> {
    const port = await freePort();
    const www = join(this.folder, `www-${port}`);
    await mkdir(www);
    await writeFile(join(www, 'index.html'), 'x'.repeat(bodyBytes));
    const server = `server { listen 127.0.0.1:${port} backlog=4096; root ${www}; }`;
    const http = `open_file_cache max=10; keepalive_requests 100000000; ${server}`;
    await this.#nginx(this.cpus.load, `backend-${port}`, http);
    await listening(port);
    return port;
  }

  /** Hears bodies out and answers then. */
  async sink(): Promise<number> {
    const port = await freePort();
    this.#run(this.cpus.load, process.execPath, join(import.meta.dirname, 'router-serve.ts'), 'sink', String(port));
    await listening(port);
    return port;
  }

  /** So many processes, all on one port. */
  async ours(
    backendPort: number,
    options: { processes?: number; cpu_prof?: string | undefined } = {},
  ): Promise<OurProxy> {
    const processes = options.processes ?? 1;
    const natsPort = await freePort();
    const nats_url = `nats://127.0.0.1:${natsPort}`;
    this.#run(
      this.cpus.load,
      'nats-server',
      '-a',
      '127.0.0.1',
      '-p',
      String(natsPort),
      '-l',
      join(this.folder, 'nats.log'),
    );
    await listening(natsPort);
    const port = await freePort();
    const statusPorts: number[] = [];
    const pids: number[] = [];
    while (pids.length < processes) {
      const status_port = await freePort();
      const path = join(this.folder, `router-${status_port}.yml`);
      await writeFile(path, JSON.stringify(configOf({ port, nats_url, status_port, log: `${path}.log`, processes })));
      const profile = options.cpu_prof === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.cpu_prof}`];
      const serve = join(import.meta.dirname, 'router-serve.ts');
      const child = this.#run(
        this.cpus.proxy,
        process.execPath,
        ...nodeFlags('router'),
        ...profile,
        serve,
        'router',
        path,
      );
      await listening(status_port);
      statusPorts.push(status_port);
      pids.push(child.pid ?? 0);
    }
    await listening(port);
    const bus = await Bus.connect({ servers: [nats_url], name: 'bench', log: silentLog });
    this.#open.push(bus);
    const register = (): void => void bus.publish(routerRegister, registrationOf(backendPort));
    register();
    const timer = setInterval(register, 20_000);
    this.#open.push({ [Symbol.asyncDispose]: async () => clearInterval(timer) });
    await bus.flush();
    const name = 'ours, with access log and RTR lines';
    return { name, port, pids, bus, metric: async (metric) => await readMetric(statusPorts[0] ?? 0, metric) };
  }

  async haproxy(backendPort: number): Promise<Proxy> {
    const port = await freePort();
    const logPort = 1 + (await freePort());
    await writeFile(
      join(this.folder, 'haproxy.cfg'),
      `global
  nbthread 1
  maxconn 4096
  log 127.0.0.1:${logPort} local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:${port}
  unique-id-format %[uuid()]
  unique-id-header X-Vcap-Request-Id
  default_backend out
backend out
  http-request set-header X-Forwarded-Proto http
  server one 127.0.0.1:${backendPort}
`,
    );
    const child = this.#run(this.cpus.proxy, 'haproxy', '-db', '-q', '-f', join(this.folder, 'haproxy.cfg'));
    await listening(port);
    return { name: 'HAProxy, with log', port, pids: [child.pid ?? 0] };
  }
  async nginx(backendPort: number): Promise<Proxy> {
    const port = await freePort();
    const http = `upstream b { server 127.0.0.1:${backendPort}; keepalive 128; keepalive_requests 100000000; }
    log_format long '$host - [$time_iso8601] "$request" $status $request_length $body_bytes_sent "$http_referer" "$http_user_agent" "$remote_addr:$remote_port" "$upstream_addr" vcap_request_id:"$request_id" response_time:$request_time';
    server { listen 127.0.0.1:${port} backlog=4096; keepalive_requests 100000000; access_log ${this.folder}/nginx.log long buffer=64k flush=1s;
      client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
      location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Vcap-Request-Id $request_id; } }`;
    const child = await this.#nginx(this.cpus.proxy, `proxy-${port}`, http);
    await listening(port);
    return { name: 'nginx, with access log', port, pids: [child.pid ?? 0] };
  }
  /** The plainest proxy that node:http makes. */
  async nodeHttp(backendPort: number): Promise<Proxy> {
    const port = await freePort();
    const serve = join(import.meta.dirname, 'router-serve.ts');
    const child = this.#run(this.cpus.proxy, process.execPath, serve, 'node-http', `${port}:${backendPort}`);
    await listening(port);
    return { name: 'node:http in and out, no log', port, pids: [child.pid ?? 0] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#open.toReversed()) await one[Symbol.asyncDispose]();
    // The last started first: a router takes its leave of a message bus that is still there.
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  #run(cpu: string, command: string, ...args: string[]): ChildProcess {
    const env = { ...process.env, NODE_COMPILE_CACHE: join(this.folder, 'compile-cache') };
    const child = spawn('taskset', ['-c', cpu, command, ...args], { stdio: ['ignore', 'ignore', 'inherit'], env });
    this.#children.push(child);
    return child;
  }

  async #nginx(cpu: string, name: string, http: string): Promise<ChildProcess> {
    const { folder } = this;
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${folder}/${name}-${kind};`)
      .join(' ');
    const settings = `access_log off; sendfile on; tcp_nopush off; keepalive_timeout 600; ${temporary} ${http}`;
    await writeFile(
      join(folder, `${name}.conf`),
      `user root; daemon off; worker_processes 1; pid ${folder}/${name}.pid; error_log ${folder}/${name}.err crit; events { worker_connections 4096; } http { ${settings} }`,
    );
    return this.#run(cpu, 'nginx', '-c', join(folder, `${name}.conf`));
  }
}

function configOf(parts: {
  port: number;
  nats_url: string;
  status_port: number;
  log: string;
  processes: number;
}): object {
  return {
    host: '127.0.0.1',
    port: parts.port,
    reuse_port: parts.processes > 1,
    nats_servers: [parts.nats_url],
    start_response_delay_s: 0,
    status: { port: parts.status_port, ...STATUS_USER },
    logging: { access_log_file: parts.log },
    drain: { wait_s: 0, timeout_s: 1 },
  };
}

/** As a DEA registers its instances. */
export function registrationOf(port: number, n = 0): Record<string, unknown> & { host: string; uris: string[] } {
  const guid = (kind: string): string => `${String(n).padStart(8, '0')}-${kind}-4333-8444-555555555555`;
  return {
    dea: 'dea-guid',
    host: n === 0 ? '127.0.0.1' : `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`,
    port,
    uris: [n === 0 ? HOST : `app-${n}.apps.example.com`],
    app: guid('1111'),
    private_instance_id: guid('2222'),
    private_instance_index: '0',
    availability_zone: 'zone',
    tags: {
      component: `dea-${n % 100}`,
      app_id: guid('1111'),
      app_name: `app-${n}`,
      space_name: `space-${n % 1000}`,
      organization_name: `org-${n % 100}`,
      process_id: guid('1111'),
      process_type: 'web',
      process_instance_id: guid('2222'),
      instance_id: '0',
    },
  };
}

async function readMetric(statusPort: number, name: string): Promise<number> {
  const authorization = `Basic ${Buffer.from(`${STATUS_USER.user}:${STATUS_USER.password}`).toString('base64')}`;
  const text = await (await fetch(`http://127.0.0.1:${statusPort}/metrics`, { headers: { authorization } })).text();
  return [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
    (sum, one) => sum + Number(one[1]),
    0,
  );
}

/** taskset replaces itself by the command, so that the pid is the proxy's; nginx has its worker as a child. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '),
  );
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => family(Number(child)))];
}

export function cpuSeconds(pids: number[]): number {
  return pids.flatMap(family).reduce((sum, one) => {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
  }, 0);
}

export function residentMb(pids: number[]): number {
  return pids
    .flatMap(family)
    .reduce(
      (sum, one) => sum + Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${one}/status`, 'utf8'))?.[1] ?? 0) / 1024,
      0,
    );
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => (socket.destroy(), resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nothing listens on ${port}`);
}
