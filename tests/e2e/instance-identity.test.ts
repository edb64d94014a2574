import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

const APP = 'sealed';
const DOMAIN = 'identity.test';
const SERVER = `
import os, ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"by TLS alone"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["CF_INSTANCE_CERT"], os.environ["CF_INSTANCE_KEY"])
server = ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
`;

describe('an instance that proves who it is', () => {
  let platform: TestPlatform;
  let folder: string;
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder({ 'server.py': SERVER, Procfile: 'web: python3 server.py\n' });
  });
  after(async () => {
    await platform.cf(['delete', APP, '-f', '-r']);
    await platform.cf(['delete-shared-domain', DOMAIN, '-f']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** What the router answers over HTTPS to whoever has these credentials. */
  async function ask(host: string, credentials: { cert?: string; key?: string }): Promise<number> {
    const { https_port } = JSON.parse(readFileSync(join(platform.home, 'run/reach.json'), 'utf8')) as {
      https_port: number;
    };
    const ca = readFileSync(join(platform.home, 'certificates/ca.crt'), 'utf8');
    return await new Promise((done, reject) => {
      request(
        {
          host: '127.0.0.1',
          port: https_port,
          servername: `app.${platform.domain}`,
          ca,
          headers: { host },
          agent: false,
          ...credentials,
        },
        (response) => response.resume().once('end', () => done(response.statusCode ?? 0)),
      )
        .once('error', reject)
        .end();
    });
  }

  it('is reached by TLS when it says that it speaks it', async () => {
    await platform.mustCf(['push', APP, '-m', '64M', '-k', '64M', '-b', 'binary_buildpack', '--no-start'], {
      cwd: folder,
    });
    await platform.mustCf(['set-env', APP, 'CF_INSTANCE_TLS', 'true']);
    await platform.mustCf(['start', APP]);
    const { status, body } = await platform.get(APP);
    assert.deepEqual([status, body], [200, 'by TLS alone']);
  });

  it('is let through to a route whose policy names its app, as nobody else is', async () => {
    const read = async (name: string): Promise<string> => await platform.mustCf(['ssh', APP, '-c', `cat "$${name}"`]);
    const credentials = { cert: await read('CF_INSTANCE_CERT'), key: await read('CF_INSTANCE_KEY') };
    await platform.mustCf(['create-shared-domain', DOMAIN, '--enforce-route-policies']);
    await platform.mustCf(['map-route', APP, DOMAIN, '-n', 'back']);
    const host = `back.${DOMAIN}`;
    await eventually('the router knows the route', async () => (await ask(host, {})) === 403);
    assert.equal(await ask(host, credentials), 403);
    await platform.mustCf(['add-route-policy', DOMAIN, '-n', 'back', '--source-app', APP]);
    await eventually('the router knows the policy', async () => (await ask(host, credentials)) === 200);
    assert.equal(await ask(host, {}), 403);
  });
});
