import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RequestHead } from './request-head.ts';
import { RouteServices } from './route-service.ts';
import { RawBackend, talk, TestRouter } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const get = (host: string, more = '', path = '/a?b'): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`;

describe('a route service', () => {
  it('gets the request first, signed; with the signature it reaches the app', async () => {
    await using router = await TestRouter.start({ route_services: { secret: 'one' } });
    await using app = await RawBackend.answering(OK);
    await using service = await RawBackend.answering(OK);
    // The service is a route of the same router: it is reached directly.
    await router.register({ host: '127.0.0.1', port: service.port, uris: ['service.test'] });
    await router.register({
      host: '127.0.0.1',
      port: app.port,
      uris: ['bound.test'],
      route_service_url: 'https://service.test/hook',
    });
    await talk(router.port, get('bound.test', 'X-CF-Forwarded-Url: forged\r\n'));
    assert.equal(app.text, '');
    assert.match(service.text, /^GET \/hook HTTP\/1\.1\r\nHost: service\.test\r\n/);
    assert.match(service.text, /\r\nX-CF-Forwarded-Url: http:\/\/bound\.test\/a\?b\r\n/);
    const lines = [...service.text.matchAll(/X-CF-(Forwarded-Url|Proxy-Signature|Proxy-Metadata): .*\r\n/g)]
      .map((match) => match[0])
      .join('');
    assert.match(await talk(router.port, get('bound.test', lines)), /^HTTP\/1\.1 200 /);
    assert.match(app.text, /^GET \/a\?b HTTP\/1\.1\r\n/);
    assert.ok(!/x-cf-proxy/i.test(app.text));
    const refused = [
      lines.replace(/Signature: ..../, 'Signature: AAAA'),
      lines.replace('/a?b', '/admin'),
      'X-CF-Proxy-Signature: x\r\n',
    ];
    for (const bad of refused)
      assert.match(
        await talk(router.port, get('bound.test', bad)),
        /^HTTP\/1\.1 400 [^]*invalid_route_service_signature/,
      );
    assert.match(await talk(router.port, get('bound.test', lines, '/admin')), /^HTTP\/1\.1 400 /);
    assert.match(
      await talk(
        router.port,
        'GET / HTTP/1.1\r\nHost: bound.test\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n',
      ),
      /^HTTP\/1\.1 503 [^]*route_service_unsupported/,
    );
  });

  it('is a 502 where route services are off', async () => {
    await using router = await TestRouter.start();
    await router.register({
      host: '127.0.0.1',
      port: 1,
      uris: ['bound.test'],
      route_service_url: 'https://service.test',
    });
    assert.match(await talk(router.port, get('bound.test')), /^HTTP\/1\.1 502 [^]*route_service_unsupported/);
  });

  it('has 60 s to send the request back, and may use the secret before last', () => {
    const old = new RouteServices({ secret: 'old', timeout_s: 60, hairpin: true });
    const now = new RouteServices({ secret: 'new', previous_secret: 'old', timeout_s: 60, hairpin: true });
    const { lines } = old.call('https://s.test', 'http://a.test/', 0);
    const head = new RequestHead();
    head.proxySignature = /Signature: (\S+)/.exec(lines)?.[1] ?? '';
    head.proxyMetadata = /Metadata: (\S+)/.exec(lines)?.[1] ?? '';
    assert.equal(now.verify(head, 'http://a.test/', 59_000), undefined);
    assert.equal(now.verify(head, 'http://a.test/', 61_000)?.status, 504);
    assert.equal(
      new RouteServices({ secret: 'new', timeout_s: 60, hairpin: true }).verify(head, 'http://a.test/', 0)?.status,
      400,
    );
  });
});
