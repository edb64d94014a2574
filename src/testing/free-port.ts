import { isPortFree } from '#platform/preflight.ts';

/** A TCP port of 127.0.0.1 that was free a moment ago, outside the range that outgoing connections take theirs from. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (await isPortFree('127.0.0.1', port)) return port;
  }
  throw new Error('no free port found');
}
