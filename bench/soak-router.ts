/**
 * Mixed abuse (slow heads, aborted uploads, half-closed peers, floods, upgrades, HTTP/2) against a router in a process of its own: resident size and open files must not grow. Prints a line an interval and
 * fails when the second half of the run is above the first by more than a tenth, or sockets stay behind.
 *
 *   node bench/soak-router.ts [--seconds 60]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bus } from '#bus/bus.ts';
import { routerRegister } from '#contracts/router.ts';
import { silentLog } from '#kernel/log.ts';
import { nodeFlags } from '#platform/node-flags.ts';
import { freePort } from '#testing/free-port.ts';
import { TestNats } from '#testing/nats.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } });
const H = 'Host: soak.test\r\n';
const PARALLEL = 24;
const { NGHTTP2_CANCEL } = constants;

const GOOD = `GET / HTTP/1.1\r\n${H}\r\n`;
/** A head that comes a byte at a time, for as long as it may. */
const TRICKLE = `GET / HTTP/1.1\r\n${H}X-Slow: ${'z'.repeat(500)}`;
const TRICKLE_INTERVAL_MS = 100;
const SLOW_CLIENTS = 50;
const HTTP2_CLIENTS = 3;

/** What a client says, and whether it leaves by a reset, by an end, or when the router ends. */
const ABUSES: [text: () => string, leave: 'reset' | 'end' | 'wait'][] = [
  [() => GOOD.repeat(20), 'end'],
  [() => `${GOOD}GET / HTTP/1.1\r\nHo`, 'reset'],
  [() => 'GET / HT', 'wait'],
  [() => `POST / HTTP/1.1\r\n${H}Content-Length: 100000\r\n\r\n${'x'.repeat(5000)}`, 'reset'],
  [() => `POST / HTTP/1.1\r\n${H}Content-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`, 'end'],
  [() => `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n${'5\r\nhello\r\n'.repeat(500)}zz\r\n`, 'wait'],
  [() => `GET / HTTP/1.1\r\n${H}${`X-${Math.random()}: ${'y'.repeat(200)}\r\n`.repeat(300)}`, 'reset'],
  [() => `GET / HTTP/1.1\r\n${H}X: ${'z'.repeat(80_000)}`, 'wait'],
  [() => `GET /ws HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n${'frame'.repeat(1000)}`, 'reset'],
  [() => `GET /ws HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`, 'end'],
  [() => `GET /die HTTP/1.1\r\n${H}\r\n`, 'wait'],
  [() => `GET /big HTTP/1.1\r\n${H}\r\n`, 'reset'],
  [() => `GET / HTTP/1.1\r\nHost: ${Math.random()}.test\r\n\r\n`.repeat(30), 'end'],
  // A connection and nothing else, and a TLS greeting to the wrong door.
  [() => '', 'reset'],
  [() => '', 'end'],
  [() => '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 'wait'],
  // Its side ended: before the answer, in the midst of a head, of a body, of a tunnel.
  [() => GOOD, 'end'],
  [() => 'GET / HTTP/1.1\r\nHo', 'end'],
  [() => `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nff\r\nhalf`, 'end'],
  [() => `GET /half HTTP/1.1\r\n${H}\r\n`, 'wait'],
  [() => String.fromCharCode(...Array.from({ length: 300 }, () => Math.floor(Math.random() * 256))), 'wait'],
];

const folder = await mkdtemp(join(tmpdir(), 'ingot-soak-'));
await using nats = await TestNats.start();
const backend = createServer({ allowHalfOpen: true }, serveBackend).listen(0, '127.0.0.1');
await once(backend, 'listening');
const port = await freePort();
const tlsPort = await freePort();
const statusPort = await freePort();
const [cert_file, key_file] = [join(folder, 'soak.crt'), join(folder, 'soak.key')];
execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    '/CN=soak.test',
    '-keyout',
    key_file,
    '-out',
    cert_file,
  ],
  { stdio: 'ignore' },
);
const config = {
  host: '127.0.0.1',
  port,
  nats_servers: [nats.url],
  tls: { port: tlsPort, certificates: [{ cert_file, key_file }] },
  start_response_delay_s: 0,
  status: { port: statusPort, user: 'a', password: 'b' },
  timeouts: { request_head_s: 1, request_body_idle_s: 1, linger_s: 1 },
  limits: { request_head_bytes: 65_536 },
  logging: { access_log_file: '/dev/null' },
  drain: { wait_s: 0, timeout_s: 1 },
};
await writeFile(join(folder, 'router.yml'), JSON.stringify(config));
const router = spawn(
  process.execPath,
  [...nodeFlags('router'), join(import.meta.dirname, 'router-serve.ts'), 'router', join(folder, 'router.yml')],
  { stdio: 'inherit' },
);
try {
  const bus = await Bus.connect({ servers: [nats.url], name: 'soak', log: silentLog });
  const register = (): void =>
    void bus.publish(routerRegister, {
      host: '127.0.0.1',
      port: (backend.address() as AddressInfo).port,
      uris: ['soak.test'],
      app: 'soak',
    });
  while (!(await isUp())) await sleep(50);
  register();
  const repeat = setInterval(register, 5000);
  await soak(router.pid ?? 0);
  clearInterval(repeat);
  await bus[Symbol.asyncDispose]();
} finally {
  router.kill('SIGTERM');
  await once(router, 'exit');
  backend.close();
  await rm(folder, { recursive: true, force: true });
}

async function soak(pid: number): Promise<void> {
  const seconds = Number(values.seconds);
  const end_ms = performance.now() + seconds * 1000;
  const sizes: number[] = [];
  let count = 0;
  const watch = setInterval(
    () => {
      sizes.push(residentMb(pid));
      void heapMb().then((heap) => {
        console.log(
          `${count} abuses, ${sizes.at(-1)?.toFixed(0)} MB (heap ${heap.toFixed(0)}), ${files(pid)} open files`,
        );
      });
    },
    (seconds * 1000) / 12,
  );
  const abusers = Array.from({ length: PARALLEL }, async () => {
    while (performance.now() < end_ms) {
      const [text, leave] = ABUSES[count++ % ABUSES.length] ?? [() => GOOD, 'end'];
      await abuse(text(), leave);
    }
  });
  const slow = Array.from({ length: SLOW_CLIENTS }, async () => {
    while (performance.now() < end_ms) await trickle();
  });
  const over = new AbortController();
  const http2 = Array.from({ length: HTTP2_CLIENTS }, async () => {
    while (!over.signal.aborted) await abuseHttp2();
  });
  await Promise.all(abusers);
  over.abort();
  await Promise.all([...slow, ...http2]);
  clearInterval(watch);
  await sleep(4000);
  const half = Math.floor(sizes.length / 2);
  // The first sixth is the warming up.
  const early = Math.max(...sizes.slice(2, half));
  const late = Math.max(...sizes.slice(half));
  console.log(
    `${count} abuses in ${seconds} s; largest ${early.toFixed(0)} MB in the first half, ${late.toFixed(0)} MB in the second; ${files(pid)} files left open`,
  );
  const isAlive = await isUp();
  if (!isAlive || late > early * 1.1 || files(pid) > 150) process.exitCode = 1;
}

async function abuse(text: string, leave: 'reset' | 'end' | 'wait'): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  socket.resume();
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(text, 'latin1');
  if (leave === 'end') socket.end();
  if (leave === 'reset') setTimeout(() => socket.resetAndDestroy(), Math.random() * 40);
  const limit = setTimeout(() => socket.destroy(), 3000);
  await closed;
  clearTimeout(limit);
}

async function trickle(): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  socket.resume();
  let said = 0;
  const timer = setInterval(() => socket.write(TRICKLE[said++ % TRICKLE.length] ?? ''), TRICKLE_INTERVAL_MS);
  await once(socket, 'close');
  clearInterval(timer);
}

/** A session with good streams, streams reset as soon as they are open, half-sent bodies, and a sudden end. */
async function abuseHttp2(): Promise<void> {
  const session = connectHttp2(`https://127.0.0.1:${tlsPort}`, { rejectUnauthorized: false });
  session.on('error', () => undefined);
  const streams = Array.from({ length: 40 }, async (_, n) => {
    const fields = {
      ':authority': 'soak.test',
      ':path': n % 5 === 0 ? '/big' : '/',
      ':method': n % 3 === 0 ? 'POST' : 'GET',
    };
    const stream = session.request(fields, { endStream: false });
    stream.on('error', () => undefined);
    stream.resume();
    if (n % 3 === 0) stream.write('x'.repeat(20_000));
    if (n % 2 === 0) stream.end();
    else setTimeout(() => stream.close(NGHTTP2_CANCEL), n);
    await once(stream, 'close');
  });
  await Promise.race([Promise.allSettled(streams), sleep(2000)]);
  session.destroy();
  await Promise.allSettled(streams);
}

function serveBackend(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.on('data', (bytes) => {
    // The end of a body that was answered early may stand before the next request.
    const path = /(?:GET|POST) (\/\S*) HTTP/.exec(bytes.toString('latin1'))?.[1];
    if (path === '/die') socket.destroy();
    else if (path === '/half') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
    else if (path === '/big')
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n${'b'.repeat(3_000_000)}`);
    else if (path === '/ws')
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
    else if (path !== undefined) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
}

async function isUp(): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return await new Promise((resolve) => {
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** What V8 holds, garbage included. */
async function heapMb(): Promise<number> {
  const authorization = `Basic ${Buffer.from('a:b').toString('base64')}`;
  const text = await (await fetch(`http://127.0.0.1:${statusPort}/metrics`, { headers: { authorization } })).text();
  return Number(/^nodejs_heap_size_used_bytes (\S+)$/m.exec(text)?.[1] ?? 0) / 1048576;
}

function files(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
