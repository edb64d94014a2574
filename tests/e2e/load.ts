import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestPlatform } from './platform.ts';

/** Takes a little for each answer, ends when told to, and lets go of what it has begun when it is asked to leave. */
export const SERVER = `
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
/** Beside `--strategy` and its kind: how such an app is pushed. */
export const PUSH_ARGS = ['-m', '32M', '-k', '64M', '-i', '2', '-b', 'binary_buildpack'];
export const FILES = { 'server.py': SERVER, Procfile: 'web: python3 server.py\n' };

const LOADERS = 3;
const PAUSE_MS = 20;

export interface Failure {
  /** By the clock of performance.now(), so that it can be told what was in flight when. */
  began_ms: number;
  took_ms: number;
  what: string;
}

export interface Load {
  failures: Failure[];
  answered: number;
  slowest_ms: number;
}

/** Asks an app all the while; what was not answered with 200 is a failure. */
export async function underLoad(platform: TestPlatform, app: string, work: () => Promise<void>): Promise<Load> {
  const over = new AbortController();
  const load: Load = { failures: [], answered: 0, slowest_ms: 0 };
  const ask = async (): Promise<string | undefined> => {
    try {
      const { status, headers, body } = await platform.get(app);
      return status === 200
        ? undefined
        : `${status} ${String(headers['x-cf-routererror'] ?? '')} ${body.slice(0, 100)}`;
    } catch (error) {
      return String(error);
    }
  };
  const loader = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const began_ms = performance.now();
      const what = await ask();
      const took_ms = performance.now() - began_ms;
      load.slowest_ms = Math.max(load.slowest_ms, took_ms);
      if (what === undefined) load.answered += 1;
      else load.failures.push({ began_ms, took_ms, what });
      await sleep(PAUSE_MS);
    }
  };
  const loaders = Array.from({ length: LOADERS }, loader);
  try {
    await work();
  } finally {
    over.abort();
    await Promise.all(loaders);
  }
  assert.ok(load.answered > 0);
  return load;
}
