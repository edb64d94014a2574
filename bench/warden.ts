/**
 * How fast containers are, each figure from a real run in less than a minute: `node bench/warden.ts [rounds] [--json FILE]`. Bare `crun run`
 * of the same stack, without disk limit, network or anything kept, runs in the same minutes for comparison.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WardenClient } from '#http/warden-client.ts';
import { testStack } from '#testing/stack.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 64 * MB, cpu_quota: 1 };
const HUNDRED = 100;
const MANY = 250;

const rounds = Number(process.argv[2] ?? 40) || 40;
const json_file = process.argv.includes('--json') ? process.argv[process.argv.indexOf('--json') + 1] : undefined;
const figures = new Map<string, number[]>();

async function measure<T>(name: string, work: () => Promise<T> | T): Promise<T> {
  const began = performance.now();
  const result = await work();
  figures.set(name, [...(figures.get(name) ?? []), performance.now() - began]);
  return result;
}

/** From the call until the first line of the process is in our hands, and back to nothing. */
async function oneContainer(client: WardenClient): Promise<void> {
  const began = performance.now();
  const { handle } = await measure('create', () =>
    client.create({
      stack: 'test',
      limits: LIMITS,
      net_in: [{ container_port: 8080 }],
      net_out: [{ protocol: 'all', destination: '0.0.0.0/0' }],
    }),
  );
  const job_id = await measure('spawn', () => client.spawn(handle, { args: ['/bin/echo', 'hi'] }));
  figures.set('create until the process runs', [
    ...(figures.get('create until the process runs') ?? []),
    performance.now() - began,
  ]);
  await client.link(handle, job_id);
  await measure('destroy', () => client.destroy(handle));
}

function bareBundle(folder: string, stack: string): void {
  const kinds = ['pid', 'ipc', 'uts', 'mount', 'network'];
  const spec = {
    ociVersion: '1.0.2',
    root: { path: stack, readonly: true },
    process: { user: { uid: 0, gid: 0 }, args: ['/bin/echo', 'hi'], env: [], cwd: '/', noNewPrivileges: true },
    mounts: [{ destination: '/proc', source: 'proc', type: 'proc' }],
    linux: { namespaces: kinds.map((type) => ({ type })), cgroupsPath: '/ingot-bench' },
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(spec));
}

/** The warden's mount namespace is where crun finds control groups that it takes. */
function bareRun(warden: TestWarden, folder: string): void {
  const crun = ['crun', `--root=${join(folder, 'state')}`, 'run', `--bundle=${folder}`, 'bench'];
  execFileSync('nsenter', [`--mount=/proc/${warden.pid}/ns/mnt`, '--', ...crun], { stdio: 'ignore' });
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const resident = (pid: number | undefined) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
await using warden = await TestWarden.start({
  disk_store: { size_mb: 8192 },
  host_port_pool: { first: 30_000, last: 32_700 },
});
bareBundle(folder, await testStack());
const { client } = warden;
await oneContainer(client); // compiles the filter
figures.clear();
for (let round = 0; round < rounds; round++) {
  await oneContainer(client);
  await measure('bare crun run', () => bareRun(warden, folder));
}

/** Proportional resident memory of all processes that hold containers, the daemon's and theirs. */
function heldBy(name: string): number {
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  const kb = pids.map((pid) => {
    try {
      const isOurs = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`ingot-warden/${name}/`);
      const isReaper = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/ingot-${name}/`);
      const pss = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
      return isOurs || isReaper ? Number(pss) : 0;
    } catch {
      return 0; // it has ended meanwhile
    }
  });
  return kb.reduce((sum, value) => sum + value, 0) / 1024;
}

const held_before_mb = heldBy(warden.name) + resident(warden.pid);
const began = performance.now();
const handles: string[] = [];
for (let n = 0; n < HUNDRED; n++) handles.push((await client.create({ stack: 'test', limits: LIMITS })).handle);
const hundred_s = (performance.now() - began) / 1000;
const daemon_mb = resident(warden.pid);
for (const handle of handles) await client.spawn(handle, { args: ['/bin/sleep', '1000'] });
const each_mb = (heldBy(warden.name) + resident(warden.pid) - held_before_mb) / HUNDRED;
const pids = await Promise.all(handles.map(async (handle) => (await client.info(handle)).memory_stat.usage));
await Promise.all(handles.map((handle) => client.destroy(handle)));

const many_began = performance.now();
const many = await Promise.all(
  Array.from({ length: MANY }, async () => {
    const { handle } = await client.create({ stack: 'test', limits: { ...LIMITS, disk_in_bytes: 16 * MB } });
    await client.spawn(handle, { args: ['/bin/sleep', '1000'] });
    return handle;
  }),
);
const many_s = (performance.now() - many_began) / 1000;
const standing = await Promise.all(many.map(async (handle) => (await client.info(handle)).state));
await Promise.all(many.map((handle) => client.destroy(handle)));
rmSync(folder, { recursive: true, force: true });

const bare_ms = quantile(figures.get('bare crun run') ?? [], 0.5);
console.log(`| of ${rounds} | median ms | p90 ms | to bare crun run |\n| --- | ---: | ---: | ---: |`);
for (const [name, values] of figures) {
  const [median, p90] = [quantile(values, 0.5), quantile(values, 0.9)];
  console.log(`| ${name} | ${median.toFixed(1)} | ${p90.toFixed(1)} | ${(median / bare_ms).toFixed(2)} × |`);
}
console.log(`\n${HUNDRED} containers one after another: ${hundred_s.toFixed(2)} s`);
console.log(
  `${MANY} at once, a process in each: ${many_s.toFixed(2)} s, ${standing.filter((state) => state === 'active').length} stand`,
);
console.log(`resident for each, with its conmon, its reaper and a sleep: ${each_mb.toFixed(2)} MB`);
console.log(`memory charged to each: ${(pids.reduce((sum, usage) => sum + usage, 0) / HUNDRED / MB).toFixed(2)} MB`);
console.log(`daemon resident: ${daemon_mb.toFixed(0)} MB`);
if (json_file !== undefined) {
  const median_ms = Object.fromEntries([...figures].map(([name, values]) => [name, quantile(values, 0.5)]));
  writeFileSync(json_file, JSON.stringify({ rounds, median_ms, hundred_s, many_s, each_mb, daemon_mb }));
}
