import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { routerGreet, routerStart } from '#contracts/router.ts';
import { RawBackend, RawClient, talk, TestRouter } from './testing.ts';

/** Nothing listens there, nor will: a free port may be another test's a moment later. */
const REFUSES = 1;
const ok = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const get = (host: string, more = ''): string => `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`;
const statusOf = (heard: string): string => /^HTTP\/1\.1 (\d+)/.exec(heard)?.[1] ?? heard;

describe('the router keeps the rules', () => {
  let router: TestRouter;
  before(async () => {
    router = await TestRouter.start({
      tracing: { debug_key: 'open sesame' },
      limits: { max_conns_per_backend: 2 },
    });
  });
  after(async () => {
    await router[Symbol.asyncDispose]();
  });

  it('an endpoint that refuses connections costs no request while another lives', async () => {
    await using alive = await RawBackend.answering(ok('alive'));
    await router.register({ host: '127.0.0.1', port: REFUSES, uris: ['half.test'] });
    await router.register({ host: '127.0.0.1', port: alive.port, uris: ['half.test'] });
    for (let n = 0; n < 6; n++) {
      const heard = await talk(
        router.port,
        `POST / HTTP/1.1\r\nHost: half.test\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc`,
      );
      assert.ok(heard.endsWith('alive'), heard);
    }
  });

  it('a kept connection that the endpoint closed meanwhile costs no idempotent request', async () => {
    let served = 0;
    await using backend = await RawBackend.start((socket) => {
      // The second request on a connection is met with its end.
      if (socket.listenerCount('drain') > 0) socket.destroy();
      else {
        served++;
        socket.on('drain', () => undefined);
        socket.write(ok('one'));
      }
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['stale.test'] });
    for (let n = 0; n < 4; n++) assert.ok((await talk(router.port, get('stale.test'))).endsWith('one'));
    assert.equal(served, 4);
  });

  it('an instance that dies under load costs no idempotent request while another lives', async () => {
    await using one = await RawBackend.answering(ok('one'));
    const two = await RawBackend.answering(ok('two'));
    for (const { port } of [one, two]) await router.register({ host: '127.0.0.1', port, uris: ['load.test'] });
    const heard: string[] = [];
    const over = new AbortController();
    const load = Array.from({ length: 2 }, async () => {
      while (!over.signal.aborted) heard.push(await talk(router.port, get('load.test')));
    });
    await eventually(
      'both answering',
      () => heard.some((text) => text.endsWith('one')) && heard.some((text) => text.endsWith('two')),
    );
    await two[Symbol.asyncDispose]();
    const then = heard.length;
    await eventually('much more served', () => heard.length > then + 100);
    over.abort();
    await Promise.all(load);
    assert.deepEqual(
      heard.filter((text) => !text.startsWith('HTTP/1.1 200')),
      [],
    );
  });

  it('several processes share the port where they are told to', async () => {
    const port = await freePort();
    await using first = await TestRouter.start({ port, reuse_port: true });
    await using second = await TestRouter.start({ port, reuse_port: true });
    assert.deepEqual([first.port, second.port], [port, port]);
  });

  it('a request with a body that may have been processed is not sent twice', async () => {
    let heard = 0;
    await using backend = await RawBackend.start((socket) => {
      heard++;
      socket.destroy();
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['once.test'] });
    await router.register({ host: '127.0.0.2', port: backend.port, uris: ['once.test'] });
    const answer = await talk(
      router.port,
      'POST / HTTP/1.1\r\nHost: once.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx',
    );
    assert.match(answer, /^HTTP\/1\.1 502 [^]*endpoint_failure \(EOF\)/);
    assert.equal(heard, 1);
  });

  it('a backend that answers in no HTTP is a 502', async () => {
    for (const bytes of [
      'SSH-2.0-OpenSSH\r\n',
      'HTTP/1.1 200 OK\nX: 1\n\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    ]) {
      await using backend = await RawBackend.start((socket) => socket.write(bytes));
      await router.register({ host: '127.0.0.1', port: backend.port, uris: ['odd.test'] });
      const answer = await talk(router.port, get('odd.test'));
      assert.equal(statusOf(answer), '502', answer);
      await router.unregister({ host: '127.0.0.1', port: backend.port, uris: ['odd.test'] });
    }
  });

  it('a response that breaks off is cut, not completed', async () => {
    await using backend = await RawBackend.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      setTimeout(() => socket.destroy(), 50);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['cut.test'] });
    assert.ok((await talk(router.port, get('cut.test'))).endsWith('\r\n\r\nhalf'));
  });

  it('an endpoint that does not answer in time is a 502', async () => {
    await using impatient = await TestRouter.start({ timeouts: { endpoint_s: 0.5 } });
    await using backend = await RawBackend.start(() => undefined);
    await impatient.register({ host: '127.0.0.1', port: backend.port, uris: ['slow.test'] });
    assert.match(
      await talk(impatient.port, get('slow.test')),
      /^HTTP\/1\.1 502 [^]*endpoint_failure \(context deadline exceeded\)/,
    );
  });

  it('connections above the limit of all endpoints are a 503', async () => {
    await using backend = await RawBackend.start(() => undefined);
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['full.test'] });
    using first = new RawClient(router.port);
    using second = new RawClient(router.port);
    first.say(get('full.test'));
    second.say(get('full.test'));
    await eventually('two under way', () => backend.heard.filter((text) => text !== '').length === 2);
    assert.match(
      await talk(router.port, get('full.test')),
      /^HTTP\/1\.1 503 [^]*X-Cf-RouterError: Connection Limit Reached\r\n/,
    );
  });

  it('a session sticks to its instance, and gets another when that is gone', async () => {
    await using one = await RawBackend.answering(
      ok('1', 'Set-Cookie: JSESSIONID=abc; Path=/; Secure; SameSite=Lax\r\n'),
    );
    await using two = await RawBackend.answering(ok('2'));
    await router.register({
      host: '127.0.0.1',
      port: one.port,
      uris: ['sticky.test/shop'],
      private_instance_id: 'inst-1',
    });
    const shop = (cookie: string): string =>
      `GET /shop HTTP/1.1\r\nHost: sticky.test\r\nConnection: close\r\n${cookie}\r\n`;
    const heard = await talk(router.port, shop(''));
    assert.match(heard, /\r\nSet-Cookie: __VCAP_ID__=inst-1; Path=\/shop; HttpOnly; Secure; SameSite=Lax\r\n/);
    await router.register({
      host: '127.0.0.1',
      port: two.port,
      uris: ['sticky.test/shop'],
      private_instance_id: 'inst-2',
    });
    for (let n = 0; n < 4; n++)
      assert.ok((await talk(router.port, shop('Cookie: JSESSIONID=abc; __VCAP_ID__=inst-2\r\n'))).endsWith('\r\n2'));
    await router.unregister({ host: '127.0.0.1', port: two.port, uris: ['sticky.test/shop'] });
    assert.match(
      await talk(router.port, shop('Cookie: JSESSIONID=abc; __VCAP_ID__=inst-2\r\n')),
      /\r\nSet-Cookie: __VCAP_ID__=inst-1;[^]*\r\n1$/,
    );
  });

  it('X-Cf-App-Instance and X-Cf-Process-Instance pick one instance', async () => {
    await using one = await RawBackend.answering(ok('one'));
    await using two = await RawBackend.answering(ok('two'));
    const common = { host: '127.0.0.1', uris: ['pick.test'], app: 'app-1', tags: { process_id: 'proc-1' } };
    await router.register({ ...common, port: one.port, private_instance_index: '0' });
    await router.register({ ...common, port: two.port, private_instance_index: '1' });
    for (let n = 0; n < 3; n++) {
      assert.ok((await talk(router.port, get('pick.test', 'X-Cf-App-Instance: app-1:1\r\n'))).endsWith('two'));
      assert.ok((await talk(router.port, get('pick.test', 'X-CF-PROCESS-INSTANCE: proc-1:0\r\n'))).endsWith('one'));
    }
    assert.ok(!/x-cf-(app|process)-instance/i.test(one.text + two.text));
    const errors = {
      'X-Cf-App-Instance: nonsense': 'invalid_cf_app_instance_header',
      'X-Cf-Process-Instance: a:b': 'invalid_cf_process_instance_header',
      'X-Cf-App-Instance: app-1:7': 'unknown_route',
    };
    for (const [line, error] of Object.entries(errors))
      assert.match(
        await talk(router.port, get('pick.test', `${line}\r\n`)),
        new RegExp(`^HTTP/1\\.1 400 [^]*X-Cf-RouterError: ${error}\r\n`),
      );
    const lost = {
      'X-Cf-App-Instance: app-1:7': "instance ('7') with guid ('app-1')",
      'X-Cf-Process-Instance: proc-1:7': "instance ('7') with process guid ('proc-1')",
      'X-Cf-Process-Instance: proc-2': "instance with process guid ('proc-2')",
    };
    for (const host of ['pick.test', 'nowhere.test:80'])
      for (const [line, what] of Object.entries(lost)) {
        const heard = await talk(router.port, get(host, `${line}\r\n`));
        assert.match(heard, /^HTTP\/1\.1 400 [^]*unknown_route/);
        assert.ok(heard.endsWith(`400 Bad Request: Requested ${what} does not exist for route ('${host}')\n`), heard);
      }
  });

  it('interim responses, HEAD, 304 and 204 leave the connection readable', async () => {
    const answers: Record<string, string> = {
      '/early': 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      '/head': 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n',
      '/304': 'HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n',
      '/204': 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
    };
    await using backend = await RawBackend.start((socket, _soFar, newest) =>
      socket.write(answers[/ (\S+) HTTP/.exec(newest)?.[1] ?? ''] ?? ''),
    );
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['kinds.test'] });
    using client = new RawClient(router.port);
    for (const [n, path] of Object.keys(answers).entries()) {
      client.say(`${path === '/head' ? 'HEAD' : 'GET'} ${path} HTTP/1.1\r\nHost: kinds.test\r\n\r\n`);
      await eventually(path, () => [...client.heard.matchAll(/X-Vcap-Request-Id/g)].length === n + 1);
    }
    assert.match(client.heard, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/x>\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
    assert.ok(!/204 No Content[^]*Content-Length/.test(client.heard), 'a 204 has no length');
    assert.equal(backend.heard.length, 1);
  });

  it('Expect: 100-continue is asked of the backend, and its consent passed back', async () => {
    await using backend = await RawBackend.start((socket, soFar) =>
      socket.write(soFar.endsWith('body') ? ok('done') : 'HTTP/1.1 100 Continue\r\n\r\n'),
    );
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['expect.test'] });
    using client = new RawClient(router.port);
    client.say('PUT / HTTP/1.1\r\nHost: expect.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    await client.hears('HTTP/1.1 100 Continue\r\n\r\n');
    client.say('body');
    await client.hears('done');
  });

  it('an early answer arrives though the body is never heard out', async () => {
    await using backend = await RawBackend.start((socket) =>
      socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno'),
    );
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['early.test'] });
    using client = new RawClient(router.port);
    client.say('POST / HTTP/1.1\r\nHost: early.test\r\nContent-Length: 1000000\r\n\r\nabc');
    await client.hears(/413 [^]*\r\n\r\nno$/);
    await client.ends();
  });

  it('a client that has said all and ended its side is still answered', async () => {
    await using backend = await RawBackend.start((socket) => setTimeout(() => socket.write(ok('late')), 100));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['fin.test'] });
    using client = new RawClient(router.port);
    client.socket.end('GET / HTTP/1.1\r\nHost: fin.test\r\n\r\n');
    assert.ok((await client.ends()).endsWith('late'));
  });

  it('a streamed response arrives piece by piece', async () => {
    let stream: ((text: string) => void) | undefined;
    await using backend = await RawBackend.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
      stream = (text) => socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['sse.test'] });
    using client = new RawClient(router.port);
    client.say(get('sse.test'));
    await client.hears('text/event-stream');
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      stream?.(event);
      await client.hears(event);
    }
  });

  it('large bodies pass both ways unchanged, to a reader that takes its time', async () => {
    const size = 5_000_000;
    let taken = 0;
    await using backend = await RawBackend.start((socket, soFar, newest) => {
      taken += newest.length;
      if (soFar.endsWith('END'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'y'.repeat(size - 3)}END`);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['large.test'] });
    using client = new RawClient(router.port);
    client.say(`POST / HTTP/1.1\r\nHost: large.test\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size - 3)}END`);
    await client.hears('HTTP/1.1 200');
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    client.socket.resume();
    await eventually('all of it', () => client.heard.endsWith('END'));
    assert.equal(client.heard.length - client.heard.indexOf('\r\n\r\n') - 4, size);
    assert.ok(taken >= size);
  });

  it('the health probe of old load balancers, and the debug fields for who knows the key', async () => {
    assert.match(
      await talk(router.port, get('any.test', 'User-Agent: HTTP-Monitor/1.1\r\n')),
      /^HTTP\/1\.1 200 [^]*\r\n\r\nok\n$/,
    );
    await using backend = await RawBackend.answering(ok('x'));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['debug.test'] });
    assert.ok(
      (await talk(router.port, get('debug.test', 'X-Vcap-Trace: open sesame\r\n'))).includes(
        `\r\nX-Vcap-Backend: 127.0.0.1:${backend.port}\r\n`,
      ),
    );
    assert.ok(!(await talk(router.port, get('debug.test', 'X-Vcap-Trace: guess\r\n'))).includes('X-Vcap-Backend'));
  });

  it('greets those who ask, and greets anew when the bus comes back, with its routes kept', async () => {
    const greeting = await router.bus.request(routerGreet, {}, { timeout_ms: 5000 });
    assert.deepEqual([greeting.minimumRegisterIntervalInSeconds, greeting.pruneThresholdInSeconds], [20, 120]);
    await using backend = await RawBackend.answering(ok('kept'));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['bus.test'] });
    await router.nats.kill();
    await eventually('the loss', () => !router.bus.isConnected);
    assert.ok((await talk(router.port, get('bus.test'))).endsWith('kept'));
    const heard: string[] = [];
    router.bus.subscribe(routerStart, ({ id }) => void heard.push(id));
    await router.nats.resume();
    // The router may be back before we are; then its greeting is asked for.
    await eventually(
      'its greeting',
      async () =>
        heard.includes(greeting.id) ||
        (router.bus.isConnected &&
          (await router.bus.request(routerGreet, {}, { timeout_ms: 1000 }).catch(() => undefined))?.id === greeting.id),
    );
    assert.ok((await talk(router.port, get('bus.test'))).endsWith('kept'));
  });
});
