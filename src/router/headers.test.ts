import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RawBackend, talk, TestRouter } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const get = (more: string): string => `GET / HTTP/1.1\r\nHost: head.test\r\nConnection: close\r\n${more}\r\n`;

/** What the backend of such a router hears for these field lines. */
async function forwarded(overrides: object, ...requests: string[]): Promise<string[]> {
  await using router = await TestRouter.start(overrides);
  await using backend = await RawBackend.answering(OK);
  await router.register({ host: '127.0.0.1', port: backend.port, uris: ['head.test'] });
  const heard: string[] = [];
  for (const lines of requests) {
    const before = backend.text.length;
    assert.match(await talk(router.port, get(lines)), /^HTTP\/1\.1 200 /);
    heard.push(backend.text.slice(before));
  }
  return heard;
}

const valueOf = (head: string | undefined, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)\\r$`, 'im').exec(head ?? '')?.[1];

describe('the router writes', () => {
  it('a trace of its own, whose id is that of the request, in W3C and in B3', async () => {
    const [head] = await forwarded({}, '');
    const id = valueOf(head, 'X-Vcap-Request-Id')?.replaceAll('-', '') ?? 'none';
    const span = id.slice(16);
    assert.deepEqual(
      ['traceparent', 'tracestate', 'X-B3-TraceId', 'X-B3-SpanId', 'b3'].map((name) => valueOf(head, name)),
      [`00-${id}-${span}-01`, `gorouter=${span}`, id, span, `${id}-${span}`],
    );
  });

  it('a trace on that it was given: with a span of its own in W3C, as it came in B3', async () => {
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const lines =
      `traceparent: 00-${trace}-b7ad6b7169203331-00\r\ntracestate: other=1,gorouter=old\r\n` +
      `X-B3-TraceId: ${trace}\r\nX-B3-SpanId: b7ad6b7169203331\r\n`;
    const [head, odd] = await forwarded({}, lines, 'traceparent: nonsense\r\ntracestate: other=1\r\n');
    const parent = /^00-(\w{32})-(\w{16})-00$/.exec(valueOf(head, 'traceparent') ?? '');
    assert.equal(parent?.[1], trace);
    assert.notEqual(parent?.[2], 'b7ad6b7169203331');
    assert.equal(valueOf(head, 'tracestate'), `gorouter=${parent?.[2]},other=1`);
    assert.deepEqual([valueOf(head, 'X-B3-TraceId'), valueOf(head, 'b3')], [trace, undefined]);
    assert.match(valueOf(odd, 'traceparent') ?? '', /^00-\w{32}-\w{16}-01$/);
    assert.doesNotMatch(odd ?? '', /nonsense|other=1/);
  });

  it('no trace where that is off', async () => {
    const [head] = await forwarded({ tracing: { has_b3: false, has_w3c: false } }, '');
    assert.doesNotMatch(head ?? '', /\r\n(traceparent|tracestate|x-b3-|b3:)/i);
  });

  it("X-Forwarded-Proto by its mode: the client's word, what it came by, or always https", async () => {
    for (const [mode, said, expected] of [
      ['keep', 'https', 'https'],
      ['keep', '', 'http'],
      ['sanitize', 'https', 'http'],
      ['https', 'http', 'https'],
    ] as const) {
      const lines = said === '' ? '' : `X-Forwarded-Proto: ${said}\r\n`;
      const [head] = await forwarded({ forwarded_proto: mode }, lines);
      assert.equal(valueOf(head, 'X-Forwarded-Proto'), expected, `${mode} of ${said}`);
    }
  });

  it('X-Request-Start only where nobody did, and of the client nothing that the router alone may say', async () => {
    const forgeries = [
      'X-CF-ApplicationID',
      'X-CF-InstanceID',
      'X-CF-InstanceIndex',
      'X-Vcap-Request-Id',
      'X-CF-Proxy-Signature',
    ];
    const [head] = await forwarded(
      {},
      `X-Request-Start: 123\r\n${forgeries.map((name) => `${name}: forged\r\n`).join('')}`,
    );
    assert.equal(valueOf(head, 'X-Request-Start'), '123');
    assert.doesNotMatch(head ?? '', /forged/);
  });
});

describe('the router tries again', () => {
  let router: TestRouter;
  before(async () => {
    router = await TestRouter.start({ max_attempts: 3, failed_endpoint_rest_s: 0.001 });
  });
  after(async () => {
    await router[Symbol.asyncDispose]();
  });

  /** How many of four endpoints that all hang up were asked. */
  const asked = async (host: string, request: string): Promise<{ asked: number; answer: string }> => {
    await using stack = new AsyncDisposableStack();
    let heard = 0;
    const hangUp = async (): Promise<RawBackend> =>
      await RawBackend.start((socket) => {
        heard++;
        socket.destroy();
      });
    for (let n = 0; n < 4; n++) {
      const { port } = stack.use(await hangUp());
      await router.register({ host: '127.0.0.1', port, uris: [host] });
    }
    const answer = await talk(router.port, request);
    return { asked: heard, answer };
  };

  it('at most as often as it may, where nothing can have been done twice', async () => {
    const got = await asked('often.test', 'GET / HTTP/1.1\r\nHost: often.test\r\nConnection: close\r\n\r\n');
    assert.equal(got.asked, 3);
    assert.match(got.answer, /^HTTP\/1\.1 502 [^]*endpoint_failure \(EOF\)/);
  });

  it('a POST only with an Idempotency-Key, and nothing that has a body', async () => {
    const post = (host: string, more: string): string =>
      `POST / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}`;
    const key = 'Idempotency-Key: 1\r\n';
    assert.equal((await asked('key.test', post('key.test', `${key}Content-Length: 0\r\n\r\n`))).asked, 3);
    assert.equal((await asked('bare.test', post('bare.test', 'Content-Length: 0\r\n\r\n'))).asked, 1);
    assert.equal((await asked('body.test', post('body.test', `${key}Content-Length: 1\r\n\r\nx`))).asked, 1);
  });
});

describe('a route that lost its last endpoint', () => {
  it('answers 503 for as long as it is told to, and 404 where it is not', async () => {
    for (const [empty_pool_timeout_s, status, error] of [
      [60, 503, 'no_endpoints'],
      [0, 404, 'unknown_route'],
    ] as const) {
      await using router = await TestRouter.start({ empty_pool_timeout_s });
      const route = { host: '127.0.0.1', port: 1, uris: ['head.test'] };
      await router.register(route);
      await router.unregister(route);
      const answer = await talk(router.port, get(''));
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [^]*X-Cf-RouterError: ${error}\r\n`));
    }
  });
});
