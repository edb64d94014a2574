import assert from 'node:assert/strict';
import { randomBytes, createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { DigestMismatch, download, DownloadFailed } from './download.ts';

const bytes = randomBytes(1_000_000);
const sha256 = createHash('sha256').update(bytes).digest('hex');

/** A server that breaks off after so many bytes of each answer, for as long as it is told to. */
async function serving(answer: (from: number, response: ServerResponse, calls: number) => void) {
  let calls = 0;
  const server = createServer((request, response) => {
    answer(Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0), response, ++calls);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    calls: () => calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const breakOff = (response: ServerResponse, from: number, count: number, status = from > 0 ? 206 : 200): void => {
  response.writeHead(status, { 'Content-Length': bytes.length - from });
  response.write(bytes.subarray(from, from + count), () => setTimeout(() => response.destroy(), 20));
};

describe('a download', () => {
  it('goes on where it broke off', async () => {
    await using server = await serving((from, response, calls) => {
      if (calls < 4) breakOff(response, from, 300_000);
      else response.writeHead(206).end(bytes.subarray(from));
    });
    const got = await download(server.url, { what: 'droplet', sha256 }, buffer);
    assert.ok(got.equals(bytes));
    assert.equal(server.calls(), 4);
  });

  it('fails when it breaks off again and again, or the server knows no ranges', async () => {
    await using hopeless = await serving((from, response) => breakOff(response, from, 10));
    await assert.rejects(download(hopeless.url, { what: 'droplet' }, buffer), /the droplet broke off/);
    await using simple = await serving((_from, response) => breakOff(response, 0, 10, 200));
    await assert.rejects(download(simple.url, { what: 'droplet' }, buffer), DownloadFailed);
    assert.equal(simple.calls(), 2);
  });

  it('is refused for other bytes than promised, and is not asked for again where it is not', async () => {
    await using server = await serving((_from, response) => response.end('other'));
    await assert.rejects(download(server.url, { what: 'droplet', sha256 }, buffer), DigestMismatch);
    await using absent = await serving((_from, response) => response.writeHead(403).end());
    await assert.rejects(download(absent.url, { what: 'droplet' }, buffer), { is_final: true });
    await using busy = await serving((_from, response) => response.writeHead(503).end());
    await assert.rejects(download(busy.url, { what: 'droplet' }, buffer), { is_final: false });
  });

  it('ends when it is called off', async () => {
    await using server = await serving((from, response) => void response.write(bytes.subarray(from, 10)));
    const quit = new AbortController();
    const waiting = download(server.url, { what: 'droplet', signal: quit.signal }, buffer);
    setTimeout(() => quit.abort(new Error('called off')), 50);
    await assert.rejects(waiting, /called off/);
  });
});
