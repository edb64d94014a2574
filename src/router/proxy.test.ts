import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RawBackend, RawClient, talk, TestRouter } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const get = (host: string, more = '', path = '/'): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`;

describe('the router serves', () => {
  let router: TestRouter;
  before(async () => {
    router = await TestRouter.start();
  });
  after(async () => {
    await router[Symbol.asyncDispose]();
  });

  it('a request from the endpoint that registered its host, with what the app is to know', async () => {
    await using backend = await RawBackend.answering(OK);
    await router.register({
      host: '127.0.0.1',
      port: backend.port,
      uris: ['App.test'],
      app: 'app-guid',
      private_instance_id: 'inst',
      private_instance_index: '2',
    });
    const heard = await talk(
      router.port,
      get('app.TEST:80', 'X-Own: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Vcap-Request-Id: forged\r\n', '/a?b=c'),
    );
    assert.match(heard, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(heard, /\r\nX-Vcap-Request-Id: [0-9a-f-]{36}\r\n/);
    assert.ok(heard.endsWith('\r\n\r\nhello'), heard);
    assert.match(backend.text, /^GET \/a\?b=c HTTP\/1\.1\r\nHost: app\.TEST:80\r\n/);
    for (const line of [
      'X-Own: 1',
      'X-CF-ApplicationID: app-guid',
      'X-CF-InstanceID: inst',
      'X-CF-InstanceIndex: 2',
      'X-Forwarded-For: 1.2.3.4, 127.0.0.1',
      'X-Forwarded-Proto: http',
    ]) {
      assert.ok(backend.text.includes(`\r\n${line}\r\n`), `${line} in ${backend.text}`);
    }
    assert.match(backend.text, /\r\nX-Request-Start: \d{13}\r\n/);
    assert.ok(!backend.text.includes('forged') && !/connection: close/i.test(backend.text));
  });

  it('request after request on one connection, over one connection to the backend', async () => {
    await using backend = await RawBackend.answering(OK);
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['keep.test'] });
    using client = new RawClient(router.port);
    for (let n = 1; n <= 5; n++) {
      client.say('GET / HTTP/1.1\r\nHost: keep.test\r\n\r\n');
      await client.hears(new RegExp(`^(HTTP/1.1 200 OK\r\n[^]*?hello){${n}}$`));
    }
    assert.equal(backend.heard.length, 1);
  });

  it('pipelined requests in their order', async () => {
    await using backend = await RawBackend.start((socket, soFar, newest) => {
      const path = /GET (\S+)/.exec(newest)?.[1] ?? '';
      if (soFar !== '') socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['pipe.test'] });
    const heard = await talk(
      router.port,
      ['/1', '/2', '/nowhere', '/3']
        .map((path) => `GET ${path} HTTP/1.1\r\nHost: ${path === '/nowhere' ? 'none' : 'pipe'}.test\r\n\r\n`)
        .join('') + get('pipe.test', '', '/4'),
    );
    assert.deepEqual(
      [...heard.matchAll(/\r\n\r\n(\/\d|404)/g)].map((match) => match[1]),
      ['/1', '/2', '404', '/3', '/4'],
    );
  });

  it('bodies of known length and chunked, both ways, however they are cut', async () => {
    await using backend = await RawBackend.start((socket, soFar) => {
      if (soFar.endsWith('0\r\n\r\n') || soFar.endsWith('0123456789'))
        socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n');
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['body.test'] });
    const head = 'POST / HTTP/1.1\r\nHost: body.test\r\nConnection: close\r\n';
    const known = await talk(router.port, `${head}Content-Le`, 'ngth: 10\r\n\r', '\n01234', '56789');
    assert.ok(known.endsWith('\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'), known);
    const chunked = await talk(
      router.port,
      `${head}Transfer-Encoding: chunked\r\n\r\n`,
      '3',
      '\r\nab',
      'c\r\n',
      '0\r\n\r\n',
    );
    assert.ok(chunked.endsWith('0\r\nX-Sum: 1\r\n\r\n'), chunked);
    assert.ok(backend.text.includes('3\r\nabc\r\n0\r\n\r\n'));
  });

  it('a response without a length as chunks, and as it is to HTTP/1.0', async () => {
    await using backend = await RawBackend.start((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nuntil the end'));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['eof.test'] });
    const modern = await talk(router.port, get('eof.test'));
    assert.match(modern, /Transfer-Encoding: chunked\r\n[^]*\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n$/);
    const old = await talk(router.port, 'GET / HTTP/1.0\r\nHost: eof.test\r\n\r\n');
    assert.match(old, /Connection: close\r\n[^]*\r\n\r\nuntil the end$/);
  });

  it('an upgraded connection as bytes both ways, and passes its end on', async () => {
    await using backend = await RawBackend.start((socket, soFar, newest) => {
      if (newest.startsWith('GET'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst');
      else socket.write(`echo ${newest}`, 'latin1');
      assert.ok(soFar.length > 0);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['ws.test'] });
    using client = new RawClient(router.port);
    client.say(
      'GET /chat HTTP/1.1\r\nHost: ws.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n',
    );
    await client.hears(/^HTTP\/1\.1 101 [^]*Upgrade: websocket\r\n[^]*\r\n\r\nfirst$/);
    client.say('\x00\xffbytes');
    await client.hears('echo \x00\xffbytes');
    client.socket.end();
    await client.ends();
    assert.match(backend.text, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/);
  });

  it('the error of Cloud Foundry for what it cannot route', async () => {
    const unknown = await talk(router.port, get('nowhere.test'));
    assert.match(unknown, /^HTTP\/1\.1 404 Not Found\r\n/);
    assert.match(unknown, /\r\nX-Cf-RouterError: unknown_route\r\n/);
    assert.match(unknown, /\r\nCache-Control: no-cache, no-store\r\n/);
    assert.ok(unknown.endsWith("\r\n\r\n404 Not Found: Requested route ('nowhere.test') does not exist.\n"));
    assert.match(
      await talk(router.port, 'GET / HTTP/1.0\r\n\r\n'),
      /^HTTP\/1\.1 400 [^]*Cache-Control: public,max-age=2\r\n[^]*X-Cf-RouterError: empty_host\r\n/,
    );
    assert.match(await talk(router.port, get('127.0.0.1:80')), /^HTTP\/1\.1 400 [^]*X-Cf-RouterError: empty_host\r\n/);
    await router.register({ host: '127.0.0.1', port: 1, uris: ['dead.test'] });
    const dead = await talk(router.port, get('dead.test'));
    assert.match(
      dead,
      /^HTTP\/1\.1 502 Bad Gateway\r\n[^]*X-Cf-RouterError: endpoint_failure \(dial tcp: connection refused\)\r\n/,
    );
    assert.ok(dead.endsWith('502 Bad Gateway: Registered endpoint failed to handle the request.\n'));
  });
});
