import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

/** Says who it is, and at /ask?NAME what another app says, or why not. */
const APP = `import http.server, os, urllib.request, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, name = self.path.partition('?')
        try:
            said = urllib.request.urlopen('http://%s:8080/' % name, timeout=2).read().decode() if path == '/ask' else \\
                os.environ['CF_INSTANCE_INDEX'] + ' of ' + os.environ['NAME']
        except Exception as error:
            said = 'refused: %s' % error
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())
http.server.ThreadingHTTPServer(('', 8080), Handler).serve_forever()
`;
const APPS = ['net-front', 'net-back'];

describe('container networking', () => {
  let platform: TestPlatform;
  let folder: string;
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder({ 'server.py': APP });
    const push = async (name: string, ...args: string[]) => {
      const manifest = ['-b', 'binary_buildpack', '-c', 'exec python3 server.py', '-m', '64M', '-k', '128M'];
      await platform.mustCf(['push', name, ...manifest, '--no-start', ...args], { cwd: folder });
      await platform.mustCf(['set-env', name, 'NAME', name]);
      await platform.mustCf(['start', name]);
    };
    await push('net-front');
    await push('net-back', '--no-route', '-i', '2', '-u', 'process');
  });
  after(async () => {
    for (const app of APPS) await platform.cf(['delete', app, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  const ask = async (name: string) => (await platform.get('net-front', `/ask?${name}`)).body;
  const until = async (what: string, name: string, said: RegExp) =>
    await eventually(what, async () => said.test(await ask(name)));

  it('gives an app a name that only containers know, and no way to it', async () => {
    assert.match(await ask('net-back.apps.internal'), /refused: .*not known/);
    await platform.mustCf(['map-route', 'net-back', 'apps.internal', '--hostname', 'net-back']);
    await until('its name is known', 'net-back.apps.internal', /refused: .*(Connection refused|timed out)/);
    assert.equal((await platform.get('net-back')).status, 404);
  });

  it('lets one app reach another by a policy, each of its instances by number, and not the other way round', async () => {
    const added = await platform.mustCf(['add-network-policy', 'net-front', 'net-back']);
    assert.match(
      added,
      /Adding network policy from app net-front to app net-back in org \S+ \/ space \S+ as \S+\.\.\.\nOK/,
    );
    await until('it is reached', 'net-back.apps.internal', /^[01] of net-back$/);
    for (const index of [0, 1]) assert.equal(await ask(`${index}.net-back.apps.internal`), `${index} of net-back`);
    assert.match(await ask('7.net-back.apps.internal'), /not known/);
    const listed = await platform.mustCf(['network-policies', '--source', 'net-front']);
    assert.match(
      listed,
      /source +destination +protocol +ports +destination space +destination org\nnet-front +net-back +tcp +8080 +\w/,
    );
  });

  it('holds when the daemons are killed, and for instances that come later', async () => {
    for (const name of ['warden', 'dea', 'control']) process.kill(platform.pidOf(name), 'SIGKILL');
    await until('it is reached', 'net-back.apps.internal', /^[01] of net-back$/);
    await eventually(
      'the API is back',
      async () => (await platform.cf(['scale', 'net-back', '-i', '3'])).exit_status === 0,
    );
    await until('the third is reached', '2.net-back.apps.internal', /^2 of net-back$/);
  });

  it('ends with the policy, and the name with the route', async () => {
    await platform.mustCf(['remove-network-policy', 'net-front', 'net-back', '--protocol', 'tcp', '--port', '8080']);
    await until('it is refused', 'net-back.apps.internal', /refused: .*(Connection refused|timed out)/);
    const again = await platform.cf(['remove-network-policy', 'net-front', 'net-back']);
    assert.match(again.output, /Policy does not exist\./);
    assert.equal(again.exit_status, 1);
    await platform.mustCf(['unmap-route', 'net-back', 'apps.internal', '--hostname', 'net-back']);
    await until('its name is gone', 'net-back.apps.internal', /not known/);
  });
});
