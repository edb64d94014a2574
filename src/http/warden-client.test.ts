import { strict as assert } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { WardenClient, WardenError, WardenUnreachable } from './warden-client.ts';

/** A simulator of the daemon, which is another component: it speaks the contract. */
async function clientOf(t: TestContext, listener?: RequestListener): Promise<WardenClient> {
  const folder = await mkdtemp(join(tmpdir(), 'ingot-client-'));
  const client = new WardenClient({ socket_path: join(folder, 'sock') });
  t.after(async () => {
    client[Symbol.dispose]();
    await rm(folder, { recursive: true });
  });
  if (!listener) return client;
  const server = createServer(listener).listen(client.socket_path);
  await once(server, 'listening');
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return client;
}

test('a daemon that is not there is told apart from one that refuses', async (t) => {
  const away = await clientOf(t);
  await assert.rejects(away.ping(), WardenUnreachable);
  const refusing = await clientOf(t, (_request, response) => {
    response.writeHead(404).end(JSON.stringify({ error: { code: 'container_not_found', message: 'no container x' } }));
  });
  await assert.rejects(refusing.info('x'), (error) => {
    assert.ok(error instanceof WardenError);
    assert.deepEqual([error.code, error.message], ['container_not_found', 'no container x']);
    return true;
  });
});

test('a daemon that goes away in the middle of a call, or of a stream, is unreachable', async (t) => {
  const line = { name: 'stdout', data: 'aGk=', partial: false, timestamp_ns: '1', offset: 10 };
  const client = await clientOf(t, (request, response) => {
    if (request.url?.includes('/output')) {
      response.writeHead(200).write(`${JSON.stringify(line)}\n`, () => setTimeout(() => response.destroy(), 20));
    } else response.destroy();
  });
  await assert.rejects(client.link('x', 'y'), WardenUnreachable);
  const seen: unknown[] = [];
  const reading = async () => {
    for await (const item of client.stream('x', 'y')) seen.push(item);
  };
  await assert.rejects(reading(), WardenUnreachable);
  assert.deepEqual(seen, [line]);
});

test('a stream that ends without an exit status was cut off', async (t) => {
  const client = await clientOf(t, (_request, response) => void response.writeHead(200).end());
  await assert.rejects(async () => {
    for await (const _item of client.stream('x', 'y')) assert.fail('nothing was said');
  }, WardenUnreachable);
});

test('a wait is given up by its signal, with the reason of it', async (t) => {
  const client = await clientOf(t, () => {});
  const giving_up = new AbortController();
  const waiting = client.link('x', 'y', { signal: giving_up.signal });
  giving_up.abort(new Error('enough'));
  await assert.rejects(waiting, { message: 'enough' });
});

test('a reply that is not what the contract says is an internal error', async (t) => {
  const client = await clientOf(t, (_request, response) => void response.writeHead(200).end('{"handles":1}'));
  await assert.rejects(client.list(), (error) => error instanceof WardenError && error.code === 'internal');
});
