import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

/** An app that does harm when it is asked to. */
const SERVER = `
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = getattr(self, "on_" + self.path.strip("/"), lambda: "here")()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def on_eat(self):
        eaten = []
        while True:
            eaten.append(b"x" * 1024 * 1024)

    def on_fill(self):
        try:
            with open("junk", "wb") as junk:
                while True:
                    junk.write(b"x" * 1024 * 1024)
        except OSError as error:
            return error.strerror + ", " + str(os.path.getsize("junk"))

    def on_write(self):
        with open("some", "wb") as some:
            some.write(b"x" * 8 * 1024 * 1024)
        os.remove("some")
        return "written"

ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`;
const DISK = 64 * 1024 * 1024;

describe('apps at fault', () => {
  let platform: TestPlatform;
  let folder: string;
  const apps = ['fault-bystander', 'fault-glutton', 'fault-silent', 'fault-crashing'];

  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder({ 'server.py': SERVER, Procfile: 'web: python3 server.py\n' });
    for (const app of ['fault-bystander', 'fault-glutton']) {
      await platform.mustCf(['push', app, '-m', '64M', '-k', '64M', '-b', 'binary_buildpack'], { cwd: folder });
    }
  });
  after(async () => {
    for (const app of apps) await platform.cf(['delete', app, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** Does something while a neighbour is asked again and again; it must answer every time. */
  const unnoticed = async (work: () => Promise<void>): Promise<void> => {
    assert.deepEqual(await platform.failuresDuring('fault-bystander', work), []);
    assert.equal((await platform.get('fault-bystander', '/write')).body, 'written');
  };

  it('that never listen are given up after their time, and say why', async () => {
    const args = ['push', 'fault-silent', '-m', '32M', '-b', 'binary_buildpack', '-c', 'sleep 1000', '-t', '1'];
    const { exit_status, output } = await platform.cf(args, { cwd: folder });
    assert.equal(exit_status, 1, output);
    assert.match(output, /^Start unsuccessful$/m);
    assert.match(output, /^FAILED$/m);
    assert.match(output, /TIP: use 'cf logs fault-silent --recent' for more information/);
    await eventually('the reason in the log', async () =>
      /health check never passed/.test(await platform.mustCf(['logs', 'fault-silent', '--recent'])),
    );
    await eventually('the crash among its events', async () =>
      /app\.crash .*failed to accept connections within health check timeout/.test(
        await platform.mustCf(['events', 'fault-silent']),
      ),
    );
    await platform.mustCf(['stop', 'fault-silent']);
  });

  it('that crash at start are told with what they said and their exit status', async () => {
    const command = 'echo "no database to talk to" >&2; exit 3';
    const args = ['push', 'fault-crashing', '-m', '32M', '-b', 'binary_buildpack', '-c', command];
    const { exit_status, output } = await platform.cf(args, { cwd: folder });
    assert.equal(exit_status, 1, output);
    assert.match(output, /^Start unsuccessful$/m);
    assert.match(output, /^FAILED$/m);
    await eventually('what it said in the log', async () => {
      const logs = await platform.mustCf(['logs', 'fault-crashing', '--recent']);
      return /\[APP\/PROC\/WEB\/0\] ERR no database to talk to/.test(logs) && /Exit status 3/.test(logs);
    });
    await eventually('the crash among its events', async () =>
      /app\.crash .*[Ee]xited with status 3/.test(await platform.mustCf(['events', 'fault-crashing'])),
    );
    assert.match(await platform.mustCf(['app', 'fault-crashing']), /#0 +(crashed|down|starting)/);
    // It is tried again, later and later, and never given up; the platform is not kept busy.
    await platform.mustCf(['stop', 'fault-crashing']);
  });

  it('that eat all their memory are ended for that, said so, and started again, and nobody else notices', async () => {
    await unnoticed(async () => {
      const { status } = await platform.get('fault-glutton', '/eat');
      assert.equal(status, 502);
      await eventually('it is back', async () => (await platform.get('fault-glutton')).status === 200);
    });
    await eventually('the reason in the log', async () =>
      /Exit status 137 \(out of memory\)/.test(await platform.mustCf(['logs', 'fault-glutton', '--recent'])),
    );
    await eventually('the reason among its events', async () =>
      /app\.crash .*Exited with status 137 \(out of memory\)/.test(await platform.mustCf(['events', 'fault-glutton'])),
    );
  });

  it('that fill their disk reach their own limit, keep serving, and nobody else notices', async () => {
    await unnoticed(async () => {
      const { body } = await platform.get('fault-glutton', '/fill');
      assert.match(body, /^(Disk quota exceeded|No space left on device), \d+$/);
      const written = Number(body.split(', ')[1]);
      assert.ok(written > DISK / 4 && written <= DISK, body);
    });
    assert.equal((await platform.get('fault-glutton')).body, 'here');
    assert.match(await platform.mustCf(['app', 'fault-glutton']), /#0 +running .* 64M/);
  });
});
