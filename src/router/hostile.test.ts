/** Each message byte by byte, and what must become of it: refused with this status before any backend hears of it, or read in one way. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RawBackend, RawClient, talk, TestRouter } from './testing.ts';

const H = 'Host: evil.test\r\n';
const POST = `POST / HTTP/1.1\r\n${H}`;
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

/** Behind each message: a request that must be found where the message ends, or never. */
const SECOND = `GET /second HTTP/1.1\r\n${H}Connection: close\r\n\r\n`;

/** name, bytes, status of the answer; 200 where the backend is to hear it. */
const MESSAGES: readonly (readonly [string, string, number])[] = [
  ['a plain request', `GET / HTTP/1.1\r\n${H}\r\n`, 200],
  ['one empty line before it', `\r\nGET / HTTP/1.1\r\n${H}\r\n`, 200],
  ['many empty lines before it', `${'\r\n'.repeat(9)}GET / HTTP/1.1\r\n${H}\r\n`, 400],
  ['two Content-Length that differ', `${POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400],
  ['two Content-Length that agree', `${POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`, 400],
  ['a list in Content-Length', `${POST}Content-Length: 1, 1\r\n\r\na`, 400],
  ['a signed Content-Length', `${POST}Content-Length: +1\r\n\r\na`, 400],
  ['a negative Content-Length', `${POST}Content-Length: -1\r\n\r\na`, 400],
  ['a hexadecimal Content-Length', `${POST}Content-Length: 0x1\r\n\r\na`, 400],
  ['an empty Content-Length', `${POST}Content-Length: \r\n\r\n`, 400],
  ['a Content-Length above all numbers', `${POST}Content-Length: 99999999999999999999\r\n\r\n`, 400],
  [
    'Content-Length and Transfer-Encoding',
    `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    'Transfer-Encoding and Content-Length',
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    400,
  ],
  ['two Transfer-Encoding', `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a coding not last', `${POST}Transfer-Encoding: chunked, identity\r\n\r\n`, 400],
  ['a coding not known', `${POST}Transfer-Encoding: xchunked\r\n\r\n`, 400],
  ['a coding before chunked', `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
  ['a vertical tab in Transfer-Encoding', `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n`, 400],
  ['Transfer-Encoding in HTTP/1.0', `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a space before the colon', `${POST}Content-Length : 1\r\n\r\na`, 400],
  ['a tab before the colon', `${POST}Transfer-Encoding\t: chunked\r\n\r\n`, 400],
  ['a folded field', `GET / HTTP/1.1\r\n${H}X-A: 1\r\n 2\r\n\r\n`, 400],
  ['a fold at once', `GET / HTTP/1.1\r\n X: 1\r\n${H}\r\n`, 400],
  ['a bare LF after the request line', `GET / HTTP/1.1\n${H}\r\n`, 400],
  ['a bare LF after a field', `GET / HTTP/1.1\r\nX-A: 1\n${H}\r\n`, 400],
  ['a bare LF as the end', `GET / HTTP/1.1\r\n${H}\n`, 400],
  ['a bare CR in a value', `GET / HTTP/1.1\r\n${H}X-A: 1\rX-B: 2\r\n\r\n`, 400],
  ['a bare CR as the end', `GET / HTTP/1.1\r\n${H}\rX`, 400],
  ['NUL in a value', `GET / HTTP/1.1\r\n${H}X-A: a\0b\r\n\r\n`, 400],
  ['NUL in a name', `GET / HTTP/1.1\r\n${H}X\0A: b\r\n\r\n`, 400],
  ['NUL in the target', `GET /\0 HTTP/1.1\r\n${H}\r\n`, 400],
  ['a control byte in a value', `GET / HTTP/1.1\r\n${H}X-A: a\x01b\r\n\r\n`, 400],
  ['a control byte in the method', `G\x01ET / HTTP/1.1\r\n${H}\r\n`, 400],
  ['an escape in the target', `GET /\x1b[2J HTTP/1.1\r\n${H}\r\n`, 400],
  ['a form feed before a value', `GET / HTTP/1.1\r\n${H}X-A:\x0ca\r\n\r\n`, 400],
  ['DEL in a value', `GET / HTTP/1.1\r\n${H}X-A: a\x7f\r\n\r\n`, 400],
  ['an empty name', `GET / HTTP/1.1\r\n${H}: x\r\n\r\n`, 400],
  ['a line without colon', `GET / HTTP/1.1\r\n${H}what\r\n\r\n`, 400],
  ['a name beyond ASCII', `GET / HTTP/1.1\r\n${H}X-\xc3\xa4: 1\r\n\r\n`, 400],
  ['two spaces after the method', `GET  / HTTP/1.1\r\n${H}\r\n`, 400],
  ['a tab after the method', `GET\t/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['two spaces before the version', `GET /  HTTP/1.1\r\n${H}\r\n`, 400],
  ['a space after the version', `GET / HTTP/1.1 \r\n${H}\r\n`, 400],
  ['no version', `GET /\r\n${H}\r\n`, 400],
  ['a version in small letters', `GET / http/1.1\r\n${H}\r\n`, 400],
  ['HTTP/1.2', `GET / HTTP/1.2\r\n${H}\r\n`, 505],
  ['HTTP/2.0 over plain text', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ['HTTP/0.9', `GET / HTTP/0.9\r\n${H}\r\n`, 505],
  ['a TLS greeting', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 400],
  ['a method of odd bytes', `GE(T / HTTP/1.1\r\n${H}\r\n`, 400],
  ['a method without end', `${'A'.repeat(64)} / HTTP/1.1\r\n${H}\r\n`, 400],
  ['a fragment', `GET /#x HTTP/1.1\r\n${H}\r\n`, 400],
  ['a target beyond ASCII', `GET /\xe4 HTTP/1.1\r\n${H}\r\n`, 400],
  ['a relative target', `GET x HTTP/1.1\r\n${H}\r\n`, 400],
  ['an asterisk that is no OPTIONS', `GET * HTTP/1.1\r\n${H}\r\n`, 400],
  ['CONNECT', `CONNECT evil.test:80 HTTP/1.1\r\n${H}\r\n`, 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost: \r\n\r\n', 400],
  ['two Hosts', `GET / HTTP/1.1\r\n${H}${H}\r\n`, 400],
  ['a Host beyond ASCII', 'GET / HTTP/1.1\r\nHost: \xe4.test\r\n\r\n', 400],
  ['a Host with a path', 'GET / HTTP/1.1\r\nHost: evil.test/x\r\n\r\n', 400],
  ['a Host with a user', 'GET / HTTP/1.1\r\nHost: a@evil.test\r\n\r\n', 400],
  ['a Host that is a wildcard', 'GET / HTTP/1.1\r\nHost: *.test\r\n\r\n', 400],
  ['a Host with a strange port', 'GET / HTTP/1.1\r\nHost: evil.test:8x\r\n\r\n', 400],
  ['a Host with a percent sign', 'GET / HTTP/1.1\r\nHost: evil%2etest\r\n\r\n', 400],
  ['a Host with a backslash', 'GET / HTTP/1.1\r\nHost: evil.test\\@other.test\r\n\r\n', 400],
  ['a Host with two ports', 'GET / HTTP/1.1\r\nHost: evil.test:80:81\r\n\r\n', 400],
  ['a Host without name', 'GET / HTTP/1.1\r\nHost: :80\r\n\r\n', 400],
  ['a list of Hosts', 'GET / HTTP/1.1\r\nHost: evil.test, b.test\r\n\r\n', 400],
  ['a Host in broken brackets', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', 400],
  ['an absolute target that agrees with Host', `GET http://evil.test/x HTTP/1.1\r\n${H}\r\n`, 200],
  ['an absolute target that disagrees with Host', `GET http://other.test/x HTTP/1.1\r\n${H}\r\n`, 400],
  ['an absolute target with a user', 'GET http://a@evil.test/ HTTP/1.1\r\nHost: a@evil.test\r\n\r\n', 400],
  ['an absolute target of another scheme', `GET ftp://evil.test/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['an empty chunk size', `${CHUNKED}\r\nabc\r\n0\r\n\r\n`, 400],
  ['a signed chunk size', `${CHUNKED}+3\r\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk size with 0x', `${CHUNKED}0x3\r\nabc\r\n0\r\n\r\n`, 400],
  ['a space after the chunk size', `${CHUNKED}3 \r\nabc\r\n0\r\n\r\n`, 400],
  ['a space before the chunk size', `${CHUNKED} 3\r\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk size above all numbers', `${CHUNKED}ffffffffffffffff1\r\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk size that ends with LF', `${CHUNKED}3\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk that ends with LF', `${CHUNKED}3\r\nabc\n0\r\n\r\n`, 400],
  ['a chunk longer than its size', `${CHUNKED}3\r\nabcd\r\n0\r\n\r\n`, 400],
  ['a bare LF in a chunk extension', `${CHUNKED}3;a\nb\r\nabc\r\n0\r\n\r\n`, 400],
  ['NUL in a chunk extension', `${CHUNKED}3;\0\r\nabc\r\n0\r\n\r\n`, 400],
  ['endless chunk extensions', `${CHUNKED}3;${'x'.repeat(5000)}\r\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk extension', `${CHUNKED}3;name="value"\r\nabc\r\n0\r\n\r\n`, 200],
  ['a malformed trailer', `${CHUNKED}0\r\nX Y: 1\r\n\r\n`, 400],
  ['a bare LF in the trailers', `${CHUNKED}0\r\nX-A: 1\nX-B: 2\r\n\r\n`, 400],
];

describe('of hostile bytes', () => {
  let router: TestRouter;
  let backend: RawBackend;
  before(async () => {
    router = await TestRouter.start({
      timeouts: { request_head_s: 1, request_body_idle_s: 1, linger_s: 0.5 },
      limits: { request_head_bytes: 65_536 },
    });
    backend = await RawBackend.start((socket, soFar) => {
      if (soFar.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['evil.test'] });
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    await router[Symbol.asyncDispose]();
  });

  for (const [name, bytes, status] of MESSAGES) {
    it(`${name}: ${status}`, async () => {
      const isChunked = bytes.startsWith(CHUNKED);
      const before = backend.heard.length;
      using client = new RawClient(router.port);
      client.say(bytes + SECOND);
      const heard = await client.ends();
      assert.match(heard, new RegExp(`^HTTP/1\\.1 ${status} `));
      const answers = [...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));
      const reached = backend.heard.slice(before).join('');
      if (status === 200) {
        // Read in one way: the second request is found behind the first, once.
        assert.deepEqual(answers, [200, 200]);
        assert.equal(reached.split(/^GET \/second HTTP\/1\.1\r$/m).length, 2, reached);
      } else {
        assert.equal(answers.length, 1, 'nothing is read after it');
        assert.ok(!reached.includes('/second'), reached);
        // What was refused by its head has reached nobody; a body is refused while it travels, and its end never arrives.
        if (!isChunked) assert.equal(reached, '');
        else assert.ok(!reached.endsWith('0\r\n\r\n'));
      }
      for (const socket of backend.sockets) socket.destroy();
    });
  }

  it('what follows a refused request is never a request', async () => {
    const heard = await talk(
      router.port,
      `${POST}Content-Length: 0\r\nContent-Length: 44\r\n\r\nGET /smuggled HTTP/1.1\r\n${H}\r\n`,
    );
    assert.equal([...heard.matchAll(/HTTP\/1\.1/g)].length, 1);
    assert.ok(!backend.text.includes('/smuggled'));
  });

  it('nothing is read behind a request that ends its connection', async () => {
    for (const last of [`GET /last HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, `GET /last HTTP/1.0\r\n${H}\r\n`]) {
      const heard = await talk(router.port, `${last}GET /behind HTTP/1.1\r\n${H}\r\n`);
      assert.equal([...heard.matchAll(/HTTP\/1\.1 200/g)].length, 1);
      assert.ok(!backend.text.includes('/behind'));
    }
  });

  it('a body is never read as a request, nor a request as a body', async () => {
    const inner = `GET /inner HTTP/1.1\r\n${H}\r\n`;
    await using echo = await RawBackend.start((socket, soFar) => {
      if (soFar.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
    await router.register({ host: '127.0.0.1', port: echo.port, uris: ['body.test'] });
    const heard = await talk(
      router.port,
      `POST /outer HTTP/1.1\r\nHost: body.test\r\nConnection: close\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
    );
    assert.equal([...heard.matchAll(/HTTP\/1\.1 200/g)].length, 1);
    assert.ok(echo.text.endsWith(`\r\n\r\n${inner}`));
  });

  it('giant heads: 431 as soon as the limit is passed', async () => {
    assert.match(
      await talk(router.port, `GET / HTTP/1.1\r\n${H}X-A: ${'a'.repeat(70_000)}`),
      /^HTTP\/1\.1 431 [^]*X-Cf-RouterError: max-request-size-exceeded/,
    );
    assert.match(await talk(router.port, `GET / HTTP/1.1\r\n${H}${'A: b\r\n'.repeat(12_000)}\r\n`), /^HTTP\/1\.1 431 /);
  });

  it('a head that trickles in: 408, and the connection ends', async () => {
    using client = new RawClient(router.port);
    client.say('GET / HTTP/1.1\r\nHo');
    assert.match(await client.ends(), /^HTTP\/1\.1 408 /);
  });

  it('a connection that says nothing ends in silence', async () => {
    using client = new RawClient(router.port);
    assert.equal(await client.ends(), '');
  });

  it('a body that stops coming: 408, and the backend does not take it for whole', async () => {
    using client = new RawClient(router.port);
    client.say(`${POST}Content-Length: 10\r\n\r\nhalf`);
    assert.match(await client.ends(), /^HTTP\/1\.1 408 /);
  });

  it('fields named in Connection go, except those that frame, route or vouch', async () => {
    await using echo = await RawBackend.answering('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    await router.register({ host: '127.0.0.1', port: echo.port, uris: ['hop.test'] });
    await talk(
      router.port,
      'GET / HTTP/1.1\r\nHost: hop.test\r\nConnection: close, X-Secret, X-Forwarded-For, Cookie\r\nX-Secret: 1\r\nX-Forwarded-For: 9.9.9.9\r\nCookie: a=b\r\nKeep-Alive: 5\r\nTE: gzip\r\nProxy-Connection: x\r\n\r\n',
    );
    assert.ok(!/\r\n(x-secret|keep-alive|te|proxy-connection):/i.test(echo.text), echo.text);
    assert.match(echo.text, /X-Forwarded-For: 9\.9\.9\.9, 127\.0\.0\.1\r\n/);
    assert.match(echo.text, /Cookie: a=b\r\n/);
  });

  it("names that pass for the router's own once underscores are read as hyphens are dropped", async () => {
    await using echo = await RawBackend.answering('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    await router.register({ host: '127.0.0.1', port: echo.port, uris: ['name.test'] });
    await talk(
      router.port,
      'GET / HTTP/1.1\r\nHost: name.test\r\nConnection: close\r\nX_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\nX_CF-ApplicationID: me\r\nmy_own: kept\r\n\r\n',
    );
    assert.ok(!/6\.6\.6\.6|content_length|x_cf/i.test(echo.text), echo.text);
    assert.match(echo.text, /\r\nmy_own: kept\r\n/);
  });

  it('trailers lose what must not come so late, and pass otherwise', async () => {
    await talk(
      router.port,
      `${POST}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: x\r\nX-Forwarded-For: 1\r\n\r\n`,
    );
    assert.ok(backend.text.endsWith('3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n'), backend.text.slice(-200));
  });

  it('framing fields in odd white space are written anew', async () => {
    await talk(router.port, `${POST}Connection: close\r\nTransfer-Encoding:\t chunked\t\r\n\r\n0\r\n\r\n`);
    assert.match(backend.text, /\r\nTransfer-Encoding: chunked\r\n/);
    assert.ok(!backend.text.includes('chunked\t'));
    await talk(router.port, `${POST}Connection: close\r\nContent-Length:  4 \r\n\r\n\r\n\r\n`);
    assert.match(backend.text, /\r\nContent-Length: 4\r\n/);
  });

  it('an upgrade to h2c is no way past the router', async () => {
    await talk(
      router.port,
      `GET /h2c HTTP/1.1\r\n${H}Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    );
    const head = backend.heard.find((text) => text.includes('/h2c')) ?? '';
    assert.ok(head !== '' && !/h2c\r\n|http2-settings|upgrade/i.test(head.slice(20)), head);
  });

  it('bytes sent ahead of an upgrade that is refused stay a request of the client', async () => {
    await using refusing = await RawBackend.start((socket, _soFar, newest) => {
      if (newest.includes('GET')) socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    });
    await router.register({ host: '127.0.0.1', port: refusing.port, uris: ['up.test'] });
    const heard = await talk(
      router.port,
      'GET / HTTP/1.1\r\nHost: up.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin HTTP/1.1\r\nHost: nowhere.test\r\nConnection: close\r\n\r\n',
    );
    assert.deepEqual(
      [...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]),
      ['403', '404'],
    );
    assert.ok(!refusing.text.includes('/admin'));
  });
});
