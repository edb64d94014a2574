import assert from 'node:assert/strict';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import type { DrainTarget } from './drain-list.ts';
import { certificate, drainsOf, target } from './drains-testing.ts';
import { line, TestLoggregator } from './testing.ts';

/** A receiver of counted octets on a socket. */
class Receiver implements AsyncDisposable {
  readonly messages: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly #server: Server;
  connections = 0;
  isReading = true;

  constructor(server: Server) {
    this.#server = server;
    server.on(
      server instanceof Object && 'setSecureContext' in server ? 'secureConnection' : 'connection',
      (socket: Socket) => {
        this.connections += 1;
        this.sockets.add(socket);
        socket.once('close', () => this.sockets.delete(socket));
        socket.on('error', () => {});
        if (!this.isReading) return void socket.pause();
        let rest: Buffer = Buffer.alloc(0);
        return void socket.on('data', (bytes: Buffer) => (rest = this.#take(Buffer.concat([rest, bytes]))));
      },
    );
  }

  async listen(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  get texts(): string[] {
    return this.messages.map((message) => message.replace(/^.*\] /, '').trimEnd());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(bytes: Buffer): Buffer {
    let rest = bytes;
    for (;;) {
      const count = /^(\d+) /.exec(rest.toString('latin1', 0, 12));
      const start = count?.[0].length ?? 0;
      const end = start + Number(count?.[1] ?? Infinity);
      if (!count || rest.length < end) return rest;
      this.messages.push(rest.toString('utf8', start, end));
      rest = rest.subarray(end);
    }
  }
}

describe('syslog drains', () => {
  it('send an app’s lines, and nobody else’s, in order and octets counted', async () => {
    await using receiver = new Receiver(createServer());
    await using test = await drainsOf([target(`syslog://127.0.0.1:${await receiver.listen()}`)]);
    for (let n = 0; n < 500; n++) {
      test.drains.deliver('app', [line(n, `line ${n} é`)]);
      test.drains.deliver('another', [line(n, 'not mine')]);
    }
    await eventually('all', () => receiver.messages.length === 500);
    assert.deepEqual(
      receiver.texts,
      Array.from({ length: 500 }, (_, n) => `line ${n} é`),
    );
    assert.match(receiver.messages[0] ?? '', /^<14>1 \S+ org\.space\.app app \[APP\/PROC\/WEB\/0\] - \[tags@47450 /);
    assert.equal(receiver.connections, 1);
  });

  it('connect again when the receiver went away, and send what was not handed over', async () => {
    const port = await freePort();
    await using test = await drainsOf([target(`syslog://127.0.0.1:${port}`)]);
    test.drains.deliver('app', [line(1, 'before there is anybody')]);
    {
      await using receiver = new Receiver(createServer());
      await receiver.listen(port);
      await eventually('the first', () => receiver.texts.includes('before there is anybody'));
    }
    await using receiver = new Receiver(createServer());
    await receiver.listen(port);
    // The first write after a receiver died can be lost in the network; what comes next cannot.
    await eventually('lines again', () => {
      test.drains.deliver('app', [line(2, 'after')]);
      return receiver.texts.includes('after');
    });
  });

  it('drop what a receiver that does not read has no room for, and tell of it once it is counted', async () => {
    await using stuck = new Receiver(createServer());
    stuck.isReading = false;
    await using quick = new Receiver(createServer());
    const targets = [
      target(`syslog://127.0.0.1:${await stuck.listen()}`),
      target(`syslog://127.0.0.1:${await quick.listen()}`, { app_id: 'neighbour' }),
    ];
    await using test = await drainsOf(targets, { buffer_bytes: 100_000, timeout_ms: 60_000 });
    const text = 'x'.repeat(10_000);
    for (let n = 0; n < 3_000; n++) {
      test.drains.deliver('app', [line(n, text)]);
      if (n % 100 === 0) {
        test.drains.deliver('neighbour', [line(n, `line ${n}`)]);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await eventually('the neighbour has all', () => quick.messages.length === 30);
    await eventually('told', () => test.losses.length > 0);
    assert.match(test.losses[0] ?? '', /^app \d+ its syslog drain 127\.0\.0\.1:\d+ did not take them: it is too slow$/);
    stuck.sockets.forEach((socket) => socket.destroy());
  });

  it('reach a receiver by TLS, and only one whose certificate is trusted', async () => {
    const { cert, key } = await certificate();
    await using receiver = new Receiver(createTlsServer({ cert, key }));
    const port = await receiver.listen();
    const url = `syslog-tls://localhost:${port}`;
    await using test = await drainsOf([target(url, { ca: cert }), target(url, { app_id: 'trusting nobody' })]);
    test.drains.deliver('trusting nobody', [line(1, 'secret')]);
    test.drains.deliver('app', [line(1, 'hello')]);
    await eventually('the line', () => receiver.messages.length > 0);
    assert.deepEqual(receiver.texts, ['hello']);
  });

  it('show a client certificate where the service has one', async () => {
    const { cert, key } = await certificate();
    await using receiver = new Receiver(
      createTlsServer({ cert, key, ca: cert, requestCert: true, rejectUnauthorized: true }),
    );
    const url = `syslog-tls://localhost:${await receiver.listen()}`;
    await using test = await drainsOf([target(url, { ca: cert, cert, key })]);
    test.drains.deliver('app', [line(1, 'hello')]);
    await eventually('the line', () => receiver.texts.includes('hello'));
  });

  it('post to an https drain whose certificate is trusted, and post again what it refused', async () => {
    const bodies: string[] = [];
    let isRefusing = true;
    const { cert, key } = await certificate();
    const server = createHttpsServer({ cert, key }, (request, response) => {
      let body = '';
      request.on('data', (bytes: Buffer) => (body += bytes.toString()));
      request.on('end', () => {
        if (!isRefusing) bodies.push(`${request.method} ${request.url} ${request.headers['content-type']} ${body}`);
        response.writeHead(isRefusing ? 503 : 200).end();
        isRefusing = false;
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const url = `https://localhost:${port}/drain?drain-type=logs`;
      await using test = await drainsOf([target(url, { ca: cert }), target(url, { app_id: 'trusting nobody' })]);
      test.drains.deliver('trusting nobody', [line(1, 'secret')]);
      for (const text of ['one', 'two', 'three']) test.drains.deliver('app', [line(1, text)]);
      await eventually('all', () => bodies.length === 3);
      assert.match(bodies[0] ?? '', /^POST \/drain\?drain-type=logs text\/plain <14>1 .* one\n$/s);
      assert.deepEqual(
        bodies.map((body) => body.trimEnd().split(' ').at(-1)),
        ['one', 'two', 'three'],
      );
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('are given up soon when they are no more wanted and still do not read', async () => {
    await using stuck = new Receiver(createServer());
    stuck.isReading = false;
    const targets = [target(`syslog://127.0.0.1:${await stuck.listen()}`)];
    await using test = await drainsOf(targets, { buffer_bytes: 50_000_000, timeout_ms: 1_000_000 });
    for (let n = 0; n < 2_000; n++) test.drains.deliver('app', [line(n, 'x'.repeat(10_000))]);
    await eventually('connected', () => stuck.connections === 1);
  });

  it('come and go with the list, and stay while it cannot be read', async () => {
    await using receiver = new Receiver(createServer());
    const port = await receiver.listen();
    let isAway = false;
    const targets: DrainTarget[] = [];
    await using test = await drainsOf(targets, {
      fetch: async () => {
        if (isAway) throw new Error('away');
        return targets;
      },
    });
    test.drains.deliver('app', [line(1, 'too early')]);
    targets.push(target(`syslog://127.0.0.1:${port}`));
    await test.drains.poll();
    isAway = true;
    await test.drains.poll();
    test.drains.deliver('app', [line(2, 'in time')]);
    await eventually('the line', () => receiver.messages.length === 1);
    isAway = false;
    targets.length = 0;
    await test.drains.poll();
    await eventually('the connection closed', () => receiver.sockets.size === 0);
    test.drains.deliver('app', [line(3, 'too late')]);
    assert.deepEqual(receiver.texts, ['in time']);
    assert.equal(test.drains.figures.sent, 1);
  });

  const bad: [string, string][] = [
    ['gopher://127.0.0.1:1', 'its scheme is gopher, not syslog, syslog-tls or https'],
    ['nonsense', 'it is no URL'],
    ['syslog://10.1.2.3:514', 'it leads to 10.1.2.3, where drains may not lead'],
  ];
  for (const [url, why] of bad) {
    it(`say why ${url} is no good`, async () => {
      await using test = await drainsOf([target(url)], { blocked_networks: ['10.0.0.0/8'], buffer_bytes: 200 });
      await eventually('the reason', () => {
        test.drains.deliver('app', [line(1)]);
        return test.losses.some((loss) => loss.includes(why));
      });
    });
  }

  it('are listed by the cloud controller', async () => {
    await using receiver = new Receiver(createServer());
    const port = await receiver.listen();
    await using test = await TestLoggregator.start();
    await test.stop();
    const apps = [{ hostname: 'o.s.a', app_id: 'app-1' }];
    test.neighbours.drains = {
      results: [{ url: `syslog://127.0.0.1:${port}`, credentials: [{ apps }] }],
      next_id: null,
    };
    await test.resume();
    await eventually('asked', () =>
      test.neighbours.asked.some((url) => url.startsWith('/internal/v5/syslog_drain_urls')),
    );
    await eventually('the line', () => {
      test.emitter.emit({
        source_id: 'app-1',
        instance_id: '0',
        source_type: 'APP/PROC/WEB',
        type: 'OUT',
        payload: 'hi',
      });
      return receiver.texts.includes('hi');
    });
    assert.match(receiver.messages[0] ?? '', / o\.s\.a app-1 \[APP\/PROC\/WEB\/0\] /);
  });
});
