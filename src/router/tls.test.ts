import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer,
  type ClientHttp2Session,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { eventually } from '#testing/eventually.ts';
import { portOf, RawBackend, talk, TestRouter } from './testing.ts';
import { Certificates } from './testing-certificates.ts';

const ok = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;

interface Answer {
  headers: IncomingHttpHeaders & { ':status'?: number | undefined };
  trailers: IncomingHttpHeaders;
  body: string;
}

async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  const answer: Answer = { headers: {}, trailers: {}, body: '' };
  stream.on('response', (got) => (answer.headers = got));
  stream.on('trailers', (got) => (answer.trailers = got));
  stream.on('data', (bytes: Buffer) => (answer.body += bytes.toString('latin1')));
  if (body !== undefined) stream.end(body);
  await once(stream, 'close');
  return answer;
}

describe('the router over TLS', () => {
  const certificates = new Certificates();
  let router: TestRouter;
  let port: number;
  before(async () => {
    const first = certificates.make('first', 'first.test', '*.wild.test');
    const second = certificates.make('second', 'second.test');
    router = await TestRouter.start({
      tls: { port: 0, certificates: [first, second], reload_interval_s: 0.1 },
      forwarded_client_cert: 'sanitize_set',
      backend_tls: { ca_file: certificates.make('instance', 'instance-1').cert_file },
    });
    port = portOf(router.addresses['https'] ?? '');
  });
  after(async () => {
    await router[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
  });

  const secure = async (servername: string | undefined): Promise<TLSSocket> => {
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] };
    const socket = servername === undefined ? connect(options) : connect({ ...options, servername });
    await once(socket, 'secureConnect');
    return socket;
  };
  const http2 = async (): Promise<ClientHttp2Session> => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    await once(session, 'connect');
    return session;
  };

  it('shows the certificate of the name asked for, and the first to all others', async () => {
    for (const [name, expected] of [
      ['second.test', 'second'],
      ['first.test', 'first'],
      ['any.wild.test', 'first'],
      ['other.test', 'first'],
      [undefined, 'first'],
    ] as const) {
      const socket = await secure(name);
      assert.equal(socket.getPeerCertificate().subject.CN, expected, `for ${name}`);
      socket.destroy();
    }
  });

  it('serves HTTP/1.1, and says https to the app', async () => {
    await using backend = await RawBackend.answering(ok('safe'));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['first.test'] });
    const socket = await secure('first.test');
    socket.write('GET / HTTP/1.1\r\nHost: first.test\r\nConnection: close\r\nX-Forwarded-Client-Cert: forged\r\n\r\n');
    let heard = '';
    socket.on('data', (bytes: Buffer) => (heard += bytes.toString()));
    await eventually('the answer', () => heard.endsWith('safe'));
    assert.match(backend.text, /X-Forwarded-Proto: https\r\n/);
    assert.ok(!backend.text.includes('forged'));
    socket.destroy();
  });

  it('takes in a changed certificate without dropping a connection', async () => {
    await using backend = await RawBackend.answering(ok('kept'));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['second.test'] });
    const before = await secure('second.test');
    const renewed = certificates.make('renewed', 'second.test');
    copyFileSync(renewed.key_file, join(certificates.folder, 'second.key'));
    copyFileSync(renewed.cert_file, join(certificates.folder, 'second.crt'));
    await eventually('the new certificate', async () => {
      const socket = await secure('second.test');
      const name = socket.getPeerCertificate().subject.CN;
      socket.destroy();
      return name === 'renewed';
    });
    let heard = '';
    before.on('data', (bytes: Buffer) => (heard += bytes.toString()));
    before.write('GET / HTTP/1.1\r\nHost: second.test\r\n\r\n');
    await eventually('an answer on the old connection', () => heard.endsWith('kept'));
    before.destroy();
  });

  it('serves HTTP/2 from an HTTP/1.1 backend: bodies, chunks, trailers, errors', async () => {
    await using backend = await RawBackend.start((socket, soFar) => {
      if (soFar.endsWith('0\r\n\r\n') || soFar.startsWith('GET'))
        socket.write(
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Own: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: 5\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n',
        );
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['h2.test'] });
    const session = await http2();
    const got = await ask(session, { ':path': '/p?q', ':authority': 'h2.test', cookie: 'x=1; y=2' });
    assert.deepEqual(
      [
        got.headers[':status'],
        got.headers['x-own'],
        got.headers['set-cookie'],
        got.headers['keep-alive'],
        got.body,
        got.trailers['x-sum'],
      ],
      [200, '1', ['a=1', 'b=2'], undefined, 'hello', '9'],
    );
    assert.match(backend.text, /^GET \/p\?q HTTP\/1\.1\r\nHost: h2\.test\r\n/);
    assert.match(backend.text, /\r\ncookie: x=1; y=2\r\n/);
    const posted = await ask(session, { ':method': 'POST', ':path': '/', ':authority': 'h2.test' }, 'some body');
    assert.equal(posted.body, 'hello');
    assert.match(backend.text, /Transfer-Encoding: chunked\r\n[^]*\r\n\r\n9\r\nsome body\r\n0\r\n\r\n$/);
    const lost = await ask(session, { ':path': '/', ':authority': 'nowhere.test' });
    assert.deepEqual([lost.headers[':status'], lost.headers['x-cf-routererror']], [404, 'unknown_route']);
    const odd = await ask(session, { ':path': '/a#b', ':authority': 'h2.test' });
    assert.equal(odd.headers[':status'], 400);
    const torn = await ask(session, { ':path': '/', ':authority': 'h2.test', host: 'other.test' });
    assert.equal(torn.headers[':status'], 400);
    session.destroy();
  });

  it('lets go of an HTTP/2 connection whose client has ended its side, and refuses extended CONNECT', async () => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    socket.resume();
    // Preface and an empty SETTINGS frame, and no more.
    socket.end(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1'));
    await once(socket, 'close');
    const session = await http2();
    const answer = await ask(session, { ':method': 'CONNECT', ':authority': 'h2.test:80' });
    assert.deepEqual([answer.headers[':status'], session.remoteSettings.enableConnectProtocol], [400, false]);
    session.destroy();
  });

  const grpc = (server: Http2Server | Http2SecureServer): void => {
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      let body = '';
      stream.on('data', (bytes: Buffer) => (body += bytes.toString()));
      stream.on('end', () => {
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'x-app': String(headers['x-cf-applicationid']) },
          { waitForTrailers: true },
        );
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(`${String(headers[':method'])} ${String(headers[':authority'])} ${body}`);
      });
    });
  };

  it('reaches HTTP/2 endpoints in plain and over TLS, trailers and all', async () => {
    const plain = createHttp2Server();
    const tls = createSecureServer({
      cert: readFileSync(join(certificates.folder, 'instance.crt')),
      key: readFileSync(join(certificates.folder, 'instance.key')),
    });
    for (const server of [plain, tls]) {
      grpc(server);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    const common = { host: '127.0.0.1', protocol: 'http2' as const, app: 'grpc-app' };
    await router.register({ ...common, port: (plain.address() as AddressInfo).port, uris: ['grpc.test'] });
    await router.register({
      ...common,
      tls_port: (tls.address() as AddressInfo).port,
      uris: ['grpcs.test'],
      server_cert_domain_san: 'instance-1',
    });
    const session = await http2();
    for (const host of ['grpc.test', 'grpcs.test', 'grpc.test']) {
      const answer = await ask(
        session,
        {
          ':method': 'POST',
          ':path': '/svc/Call',
          ':authority': host,
          'content-type': 'application/grpc',
          te: 'trailers',
        },
        'message',
      );
      assert.deepEqual(
        [answer.headers[':status'], answer.headers['x-app'], answer.body, answer.trailers['grpc-status']],
        [200, 'grpc-app', `POST ${host} message`, '0'],
      );
    }
    session.destroy();
    const plainly = await talk(
      router.port,
      'POST / HTTP/1.1\r\nHost: grpc.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n',
    );
    assert.match(
      plainly,
      /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n12\r\nPOST grpc\.test abc\r\n0\r\ngrpc-status: 0\r\n\r\n$/,
    );
    await router.unregister({ ...common, port: (plain.address() as AddressInfo).port, uris: ['grpc.test'] });
    await router.unregister({ ...common, tls_port: (tls.address() as AddressInfo).port, uris: ['grpcs.test'] });
    for (const server of [plain, tls]) await new Promise((resolve) => server.close(resolve));
  });

  it('trusts a TLS endpoint that proves its identity, and no other', async () => {
    const server = createServer(
      {
        cert: readFileSync(join(certificates.folder, 'instance.crt')),
        key: readFileSync(join(certificates.folder, 'instance.key')),
      },
      (socket) => {
        socket.on('error', () => undefined);
        socket.on('data', () => socket.write(ok('proved')));
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const tls_port = (server.address() as AddressInfo).port;
    await router.register({ host: '127.0.0.1', tls_port, uris: ['id.test'], server_cert_domain_san: 'instance-1' });
    const get = (host: string): string => `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    assert.ok((await talk(router.port, get('id.test'))).endsWith('proved'));
    await router.register({ host: 'localhost', tls_port, uris: ['other.test'], server_cert_domain_san: 'instance-2' });
    assert.match(await talk(router.port, get('other.test')), /^HTTP\/1\.1 503 [^]*X-Cf-RouterError: endpoint_failure/);
    assert.match(await talk(router.port, get('other.test')), /^HTTP\/1\.1 503 [^]*X-Cf-RouterError: no_endpoints/);
    await using plain = await RawBackend.start((socket) => socket.write(ok('plain')));
    await router.register({
      host: '127.0.0.1',
      tls_port: plain.port,
      uris: ['plain.test'],
      server_cert_domain_san: 'x',
    });
    assert.match(await talk(router.port, get('plain.test')), /^HTTP\/1\.1 525 /);
    for (const uris of [['id.test'], ['other.test'], ['plain.test']])
      await router.unregister({
        host: uris[0] === 'other.test' ? 'localhost' : '127.0.0.1',
        tls_port: uris[0] === 'plain.test' ? plain.port : tls_port,
        uris,
      });
    await new Promise((resolve) => server.close(resolve));
  });
});
