/**
 * The figures that README quotes of the whole platform, each from a real run on a platform made for it: prints one Markdown
 * table and writes `bench/results.json`. Absolute figures are of the machine they were measured on.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '#testing/free-port.ts';
import { TestPlatform } from '../tests/e2e/platform.ts';

interface Figure {
  what: string;
  aim: string;
  unit: 's' | 'ms' | 'MB';
  samples: number[];
}

const figures: Figure[] = [];
const record = (what: string, unit: Figure['unit'], aim: string, samples: number[]): void =>
  void figures.push({ what, unit, aim, samples });

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

async function repeat(times: number, work: () => Promise<number>): Promise<number[]> {
  const samples: number[] = [];
  for (let n = 0; n < times; n++) samples.push(await work());
  return samples;
}

async function serves(platform: TestPlatform, host: string): Promise<boolean> {
  try {
    return (await platform.get(host)).status === 200;
  } catch {
    return false;
  }
}

async function untilServes(platform: TestPlatform, host: string, expected = true): Promise<void> {
  while ((await serves(platform, host)) !== expected) await sleep(5);
}

/** From the crash of the only instance until the route answers again. */
async function crashToServing(platform: TestPlatform, host: string): Promise<number> {
  await untilServes(platform, host);
  return await seconds(async () => {
    await platform.get(host, '/crash').catch(() => {});
    await untilServes(platform, host, false);
    await untilServes(platform, host);
  });
}

async function pushes(platform: TestPlatform, sample: string, aim: string): Promise<void> {
  const folder = await platform.sample(sample);
  const push = async (): Promise<number> =>
    await seconds(async () => await platform.mustCf(['push', sample, '-m', '128M'], { cwd: folder }));
  record(`push of samples/${sample}, cold`, 's', '', [await push()]);
  record(`push of samples/${sample}, warm`, 's', aim, await repeat(3, push));
  await rm(folder, { recursive: true });
}

async function measure(platform: TestPlatform): Promise<void> {
  record(
    'boot, everything in place',
    's',
    '≤ 10',
    await repeat(2, async () => {
      await platform.ingot(['down']);
      return await seconds(async () => await platform.ingot(['up', '--detach']));
    }),
  );
  await sleep(10_000);
  const { output } = await platform.ingot(['status']);
  for (const [, name = '', mb] of output.matchAll(/^(\S+) +(?:up)? +\d* +(\d+) MB/gm)) {
    record(`resident at idle: ${name}`, 'MB', name === 'total' ? '≤ 400' : '', [Number(mb)]);
  }
  await pushes(platform, 'static', '≤ 5');
  await pushes(platform, 'node', '');
  record(
    'instance start of a known droplet (stop, then start until it answers)',
    'ms',
    '≤ 200',
    await repeat(5, async () => {
      await platform.mustCf(['stop', 'static']);
      await untilServes(platform, 'static', false);
      const guid = (await platform.mustCf(['app', 'static', '--guid'])).trim();
      const token = (await platform.mustCf(['oauth-token'])).trim();
      // Asked over HTTP: a command would add its own start-up.
      const started = performance.now();
      const path = `/v3/apps/${guid}/actions/start`;
      const { status } = await platform.api(path, { method: 'POST', token });
      if (status !== 200) throw new Error(`the start was answered ${status}`);
      await untilServes(platform, 'static');
      return performance.now() - started;
    }),
  );
  record(
    'crash of the only instance until it serves again',
    's',
    '≤ 1',
    await repeat(3, async () => await crashToServing(platform, 'node')),
  );
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const shown = (value: number, unit: Figure['unit']): string => `${value.toFixed(unit === 's' ? 2 : 0)} ${unit}`;

/** A clone without npm packages, a home without a stack: what a newcomer waits for, Debian packages aside. */
async function freshStart(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-fresh-'));
  const home = join(folder, 'home');
  const clone = join(folder, 'clone');
  chmodSync(folder, 0o755);
  mkdirSync(home);
  const settings = {
    name: 'itfresh',
    domain: 'fresh.localhost',
    http_port: await freePort(),
    https_port: await freePort(),
    network_pool: '10.251.0.0/20',
    host_ports: { first: 25_000, last: 25_900 },
    uid_start: 3_000_000_000,
    disk_mb: 8192,
    edit_hosts_file: false,
  };
  writeFileSync(join(home, 'platform.yml'), JSON.stringify(settings), { mode: 0o600 });
  execFileSync('git', ['clone', '-q', resolve(import.meta.dirname, '..'), clone]);
  const env = { ...process.env, INGOT_HOME: home };
  try {
    const started = performance.now();
    const output = execFileSync('npm', ['start', '--', '--detach'], {
      cwd: clone,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    record('fresh clone to first app served', 's', '≤ 120', [(performance.now() - started) / 1000]);
    for (const [, took = '', what = ''] of output.matchAll(/^ *(\d+\.\d) s {2}(.*)$/gm)) {
      if (Number(took) >= 1) record(`of it: ${what}`, 's', '', [Number(took)]);
    }
  } finally {
    execFileSync(join(clone, 'bin/ingot'), ['destroy', '--yes'], { env, stdio: 'ignore' });
    await rm(folder, { recursive: true, force: true });
  }
}

await freshStart();
await using platform = await TestPlatform.start();
await measure(platform);
console.log(`\n${cpus().length} × ${cpus()[0]?.model ?? ''}, ${Math.round(totalmem() / 1024 ** 3)} GB\n`);
console.log('| what | median | min–max | aim |\n| --- | ---: | --- | --- |');
for (const { what, unit, aim, samples } of figures) {
  const range = samples.length > 1 ? `${shown(Math.min(...samples), unit)} – ${shown(Math.max(...samples), unit)}` : '';
  console.log(`| ${what} | ${shown(median(samples), unit)} | ${range} | ${aim} |`);
}
writeFileSync(join(import.meta.dirname, 'results.json'), `${JSON.stringify(figures, undefined, 2)}\n`);
