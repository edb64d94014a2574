import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect, createServer, type ConnectionOptions, type TlsOptions } from 'node:tls';
import { portOf, RawBackend, talk, TestRouter } from './testing.ts';
import { Certificates } from './testing-certificates.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('TLS by configuration', () => {
  const certificates = new Certificates();
  let own: { cert_file: string; key_file: string };
  let client: { cert_file: string; key_file: string };
  before(() => {
    own = certificates.make('own', 'tls.test');
    client = certificates.make('client', 'client.test');
  });
  after(() => {
    certificates[Symbol.dispose]();
  });
  const keyPair = (files: { cert_file: string; key_file: string }): { cert: string; key: string } => ({
    cert: readFileSync(files.cert_file, 'utf8'),
    key: readFileSync(files.key_file, 'utf8'),
  });

  /** Version and cipher of a connection, or `refused`. */
  const meet = async (router: TestRouter, options: ConnectionOptions): Promise<[string, string] | 'refused'> => {
    const port = portOf(router.addresses['https'] ?? '');
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    try {
      await once(socket, 'secureConnect');
      return [socket.getProtocol() ?? '', socket.getCipher().name];
    } catch {
      return 'refused';
    } finally {
      socket.destroy();
    }
  };

  it('takes no version below the least, and none of the ciphers that are not listed', async () => {
    await using modern = await TestRouter.start({ tls: { port: 0, certificates: [own], min_version: 'TLSv1.3' } });
    assert.equal(await meet(modern, { maxVersion: 'TLSv1.2' }), 'refused');
    assert.equal((await meet(modern, {}))[0], 'TLSv1.3');
    const ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256';
    await using picky = await TestRouter.start({ tls: { port: 0, certificates: [own], ciphers } });
    assert.equal(await meet(picky, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }), 'refused');
    assert.deepEqual(await meet(picky, { maxVersion: 'TLSv1.2' }), ['TLSv1.2', ciphers]);
  });

  it('X-Forwarded-Client-Cert by its mode', async () => {
    const shown = readFileSync(client.cert_file, 'utf8').replaceAll(/-----.*-----|\s/g, '');
    for (const [mode, expected] of [
      // Of a client that proved who it is, and of one that did not.
      ['always_forward', ['said', 'said']],
      ['forward', ['said', undefined]],
      ['sanitize_set', [shown, undefined]],
    ] as const) {
      const tls = { port: 0, certificates: [own], client_ca_file: client.cert_file };
      await using router = await TestRouter.start({ tls, forwarded_client_cert: mode });
      await using backend = await RawBackend.answering(OK);
      await router.register({ host: '127.0.0.1', port: backend.port, uris: ['tls.test'] });
      for (const [at, pair] of [keyPair(client), {}].entries()) {
        const before = backend.text.length;
        const port = portOf(router.addresses['https'] ?? '');
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...pair });
        socket.write('GET / HTTP/1.1\r\nHost: tls.test\r\nX-Forwarded-Client-Cert: said\r\nConnection: close\r\n\r\n');
        socket.resume();
        await once(socket, 'close');
        const heard = /\r\nX-Forwarded-Client-Cert: (.*)\r\n/i.exec(backend.text.slice(before))?.[1];
        assert.equal(heard, expected[at], `${mode}, ${at === 0 ? 'with' : 'without'} a certificate`);
      }
    }
  });

  it('lets apps through by the policies of the route alone, when they prove who they are', async () => {
    const [app, other, space, organization] = ['a', 'b', 'c', 'd'].map(
      (digit) => `${digit.repeat(8)}-0000-4000-8000-${digit.repeat(12)}`,
    ) as [string, string, string, string];
    const caller = certificates.makeInstance({ app, space, organization });
    const tls = { port: 0, certificates: [own], client_ca_file: caller.cert_file };
    await using router = await TestRouter.start({ tls });
    await using backend = await RawBackend.answering(OK);
    const ask = async (pair: object): Promise<string | undefined> => {
      const port = portOf(router.addresses['https'] ?? '');
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...pair });
      let heard = '';
      socket.on('data', (bytes: Buffer) => (heard += bytes.toString()));
      socket.write('GET / HTTP/1.1\r\nHost: tls.test\r\nConnection: close\r\n\r\n');
      await once(socket, 'close');
      return /^HTTP\/1.1 (\d+)/.exec(heard)?.[1];
    };
    const tags = { space_id: space, organization_id: organization };
    for (const [route_policy_scope, route_policy_sources, elsewhere, expected] of [
      ['any', undefined, {}, '403'],
      ['any', `cf:app:${other}`, {}, '403'],
      ['any', `cf:app:${other},cf:app:${app}`, {}, '200'],
      ['any', `cf:space:${space}`, {}, '200'],
      ['any', `cf:org:${organization}`, {}, '200'],
      ['any', 'cf:any', {}, '200'],
      ['org', 'cf:any', {}, '200'],
      ['org', `cf:app:${app}`, { organization_id: other }, '403'],
      ['space', 'cf:any', {}, '200'],
      ['space', 'cf:any', { space_id: other }, '403'],
    ] as const) {
      const options = { route_policy_scope, ...(route_policy_sources && { route_policy_sources }) };
      const route = { host: '127.0.0.1', port: backend.port, uris: ['tls.test'], options };
      await router.register({ ...route, tags: { ...tags, ...elsewhere } });
      assert.equal(await ask(keyPair(caller)), expected, `${route_policy_scope} ${route_policy_sources}`);
      assert.equal(await ask({}), '403', 'a caller that proves nothing');
    }
  });

  /** What a router answers for a TLS endpoint with these options. */
  const answerOf = async (options: TlsOptions, backend_tls: object): Promise<string> => {
    await using router = await TestRouter.start({ backend_tls });
    const server = createServer(options, (socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write(OK));
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const tls_port = (server.address() as AddressInfo).port;
    const route = { host: '127.0.0.1', tls_port, uris: ['tls.test'], server_cert_domain_san: 'tls.test' };
    await router.register(route);
    const answer = await talk(router.port, 'GET / HTTP/1.1\r\nHost: tls.test\r\nConnection: close\r\n\r\n');
    await router.unregister(route);
    server.close();
    return answer;
  };

  it('an endpoint that is not trusted is a 526, one that wants a certificate of the router a 496', async () => {
    assert.match(await answerOf(keyPair(own), {}), /^HTTP\/1\.1 526 [^]*X-Cf-RouterError: endpoint_failure \(x509: /);
    const strict = { ...keyPair(own), ca: keyPair(client).cert, requestCert: true, rejectUnauthorized: true };
    assert.match(await answerOf(strict, { ca_file: own.cert_file }), /^HTTP\/1\.1 496 /);
    assert.match(await answerOf(strict, { ca_file: own.cert_file, ...client }), /^HTTP\/1\.1 200 /);
  });
});
