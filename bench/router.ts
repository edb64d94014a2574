/**
 * The router beside nginx, HAProxy and node:http: requests per CPU second of the proxy, p99 and resident memory, as a Markdown
 * table with ratios. The proxy has one core, load and backend the other; rounds are interleaved, since machines drift.
 *
 *   node bench/router.ts [--rounds 5] [--seconds 4] [--connections 64] [--body 1k|64k|10m] [--only ours,haproxy,nginx,node]
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createServer, Agent, request as httpRequest } from 'node:http';
import { Bus } from '#bus/bus.ts';
import { routerRegister } from '#contracts/router.ts';
import { systemClock } from '#kernel/clock.ts';
import { parseConfig } from '#kernel/config.ts';
import { createLog, silentLog } from '#kernel/log.ts';
import { RouterConfig } from '#router/config.ts';
import { start } from '#router/main.ts';
import { freePort } from '#testing/free-port.ts';

const PROXY_CPU = '0';
const LOAD_CPU = '1';
const HOST = 'bench.test';
const TICKS_PER_S = 100;
const BODY_BYTES: Record<string, number> = { '1k': 1024, '64k': 65_536, '10m': 10_485_760 };

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '64' },
    body: { type: 'string', default: '1k' },
    only: { type: 'string', default: 'ours,haproxy,nginx,node' },
    serve: { type: 'string' },
    'serve-node': { type: 'string' },
    'cpu-prof': { type: 'string' },
  },
});

interface Proxy {
  name: string;
  port: number;
  pid: number;
}

interface Sample {
  perCpuSecond: number;
  p99_ms: number;
  resident_mb: number;
  perSecond: number;
}

if (values.serve !== undefined) await serveOurs(values.serve);
else if (values['serve-node'] !== undefined) serveNode(values['serve-node']);
else await bench();

async function serveOurs(path: string): Promise<void> {
  const config = parseConfig(RouterConfig, readFileSync(path, 'utf8'), path);
  const running = await start(config, { log: createLog({ component: 'router', level: 'error' }), clock: systemClock });
  process.once('SIGTERM', () => void running[Symbol.asyncDispose]().then(() => process.exit(0)));
}

/** The plainest proxy that node:http makes. */
function serveNode(ports: string): void {
  const [port, backendPort] = ports.split(':').map(Number);
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  createServer((incoming, outgoing) => {
    const onward = httpRequest(
      {
        agent,
        host: '127.0.0.1',
        port: backendPort,
        path: incoming.url,
        method: incoming.method,
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  }).listen(port, '127.0.0.1');
}

async function bench(): Promise<void> {
  for (const program of ['nginx', 'haproxy', 'wrk', 'nats-server', 'taskset']) {
    if (spawnSync('which', [program]).status !== 0)
      throw new Error(`${program} is missing: apt-get install nginx-light haproxy wrk nats-server util-linux`);
  }
  const folder = await mkdtemp(join(tmpdir(), 'ingot-bench-'));
  const children: ChildProcess[] = [];
  const run = (cpu: string, command: string, ...args: string[]): ChildProcess => {
    const child = spawn('taskset', ['-c', cpu, command, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
    children.push(child);
    return child;
  };
  const open: AsyncDisposable[] = [];
  try {
    const bodyBytes = BODY_BYTES[values.body] ?? 1024;
    const backendPort = await startBackend(folder, bodyBytes, run);
    const wanted = values.only.split(',');
    const proxies: Proxy[] = [];
    if (wanted.includes('ours')) proxies.push(await startOurs({ folder, backendPort, run, open }));
    if (wanted.includes('haproxy')) proxies.push(await startHaproxy(folder, backendPort, run));
    if (wanted.includes('nginx')) proxies.push(await startNginx(folder, backendPort, run));
    if (wanted.includes('node')) proxies.push(await startNode(backendPort, run));
    const samples = new Map<string, Sample[]>(proxies.map((proxy) => [proxy.name, []]));
    for (const proxy of proxies) measure(proxy, 1);
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const proxy of proxies) samples.get(proxy.name)?.push(measure(proxy, Number(values.seconds)));
    }
    print(samples);
  } finally {
    for (const one of open.toReversed()) await one[Symbol.asyncDispose]();
    const gone = children.map(
      async (child) =>
        await new Promise((resolve) =>
          child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(undefined),
        ),
    );
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(gone);
    await rm(folder, { recursive: true, force: true });
  }
}

type Run = (cpu: string, command: string, ...args: string[]) => ChildProcess;

async function startBackend(folder: string, bodyBytes: number, run: Run): Promise<number> {
  const port = await freePort();
  await mkdir(join(folder, 'www'));
  await writeFile(join(folder, 'www', 'index.html'), 'x'.repeat(bodyBytes));
  const server = `server { listen 127.0.0.1:${port} backlog=4096; root ${folder}/www; }`;
  await writeFile(
    join(folder, 'backend.conf'),
    nginxConf(folder, 'backend', `open_file_cache max=10; keepalive_requests 100000000; ${server}`),
  );
  run(LOAD_CPU, 'nginx', '-c', join(folder, 'backend.conf'));
  await listening(port);
  return port;
}

function nginxConf(folder: string, name: string, http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${name}-${kind};`)
    .join(' ');
  return `user root; daemon off; worker_processes 1; pid ${folder}/${name}.pid; error_log ${folder}/${name}.err crit; events { worker_connections 4096; } http { access_log off; sendfile on; tcp_nopush off; keepalive_timeout 600; ${temporary} ${http} }`;
}

async function startOurs(parts: {
  folder: string;
  backendPort: number;
  run: Run;
  open: AsyncDisposable[];
}): Promise<Proxy> {
  const { folder, backendPort, run, open } = parts;
  const natsPort = await freePort();
  run(LOAD_CPU, 'nats-server', '-a', '127.0.0.1', '-p', String(natsPort), '-l', join(folder, 'nats.log'));
  await listening(natsPort);
  const port = await freePort();
  const config = {
    host: '127.0.0.1',
    port,
    nats_servers: [`nats://127.0.0.1:${natsPort}`],
    start_response_delay_s: 0,
    status: { port: 0, user: 'bench', password: 'bench' },
    logging: { access_log_file: join(folder, 'ours.log') },
    drain: { wait_s: 0, timeout_s: 1 },
  };
  await writeFile(join(folder, 'router.yml'), JSON.stringify(config));
  const profile = values['cpu-prof'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values['cpu-prof']}`];
  const child = run(
    PROXY_CPU,
    process.execPath,
    ...profile,
    import.meta.filename,
    '--serve',
    join(folder, 'router.yml'),
  );
  await listening(port);
  const bus = await Bus.connect({ servers: [`nats://127.0.0.1:${natsPort}`], name: 'bench', log: silentLog });
  open.push(bus);
  const register = (): void =>
    void bus.publish(routerRegister, {
      host: '127.0.0.1',
      port: backendPort,
      uris: [HOST],
      app: '7b1e8f2c-5d6a-4f0e-9a3b-1c2d3e4f5a6b',
      private_instance_id: 'c0ffee00-1111-2222-3333-444455556666',
      private_instance_index: '0',
    });
  register();
  const timer = setInterval(register, 20_000);
  open.push({ [Symbol.asyncDispose]: async () => clearInterval(timer) });
  await bus.flush();
  return { name: 'ours, with access log and RTR lines', port, pid: child.pid ?? 0 };
}

async function startHaproxy(folder: string, backendPort: number, run: Run): Promise<Proxy> {
  const port = await freePort();
  const logPort = 1 + (await freePort());
  await writeFile(
    join(folder, 'haproxy.cfg'),
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
  const child = run(PROXY_CPU, 'haproxy', '-db', '-q', '-f', join(folder, 'haproxy.cfg'));
  await listening(port);
  return { name: 'HAProxy, with log', port, pid: child.pid ?? 0 };
}

async function startNginx(folder: string, backendPort: number, run: Run): Promise<Proxy> {
  const port = await freePort();
  const http = `upstream b { server 127.0.0.1:${backendPort}; keepalive 128; keepalive_requests 100000000; }
    log_format long '$host - [$time_iso8601] "$request" $status $request_length $body_bytes_sent "$http_referer" "$http_user_agent" "$remote_addr:$remote_port" "$upstream_addr" vcap_request_id:"$request_id" response_time:$request_time';
    server { listen 127.0.0.1:${port} backlog=4096; keepalive_requests 100000000; access_log ${folder}/nginx.log long buffer=64k flush=1s; client_max_body_size 0;
      location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Vcap-Request-Id $request_id; } }`;
  await writeFile(join(folder, 'nginx.conf'), nginxConf(folder, 'proxy', http));
  const child = run(PROXY_CPU, 'nginx', '-c', join(folder, 'nginx.conf'));
  await listening(port);
  return { name: 'nginx, with access log', port, pid: child.pid ?? 0 };
}

async function startNode(backendPort: number, run: Run): Promise<Proxy> {
  const port = await freePort();
  const child = run(PROXY_CPU, process.execPath, import.meta.filename, '--serve-node', `${port}:${backendPort}`);
  await listening(port);
  return { name: 'node:http in and out, no log', port, pid: child.pid ?? 0 };
}

function measure(proxy: Proxy, seconds: number): Sample {
  const before_s = cpuSeconds(proxy.pid);
  const { stdout } = spawnSync(
    'taskset',
    [
      '-c',
      LOAD_CPU,
      'wrk',
      '-t1',
      `-c${values.connections}`,
      `-d${seconds}s`,
      '--latency',
      '-H',
      `Host: ${HOST}`,
      `http://127.0.0.1:${proxy.port}/`,
    ],
    { encoding: 'utf8' },
  );
  const spent_s = cpuSeconds(proxy.pid) - before_s;
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (/Non-2xx|Socket errors/.test(stdout))
    process.stderr.write(`${proxy.name}: ${/.*(Non-2xx|Socket errors).*/.exec(stdout)?.[0]}\n`);
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout);
  const scale = p99?.[2] === 'us' ? 0.001 : p99?.[2] === 's' ? 1000 : 1;
  return {
    perCpuSecond: requests / spent_s,
    p99_ms: Number(p99?.[1] ?? 0) * scale,
    resident_mb: residentMb(proxy.pid),
    perSecond: requests / seconds,
  };
}

/** taskset replaces itself by the command, so that the pid is the proxy's; nginx has its worker as a child. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '),
  );
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => family(Number(child)))];
}

function cpuSeconds(pid: number): number {
  return family(pid).reduce((sum, one) => {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
  }, 0);
}

function residentMb(pid: number): number {
  return family(pid).reduce(
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

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function print(samples: Map<string, Sample[]>): void {
  const base = [...samples].find(([name]) => name.startsWith('HAProxy'))?.[1];
  console.log(
    `${values.connections} keep-alive connections, ${values.body} body, ${values.rounds} rounds of ${values.seconds} s\n`,
  );
  console.log('| proxy | req / CPU s [min–max] | of HAProxy | p99 ms | resident MB | req / s |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const [name, all] of samples) {
    const rates = all.map((sample) => sample.perCpuSecond);
    // Pairs of one round met the same weather.
    const ratio =
      base === undefined
        ? ''
        : median(all.map((sample, round) => sample.perCpuSecond / (base[round]?.perCpuSecond ?? 1))).toFixed(2);
    const figures = [median(rates), Math.min(...rates), Math.max(...rates)].map((rate) =>
      Math.round(rate).toLocaleString('en'),
    );
    console.log(
      `| ${name} | ${figures[0]} [${figures[1]}–${figures[2]}] | ${ratio} | ${median(all.map((s) => s.p99_ms)).toFixed(2)} | ${Math.round(median(all.map((s) => s.resident_mb)))} | ${Math.round(median(all.map((s) => s.perSecond))).toLocaleString('en')} |`,
    );
  }
}
