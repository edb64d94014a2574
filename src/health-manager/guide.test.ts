import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { TestNats } from '#testing/nats.ts';
import { HealthManagerConfig } from './config.ts';
import { start } from './main.ts';
import { simulatedCloudController } from './testing.ts';

const root = resolve(import.meta.dirname, '../..');
const guide = readFileSync(resolve(root, 'docs/guides/operating-health.md'), 'utf8');

/** Names in the first column of a section's tables. */
function namesIn(section: string): string[] {
  const text = guide.split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  const cells = [...text.matchAll(/^\| ([^|]*`[^|]*) \|/gm)].map(([, cell]) => cell ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? ''));
}

describe('the guide to the health manager', () => {
  it('names every figure that a running one has, and no other', async () => {
    await using nats = await TestNats.start();
    await using cc = await simulatedCloudController([]);
    const login = { user: 'u', password: 'p' };
    const config = HealthManagerConfig.parse({
      nats_servers: [nats.url],
      cc_url: cc.url,
      internal_api: { user: 'internal', password: 'secret' },
      status: login,
    });
    await using manager = await start(config, { log: silentLog, clock: systemClock });
    const read = async (path: string): Promise<string> => {
      const headers = { authorization: basicAuthHeader(login) };
      return await (await fetch(`http://${manager.addresses['status']}${path}`, { headers })).text();
    };
    const named = namesIn('Figures').map((name) => name.replace(/\{.*/, ''));
    assert.ok(named.length > 20);
    const metrics = await read('/metrics');
    const inMetrics = [...metrics.matchAll(/^# TYPE (hm9000_\S+)/gm)].map(([, name]) => name ?? '');
    const metricOf = (name: string): string =>
      name.startsWith('hm9000_')
        ? name
        : `hm9000_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).slice(1)}`;
    assert.deepEqual(named.map(metricOf).toSorted(), inMetrics.toSorted());
    const varz = JSON.parse(await read('/varz')) as Record<string, unknown>;
    const figures = named.filter((name) => !name.startsWith('hm9000_'));
    assert.deepEqual(
      figures.filter((name) => typeof varz[name] !== 'number'),
      [],
    );
  });

  it('names log lines that are written', () => {
    const source = globSync(['src/health-manager/*.ts', 'src/bus/*.ts', 'src/cloud-controller/*.ts'], { cwd: root })
      .map((file) => readFileSync(resolve(root, file), 'utf8'))
      .join('\n');
    const lines = namesIn('Log lines');
    assert.ok(lines.length > 5);
    assert.deepEqual(
      lines.filter((line) => !source.includes(`'${line}'`)),
      [],
    );
  });

  it('names settings that there are', () => {
    const settings = Object.keys(HealthManagerConfig.shape);
    const named = (guide.split('\n## How long things take')[1]?.split('\n## ')[0] ?? '').matchAll(/`([a-z_]+)`/g);
    const unknown = [...named].map(([, name]) => name ?? '').filter((name) => !settings.includes(name));
    assert.deepEqual(unknown, []);
  });
});
