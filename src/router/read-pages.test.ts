import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { intoPages, ReadPages } from './read-pages.ts';
import { TestRouter } from './testing.ts';

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('reading into pages', () => {
  it('is what this Node can do, and puts a long body into a few of them', async () => {
    const memory = new Set<ArrayBufferLike>();
    let read_bytes = 0;
    let socket: Socket | undefined;
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (accepted) => {
      const pages = new ReadPages();
      pages.expectLong(true);
      socket = intoPages(accepted, pages, (bytes) => {
        memory.add(bytes.buffer);
        read_bytes += bytes.length;
        // As if it were passed on, and the system took it at once.
        pages.passOn((_bytes, onSent) => process.nextTick(() => onSent?.()), bytes);
      });
      socket?.on('end', () => socket?.end());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.end(Buffer.alloc(20_000_000));
    client.resume();
    await once(client, 'close');
    server.close();
    // The server counted the connection it gave away, and has forgotten it.
    await once(server, 'close');
    assert.notEqual(socket, undefined);
    assert.equal(read_bytes, 20_000_000);
    assert.ok(memory.size <= 8, `${memory.size} pieces of memory`);
  });

  it('overwrites nothing that a slow backend has not taken yet', async () => {
    await using router = await TestRouter.start();
    const heard = new Map<string, string>();
    const server = createServer((socket) => {
      const pieces: Buffer[] = [];
      socket.on('data', (bytes: Buffer) => {
        pieces.push(bytes);
        socket.pause();
        setImmediate(() => socket.resume());
        const all = Buffer.concat(pieces);
        const bodyAt = all.indexOf('\r\n\r\n') + 4;
        const name = /^POST \/(\S+)/.exec(all.toString('latin1', 0, 60))?.[1] ?? '';
        if (all.length - bodyAt < SIZE) return;
        heard.set(name, sha(all.subarray(bodyAt)));
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await router.register({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, uris: ['slow.test'] });
    const SIZE = 3_000_000;
    await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (name) => {
        const body = randomBytes(SIZE);
        const client = connect(router.port, '127.0.0.1');
        client.write(
          `POST /${name} HTTP/1.1\r\nHost: slow.test\r\nConnection: close\r\nContent-Length: ${SIZE}\r\n\r\n`,
        );
        client.write(body);
        client.resume();
        await once(client, 'close');
        assert.equal(heard.get(name), sha(body), name);
      }),
    );
    server.close();
  });
});
