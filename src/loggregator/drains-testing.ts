/** For tests of drains: a list of the test's own, and a certificate that vouches for itself. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import type { DrainTarget } from './drain-list.ts';
import { Drains, type DrainsOptions } from './drains.ts';

export const target = (url: string, change: Partial<DrainTarget> = {}): DrainTarget => ({
  url,
  app_id: 'app',
  hostname: 'org.space.app',
  cert: '',
  key: '',
  ca: '',
  ...change,
});

/** The drains with a list of the test's own. */
export async function drainsOf(
  targets: DrainTarget[],
  change: Partial<DrainsOptions> = {},
): Promise<{ drains: Drains; targets: DrainTarget[]; losses: string[] } & AsyncDisposable> {
  const losses: string[] = [];
  const drains = new Drains({
    fetch: async () => targets,
    clock: systemClock,
    log: silentLog,
    poll_ms: 1_000_000,
    buffer_bytes: 1024 * 1024,
    timeout_ms: 5_000,
    first_retry_ms: 10,
    max_retry_ms: 50,
    blocked_networks: [],
    tell_ms: 20,
    onLost: (app_id, count, why) => void losses.push(`${app_id} ${count} ${why}`),
    ...change,
  });
  await drains.poll();
  return { drains, targets, losses, [Symbol.asyncDispose]: async () => await drains[Symbol.asyncDispose]() };
}

/** A certificate for `localhost` that vouches for itself. */
export async function certificate(): Promise<{ cert: string; key: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'ingot-drain-tls-'));
  try {
    const at = (name: string): string => join(folder, name);
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    execFileSync(
      'openssl',
      ['req', '-x509', ...curve, ...name, '-days', '2', '-keyout', at('key'), '-out', at('cert')],
      {
        stdio: 'ignore',
      },
    );
    return { cert: await readFile(at('cert'), 'utf8'), key: await readFile(at('key'), 'utf8') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
