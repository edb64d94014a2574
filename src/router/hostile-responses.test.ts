/** What a backend says, byte by byte, and what becomes of it: refused, or read in one way, with nothing left for the next request. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RawBackend, talk, TestRouter } from './testing.ts';

const LENGTH = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n';
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n';
/** Behind each: were it read as a response, it would be the answer to somebody else's request. */
const STRAY = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';

/** name, bytes, what the client gets: a status when it is refused, else how the response looks or ends; `cut` when it is broken off. */
const RESPONSES: readonly (readonly [string, string, number | string | RegExp])[] = [
  ['a response and more', `${LENGTH}\r\nhello`, '\r\n\r\nhello'],
  ['two Content-Length that agree', `${LENGTH}Content-Length: 5\r\n\r\nhello`, 502],
  ['two Content-Length that differ', `${LENGTH}Content-Length: 6\r\n\r\nhello`, 502],
  ['a list in Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello', 502],
  ['a signed Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello', 502],
  ['Content-Length and Transfer-Encoding', `${LENGTH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`, 502],
  ['two Transfer-Encoding', `${CHUNKED}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`, 502],
  ['a coding not known', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 502],
  ['Transfer-Encoding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 502],
  ['a bare LF after a field', `HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 5\r\n\r\nhello`, 502],
  ['a bare CR in a field', `HTTP/1.1 200 OK\r\nX-A: 1\rContent-Length: 5\r\n\r\nhello`, 502],
  ['a folded field', `HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n\r\n`, 502],
  ['a space before the colon', `HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello`, 502],
  ['NUL in a value', `${LENGTH}X-A: a\0b\r\n\r\nhello`, 502],
  ['NUL in the reason', 'HTTP/1.1 200 O\0K\r\nContent-Length: 5\r\n\r\nhello', 502],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello', 502],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello', 502],
  ['a status below 100', 'HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello', 502],
  ['HTTP/2 in the status line', 'HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', 502],
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n\r\n', 502],
  [
    'an upgrade that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    502,
  ],
  ['a chunk extension', `${CHUNKED}\r\n5;a=b\r\nhello\r\n0\r\n\r\n`, '\r\n\r\n5\r\nhello\r\n0\r\n\r\n'],
  [
    'trailers that must not come so late',
    `${CHUNKED}\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n`,
    '\r\n\r\n0\r\nX-Sum: 1\r\n\r\n',
  ],
  [
    'framing in odd white space (found by fuzzing)',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding:chunked\t\r\n\r\n0\r\n\r\n',
    /\r\nTransfer-Encoding: chunked\r\n[^]*\r\n\r\n0\r\n\r\n$/,
  ],
  [
    'a length in odd white space',
    'HTTP/1.1 200 OK\r\nContent-Length: \t5 \r\n\r\nhello',
    /\r\nContent-Length: 5\r\n[^]*hello$/,
  ],
  ['a chunk size that is none', `${CHUNKED}\r\n0x5\r\nhello\r\n0\r\n\r\n`, 'cut'],
  ['a chunk longer than its size', `${CHUNKED}\r\n3\r\nhello\r\n0\r\n\r\n`, 'cut'],
  ['a chunk that ends with LF', `${CHUNKED}\r\n5\r\nhello\n0\r\n\r\n`, 'cut'],
  ['a 204 with a body', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', '\r\n\r\n'],
  ['a 304 with a body', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello', '\r\n\r\n'],
];

describe('of hostile backends', () => {
  let router: TestRouter;
  before(async () => {
    router = await TestRouter.start({ limits: { response_head_bytes: 65_536 }, failed_endpoint_rest_s: 0.001 });
  });
  after(async () => {
    await router[Symbol.asyncDispose]();
  });

  for (const [name, bytes, expected] of RESPONSES) {
    it(`${name}: ${typeof expected === 'number' ? expected : expected === 'cut' ? 'cut' : 'passed on, cleaned'}`, async () => {
      let connections = 0;
      await using backend = await RawBackend.start(
        (socket, soFar) => {
          if (soFar.endsWith('\r\n\r\n'))
            socket.write(connections === 1 ? bytes + STRAY : `${LENGTH}\r\nclean`, 'latin1');
        },
        () => connections++,
      );
      const route = { host: '127.0.0.1', port: backend.port, uris: ['back.test'] };
      await router.register(route);
      const get = (close: string): string => `GET / HTTP/1.1\r\nHost: back.test\r\n${close}\r\n`;
      const heard = await talk(router.port, get('Connection: close\r\n'));
      if (typeof expected === 'number') assert.match(heard, new RegExp(`^HTTP/1\\.1 ${expected} `));
      else if (expected === 'cut')
        assert.ok(heard.startsWith('HTTP/1.1 200') && !heard.endsWith('\r\n0\r\n\r\n'), heard);
      else if (typeof expected === 'string') assert.ok(heard.endsWith(expected), heard);
      else assert.match(heard, expected);
      assert.ok(!heard.includes('poison'));
      const next = await talk(router.port, get('Connection: close\r\n'));
      assert.ok(next.endsWith('clean'), next);
      await router.unregister(route);
    });
  }

  it('a head without end: 502 once it is above the limit', async () => {
    await using backend = await RawBackend.start((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${'X-A: b\r\n'.repeat(20_000)}`);
    });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['endless.test'] });
    const heard = await talk(router.port, 'GET / HTTP/1.1\r\nHost: endless.test\r\nConnection: close\r\n\r\n');
    assert.match(heard, /^HTTP\/1\.1 502 /);
  });

  it('an idle connection that speaks unasked is not used again', async () => {
    let connections = 0;
    await using backend = await RawBackend.start(
      (socket, _soFar, newest) => {
        if (newest.includes('/speak')) setTimeout(() => socket.write(STRAY), 20);
        socket.write(`${LENGTH}\r\nhello`);
      },
      () => connections++,
    );
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['idle.test'] });
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: idle.test\r\nConnection: close\r\n\r\n`;
    await talk(router.port, get('/speak'));
    await new Promise((resolve) => backend.sockets.forEach((socket) => socket.once('close', resolve)));
    assert.ok((await talk(router.port, get('/'))).endsWith('hello'));
    assert.equal(connections, 2);
  });
});
