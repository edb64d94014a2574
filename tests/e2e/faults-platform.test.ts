import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

const run = promisify(execFile);

/** Says which instance it is, and ends when it is told to. */
const SERVER = `
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["CF_INSTANCE_INDEX"].encode())

ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`;
const SILENCE_MS = 30_000;
const STEADY = 'fault-steady';
const BROKEN = 'fault-broken';
const PUSHED = 'fault-push';

describe('a platform at fault', () => {
  let platform: TestPlatform;
  let folder: string;

  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder({ 'server.py': SERVER, Procfile: 'web: python3 server.py\n' });
    await platform.mustCf(['push', STEADY, '-m', '32M', '-i', '2', '-b', 'binary_buildpack'], { cwd: folder });
    await platform.mustCf(['push', BROKEN, '-m', '32M', '-b', 'binary_buildpack'], { cwd: folder });
    await untilWhole();
  });
  after(async () => {
    for (const app of [STEADY, BROKEN, PUSHED]) await platform.cf(['delete', app, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  async function untilWhole(): Promise<void> {
    await eventually(
      'all instances run, by what the API says and by what answers',
      async () => {
        const seen = new Set<string>();
        for (let n = 0; n < 8; n++) seen.add((await platform.get(STEADY)).body);
        if (seen.size < 2 || (await platform.get(BROKEN)).status !== 200) return false;
        return (
          /instances: +2\/2/.test(await platform.mustCf(['app', STEADY])) &&
          /instances: +1\/1/.test(await platform.mustCf(['app', BROKEN]))
        );
      },
      90,
    );
  }

  /** Makes routes one after the other while something goes on; those that the API acknowledged must all be there afterwards. */
  async function loseNothingDuring(label: string, work: () => Promise<void>): Promise<void> {
    const token = (await platform.mustCf(['oauth-token'])).trim();
    const list = async (kind: string): Promise<string> => {
      const answer = await platform.api(`/v3/${kind}?per_page=1`, { token });
      return (JSON.parse(answer.body) as { resources: { guid: string }[] }).resources[0]?.guid ?? '';
    };
    const relationships = {
      space: { data: { guid: await list('spaces') } },
      domain: { data: { guid: await list('domains') } },
    };
    const run_id = randomUUID().slice(0, 8);
    const over = new AbortController();
    const acknowledged = new Map<string, string>();
    const answers = new Map<number | string, number>();
    const writing = (async () => {
      for (let n = 0; !over.signal.aborted; n++) {
        const host = `${label}-${run_id}-${n}`;
        const json = { host, relationships };
        const answer = await platform
          .api('/v3/routes', { method: 'POST', json, token })
          .catch((error: unknown) => error);
        const isAnswer = typeof answer === 'object' && answer !== null && 'status' in answer && 'body' in answer;
        const status = isAnswer ? Number(answer.status) : String(answer);
        answers.set(status, (answers.get(status) ?? 0) + 1);
        if (isAnswer && status === 201)
          acknowledged.set(host, (JSON.parse(String(answer.body)) as { guid: string }).guid);
        // As many as an org may have would soon be there.
        await sleep(100);
      }
    })();
    try {
      await work();
      const before = acknowledged.size;
      await eventually('the API takes writes again', () => acknowledged.size > before + 3, 60).catch(
        (error: unknown) => {
          throw new Error(`answers so far: ${JSON.stringify([...answers])}`, { cause: error });
        },
      );
    } finally {
      over.abort();
      await writing;
    }
    // It waits or says that it cannot now; it never says that a request was wrong.
    const wrong = [...answers.keys()].filter((status) => ![201, 500, 502, 503, 504].includes(Number(status)));
    assert.deepEqual(wrong, [], JSON.stringify([...answers]));
    const hosts = [...acknowledged.keys()];
    for (let at = 0; at < hosts.length; at += 50) {
      const some = hosts.slice(at, at + 50);
      const answer = await platform.api(`/v3/routes?per_page=100&hosts=${some.join(',')}`, { token });
      const { resources } = JSON.parse(answer.body) as { resources: { host: string }[] };
      assert.deepEqual(new Set(resources.map(({ host }) => host)), new Set(some));
    }
    for (const guid of acknowledged.values()) await platform.api(`/v3/routes/${guid}`, { method: 'DELETE', token });
  }

  /** All processes of one of the platform's servers. */
  async function familyOf(name: string): Promise<number[]> {
    const parent = platform.pidOf(name);
    const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(parent)]).catch(() => ({ stdout: '' }));
    return [
      parent,
      ...stdout
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map(Number),
    ];
  }

  for (const [name, what] of [
    ['postgres', 'PostgreSQL'],
    ['nats', 'NATS'],
  ] as const) {
    it(`serves all apps while ${what} is silent for 30 seconds, loses nothing, and mends what broke meanwhile`, async () => {
      await untilWhole();
      await loseNothingDuring(`silent-${name}`, async () => {
        const failures = await platform.failuresDuring(STEADY, async () => {
          const stopped = await familyOf(name);
          for (const pid of stopped) process.kill(pid, 'SIGSTOP');
          try {
            await platform.get(BROKEN, '/crash').catch(() => {});
            await sleep(SILENCE_MS);
          } finally {
            for (const pid of stopped) process.kill(pid, 'SIGCONT');
          }
        });
        assert.deepEqual(failures, []);
      });
      await untilWhole();
    });

    it(`serves all apps when ${what} is killed, and loses nothing`, async () => {
      await untilWhole();
      await loseNothingDuring(`killed-${name}`, async () => {
        const failures = await platform.failuresDuring(STEADY, async () => {
          const pid = platform.pidOf(name);
          process.kill(pid, 'SIGKILL');
          await eventually('it is started again', () => platform.pidOf(name) !== pid);
          await platform.get(BROKEN, '/crash').catch(() => {});
        });
        assert.deepEqual(failures, []);
      });
      await untilWhole();
    });
  }

  for (const name of ['control', 'router', 'warden', 'dea', 'dea-1', 'nats', 'postgres']) {
    it(`takes a second push when ${name} is killed during a first`, async () => {
      const args = ['push', PUSHED, '-m', '32M', '-b', 'binary_buildpack'];
      const env = { CF_STAGING_TIMEOUT: '1', CF_STARTUP_TIMEOUT: '1' };
      const first = platform.begin(args, { cwd: folder, env });
      await eventually('the push is about to stage', () => first.output().includes('Staging app and tracing logs'), 60);
      const pid = platform.pidOf(name);
      process.kill(pid, 'SIGKILL');
      await eventually('it is started again', () => platform.pidOf(name) !== pid);
      const { exit_status, output } = await first.outcome;
      // Either it went through all the same, or it says that it did not.
      assert.match(output, exit_status === 0 ? /instances: +1\/1/ : /^FAILED$/m);
      await eventually('the API is back', async () => (await platform.cf(['apps'])).exit_status === 0, 60);
      await platform.mustCf(args, { cwd: folder, env });
      assert.equal((await platform.get(PUSHED)).status, 200);
    });
  }
});
