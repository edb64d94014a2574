/** Signals to a router in a process of its own, as `ingot run` starts it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Bus } from '#bus/bus.ts';
import { routerRegister } from '#contracts/router.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { TestNats } from '#testing/nats.ts';
import { RawBackend, RawClient, STATUS_USER, talk } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: signal.test\r\n${more}\r\n`;

describe('a router that is sent a signal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-router-signal-'));
  const access_log_file = join(folder, 'access.log');
  let nats: TestNats;
  let bus: Bus;
  let backend: RawBackend;
  let router: ChildProcess;
  let port: number;
  let statusPort: number;
  let answer: (() => void) | undefined;
  before(async () => {
    nats = await TestNats.start();
    bus = await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog });
    backend = await RawBackend.start((socket, _soFar, newest) => {
      if (newest.startsWith('GET /slow')) answer = () => void socket.write(OK);
      else socket.write(OK);
    });
    [port, statusPort] = [await freePort(), await freePort()];
    const config = {
      host: '127.0.0.1',
      port,
      nats_servers: [nats.url],
      status: { port: statusPort, ...STATUS_USER },
      start_response_delay_s: 0,
      logging: { access_log_file, flush_interval_ms: 10 },
      timeouts: { linger_s: 0.3 },
      drain: { wait_s: 1, timeout_s: 20 },
    };
    writeFileSync(join(folder, 'router.yml'), JSON.stringify(config));
    const ingot = join(import.meta.dirname, '../../bin/ingot');
    router = spawn(ingot, ['run', 'router', '--config', folder], { stdio: 'ignore' });
    await eventually('the route', async () => {
      bus.publish(routerRegister, { host: '127.0.0.1', port: backend.port, uris: ['signal.test'] });
      return (await talk(port, get('/', 'Connection: close\r\n'))).startsWith('HTTP/1.1 200');
    });
  });
  after(async () => {
    if (router.exitCode === null && router.signalCode === null) router.kill('SIGKILL');
    await bus[Symbol.asyncDispose]();
    await backend[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  it('opens its access log anew on HUP, and no line is lost', async () => {
    using client = new RawClient(port);
    const rotated = join(folder, 'access.log.1');
    const lines = (): string => [rotated, access_log_file].map((file) => readFileSync(file, 'utf8')).join('');
    for (let n = 0; n < 40; n++) {
      client.say(get(`/line-${n}.`));
      await eventually('the answer', () => client.heard.split('\r\n\r\nok').length === n + 2);
      if (n === 20) {
        renameSync(access_log_file, rotated);
        router.kill('SIGHUP');
        await eventually('a new file', () => existsSync(access_log_file));
      }
    }
    await eventually('all lines', () =>
      Array.from({ length: 40 }, (_, n) => `/line-${n}.`).every((path) => lines().includes(path)),
    );
    assert.ok(readFileSync(access_log_file, 'utf8').includes('/line-39.'));
  });

  it('drains on USR1: fails its health check, serves on, finishes what is under way, and ends', async () => {
    using busy = new RawClient(port);
    busy.say(get('/slow'));
    await eventually('the request under way', () => answer);
    const ended = once(router, 'exit');
    router.kill('SIGUSR1');
    const health = async (): Promise<number> => (await fetch(`http://127.0.0.1:${statusPort}/health`)).status;
    await eventually('a failing health check', async () => (await health()) === 503);
    assert.match(await talk(port, get('/', 'Connection: close\r\n')), /^HTTP\/1\.1 200 /);
    await eventually('no new connections', async () => (await talk(port, get('/'))) === '');
    answer?.();
    assert.match(await busy.ends(), /\r\nConnection: close\r\n[^]*ok$/);
    assert.deepEqual(await ended, [0, null]);
  });
});
