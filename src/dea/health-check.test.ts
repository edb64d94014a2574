import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTcp, type AddressInfo, type Server } from 'node:net';
import { describe, it } from 'node:test';
import { systemClock } from '#kernel/clock.ts';
import { freePort } from '#testing/free-port.ts';
import { probe, untilHealthy } from './health-check.ts';

async function listening(server: Server): Promise<{ port: number } & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => await new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

describe('a health check', () => {
  it('by port succeeds once something accepts', async () => {
    await using open = await listening(createTcp((socket) => socket.destroy()));
    assert.deepEqual(await probe({ type: 'port' }, { host: '127.0.0.1', port: open.port }), { ok: true });
    const refused = await probe({ type: 'port' }, { host: '127.0.0.1', port: await freePort() });
    assert.match(refused.ok ? '' : refused.why, /Failed to make TCP connection to 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  it('by HTTP wants 200 from the path, within its time', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/hang') return;
      response.writeHead(request.url === '/health' ? 200 : 500).end();
    });
    await using open = await listening(server);
    const endpoint = { host: '127.0.0.1', port: open.port };
    assert.deepEqual(await probe({ type: 'http', endpoint: '/health' }, endpoint), { ok: true });
    const failing = await probe({ type: 'http', endpoint: '/' }, endpoint);
    assert.match(failing.ok ? '' : failing.why, /received status code 500/);
    const hanging = await probe({ type: 'http', endpoint: '/hang', invocation_timeout_s: 0.2 }, endpoint);
    assert.match(hanging.ok ? '' : hanging.why, /timed out|aborted/);
    server.closeAllConnections();
  });

  it('by process, or of what has no port, has nothing to ask', async () => {
    assert.deepEqual(await probe({ type: 'process' }, { host: '127.0.0.1', port: 1 }), { ok: true });
    assert.deepEqual(await probe({ type: 'port' }, undefined), { ok: true });
  });

  it('waits for what listens late, gives up after its time, and ends when it is called off', async () => {
    const port = await freePort();
    const endpoint = { host: '127.0.0.1', port };
    const options = { clock: systemClock, timeout_s: 30, signal: new AbortController().signal };
    const waiting = untilHealthy({ type: 'port' }, endpoint, options);
    const server = createTcp((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    assert.deepEqual(await waiting, { ok: true });
    await new Promise((resolve) => server.close(resolve));
    assert.equal((await untilHealthy({ type: 'port' }, endpoint, { ...options, timeout_s: 0.1 })).ok, false);
    const signal = AbortSignal.abort(new Error('called off'));
    await assert.rejects(untilHealthy({ type: 'port' }, endpoint, { ...options, signal }), /called off/);
  });
});
