/**
 * How fast containers are, each figure from a real run in less than a minute: `node bench/warden.ts [rounds] [--json FILE]`. Bare `crun run`
 * of the same stack, without disk limit, network or anything kept, runs in the same minutes for comparison.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WardenClient } from '#http/warden-client.ts';
import { testStack } from '#testing/stack.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 64 * MB, cpu_quota: 1 };
const HUNDRED = 100;

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

const began = performance.now();
const handles: string[] = [];
for (let n = 0; n < HUNDRED; n++) handles.push((await client.create({ stack: 'test', limits: LIMITS })).handle);
const hundred_s = (performance.now() - began) / 1000;
const daemon_mb = resident(warden.pid);
const pids = await Promise.all(handles.map(async (handle) => (await client.info(handle)).memory_stat.usage));
await Promise.all(handles.map((handle) => client.destroy(handle)));
rmSync(folder, { recursive: true, force: true });

console.log(`| of ${rounds} | median ms | p90 ms |\n| --- | ---: | ---: |`);
for (const [name, values] of figures) {
  console.log(`| ${name} | ${quantile(values, 0.5).toFixed(1)} | ${quantile(values, 0.9).toFixed(1)} |`);
}
console.log(`\n${HUNDRED} containers one after another: ${hundred_s.toFixed(2)} s`);
console.log(`memory charged to each: ${(pids.reduce((sum, usage) => sum + usage, 0) / HUNDRED / MB).toFixed(2)} MB`);
console.log(`daemon resident: ${daemon_mb.toFixed(0)} MB`);
if (json_file !== undefined) {
  const median_ms = Object.fromEntries([...figures].map(([name, values]) => [name, quantile(values, 0.5)]));
  writeFileSync(json_file, JSON.stringify({ rounds, median_ms, hundred_s, daemon_mb }));
}
