import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { deaStop } from '#contracts/dea.ts';
import { eventually } from '#testing/eventually.ts';
import { dropletOf } from '../testing/sample-archives.ts';
import { sampleStart } from '../testing/sample-messages.ts';
import { testAuthority } from '../testing/test-authority.ts';
import { TestCell } from '../testing/test-cell.ts';

/** Serves by TLS with what it was given, once. */
const TLS_APP = `
import http.server, os, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ['CF_INSTANCE_CERT'], os.environ['CF_INSTANCE_KEY'])
server = http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
`;

describe('the identity of an instance', { skip: process.getuid?.() === 0 ? false : 'containers need root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-authority-'));
  let cell: TestCell;
  const files = testAuthority(folder);
  before(async () => {
    // So short a life that it is made anew all the while.
    cell = await TestCell.start({ instance_identity: { ...files, trusted_ca_files: [], validity_h: 6 / 3600 } });
    await eventually('an advertisement', () => cell.heard.advertisements.length > 0);
  });
  after(async () => {
    await cell[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it('is in its container, is made anew in time, and lets no other answer for it', async () => {
    const droplet = cell.controller.serve('/droplet', await dropletOf({ 'app/app.py': TLS_APP }));
    const start = sampleStart({
      start_command: 'python3 app.py',
      uris: ['shop.test'],
      env: [['CF_INSTANCE_TLS', 'true']],
      vcap_application: { application_id: 'app-1', space_id: 'space-1', organization_id: 'organization-1' },
      droplet_uri: droplet.uri,
      droplet_sha256: droplet.sha256,
    });
    assert.deepEqual(await cell.order(start), { accepted: true });
    const route = await eventually('it is registered', () => cell.heard.registered[0]);
    assert.equal(route.port, undefined);
    assert.equal(route.server_cert_domain_san, start.instance);

    const read = async (path: string): Promise<string> => {
      const { stdout } = await cell.warden.client.run(start.instance, { args: ['/bin/cat', path], cwd: '/' });
      return stdout ?? '';
    };
    const ca = readFileSync(files.ca_cert_file, 'utf8');
    assert.equal(await read('/etc/cf-system-certificates/trusted-ca-1.crt'), ca);
    const first = await read('/etc/cf-instance-credentials/instance.crt');
    const certificate = new X509Certificate(first);
    assert.ok(first.endsWith(ca));
    assert.match(certificate.subject, /OU=organization:organization-1\nOU=space:space-1\nOU=app:app-1\nCN=/);
    const address = cell.held(start.instance)?.container_ip;
    assert.equal(certificate.subjectAltName, `DNS:${start.instance}, IP Address:${address}`);
    await eventually('it has another', async () => (await read('/etc/cf-instance-credentials/instance.crt')) !== first);
    await eventually('key and certificate belong together', async () => {
      const key = createPrivateKey(await read('/etc/cf-instance-credentials/instance.key'));
      return new X509Certificate(await read('/etc/cf-instance-credentials/instance.crt')).checkPrivateKey(key);
    });

    const reach = async (servername: string): Promise<string | undefined> => {
      const socket = connect({ host: route.host, port: route.tls_port ?? 0, ca, servername });
      socket.on('error', () => {});
      try {
        await once(socket, 'secureConnect');
        return undefined;
      } catch (error) {
        return (error as { code?: string }).code;
      } finally {
        socket.destroy();
      }
    };
    // The app keeps what it has loaded, which is over after some seconds: then it is that, and never another's name, that is refused.
    const isExpiredOr = (code: string | undefined, expected: string | undefined): boolean =>
      code === expected || code === 'CERT_HAS_EXPIRED';
    assert.ok(isExpiredOr(await reach(start.instance), undefined));
    assert.ok(isExpiredOr(await reach('another-instance'), 'ERR_TLS_CERT_ALTNAME_INVALID'));

    cell.bus.publish(deaStop, { droplet: start.droplet });
    await eventually(
      'its credentials are gone',
      () => readdirSync(join(cell.folder, 'dea/identity/instances')).length === 0,
    );
    assert.deepEqual(cell.heard.unregistered[0]?.tls_port, route.tls_port);
  });
});
