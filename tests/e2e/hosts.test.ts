import assert from 'node:assert/strict';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

/** Takes a little for each answer, ends when told to, and lets go of what it has begun when it is asked to leave. */
const SERVER = `
import os, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            # Answered first: a request without an answer is tried again on the other instance, which would crash as well.
            threading.Timer(0.1, lambda: os._exit(3)).start()
        time.sleep(0.02)
        body = (os.environ["CF_INSTANCE_INDEX"] + " " + os.environ["CF_INSTANCE_GUID"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(ThreadingHTTPServer):
    daemon_threads = False

server = Server(("", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
`;
const APP = 'hosts-app';
const LOADERS = 3;
const PAUSE_MS = 20;

interface Failure {
  at_ms: number;
  what: string;
}

describe('hosts in trouble under load', () => {
  let platform: TestPlatform;
  let folder: string;
  before(async () => {
    platform = await TestPlatform.start();
    folder = await platform.folder({ 'server.py': SERVER, Procfile: 'web: python3 server.py\n' });
    await platform.mustCf(['push', APP, '-m', '32M', '-k', '64M', '-i', '2', '-b', 'binary_buildpack'], {
      cwd: folder,
    });
    await whole(2);
  });
  after(async () => {
    await platform.cf(['delete', APP, '-f', '-r']);
    await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  /** Its instances as the platform tells them: state and DEA of each. */
  async function instances(): Promise<{ state: string; dea: string }[]> {
    const { output } = await platform.ingot(['status']);
    return [...output.matchAll(new RegExp(`${APP}/web/\\d+ +(\\S+) +(\\S+)`, 'g'))].map((match) => ({
      state: match[1] ?? '',
      dea: match[2] ?? '',
    }));
  }

  /** A DEA that holds instances, and how many. */
  async function busyDea(): Promise<{ dea: string; count: number }> {
    const all = await instances();
    const dea = all[0]?.dea ?? '';
    return { dea, count: all.filter((instance) => instance.dea === dea).length };
  }

  async function whole(count: number): Promise<void> {
    let all: unknown;
    try {
      await eventually(
        `${count} instances run, and no more`,
        async () => {
          const seen = await instances();
          all = seen;
          return seen.length === count && seen.every(({ state }) => state === 'RUNNING');
        },
        90,
      );
    } catch (error) {
      throw new Error(`${count} instances wanted, there are ${JSON.stringify(all)}`, { cause: error });
    }
  }

  /** Asks the app all the while; returns what was not answered with 200. */
  async function underLoad(work: () => Promise<void>): Promise<Failure[]> {
    const over = new AbortController();
    const began = performance.now();
    const failures: Failure[] = [];
    let answered = 0;
    const load = async (): Promise<void> => {
      while (!over.signal.aborted) {
        try {
          const { status, headers, body } = await platform.get(APP);
          if (status === 200) answered += 1;
          else fail(`${status} ${String(headers['x-cf-routererror'] ?? '')} ${body.slice(0, 100)}`);
        } catch (error) {
          fail(String(error));
        }
        await sleep(PAUSE_MS);
      }
    };
    const fail = (what: string): void => void failures.push({ at_ms: Math.round(performance.now() - began), what });
    const loaders = Array.from({ length: LOADERS }, load);
    try {
      await work();
    } finally {
      over.abort();
      await Promise.all(loaders);
    }
    assert.ok(answered > 0);
    return failures.length > 10
      ? [...failures.slice(0, 10), { at_ms: 0, what: `${failures.length} in all` }]
      : failures;
  }

  it('a crash of one of two instances costs only the request that crashed it', async () => {
    const failures = await underLoad(async () => {
      await platform.get(APP, '/crash');
      await sleep(1_000);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('kill -9 of each process of the platform goes unnoticed, and nothing moves', async () => {
    for (const name of ['control', 'warden', 'dea', 'dea-1', 'nats', 'postgres']) {
      const guids = await serving(2);
      const pid = platform.pidOf(name);
      const failures = await underLoad(async () => {
        process.kill(pid, 'SIGKILL');
        await eventually(`${name} is back`, () => platform.pidOf(name) !== pid, 60);
        // Longer than a DEA may be silent.
        await sleep(8_000);
        await whole(2);
      });
      assert.deepEqual(failures, [], `after ${name} was killed`);
      assert.deepEqual(await serving(2), guids, `after ${name} was killed`);
    }
  });

  it('a DEA that stands still has its instances started elsewhere, and when it goes on the surplus is stopped', async (t) => {
    const { dea, count } = await busyDea();
    const pid = platform.pidOf(dea);
    const failures = await underLoad(async () => {
      process.kill(pid, 'SIGSTOP');
      const stoppedAt = performance.now();
      try {
        await serving(2 + count);
        t.diagnostic(`served elsewhere after ${((performance.now() - stoppedAt) / 1000).toFixed(1)} s`);
        await sleep(3_000);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('a DEA is evacuated without a dropped request', async () => {
    const { dea } = await busyDea();
    const pid = platform.pidOf(dea);
    const failures = await underLoad(async () => {
      process.kill(pid, 'SIGUSR2');
      await eventually('it left and is back', () => platform.pidOf(dea) !== pid, 120);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('scaling up and down drops no request', async () => {
    const failures = await underLoad(async () => {
      await platform.mustCf(['scale', APP, '-i', '4']);
      await whole(4);
      await platform.mustCf(['scale', APP, '-i', '1']);
      await whole(1);
      await platform.mustCf(['scale', APP, '-i', '2']);
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  it('a rolling push drops no request', async () => {
    await appendFile(join(folder, 'server.py'), '# another version\n');
    const failures = await underLoad(async () => {
      const args = [
        'push',
        APP,
        '-m',
        '32M',
        '-k',
        '64M',
        '-i',
        '2',
        '-b',
        'binary_buildpack',
        '--strategy',
        'rolling',
      ];
      await platform.mustCf(args, { cwd: folder });
      await whole(2);
    });
    assert.deepEqual(failures, []);
  });

  /** Guids of the instances that answer, once there are so many. */
  async function serving(count: number): Promise<string[]> {
    return await eventually(
      `${count} instances answer`,
      async () => {
        const seen = new Set<string>();
        for (let n = 0; n < count * 8; n++) {
          const { status, body } = await platform.get(APP);
          if (status === 200) seen.add(body.split(' ')[1] ?? '');
        }
        return seen.size === count && [...seen].toSorted();
      },
      60,
    );
  }
});
