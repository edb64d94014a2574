/**
 * What the routing table costs: resident memory and look-up time at 100,000 and 1,000,000 routes, each with an endpoint of its own,
 * and how long registrations take. Each size in a process of its own, with the router's flags and its code compiled already.
 *
 *   node bench/router-table.ts
 */
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '#platform/node-flags.ts';
import { RouteTable } from '#router/table.ts';

const [routes] = process.argv.slice(2).map(Number);
if (routes === undefined) {
  console.log(
    '| routes | resident MB | of it for the table | look-up ns | unknown host ns | registrations / s |\n| --- | --- | --- | --- | --- | --- |',
  );
  for (const size of [100_000, 1_000_000]) {
    const flags = ['--expose-gc', ...nodeFlags('router')];
    const env = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'ingot-bench-table') };
    const [, { stdout, stderr }] = ['1', String(size)].map((count) =>
      spawnSync(process.execPath, [...flags, import.meta.filename, count], { encoding: 'utf8', env }),
    ) as [unknown, { stdout: string; stderr: string }];
    process.stdout.write(stdout + stderr);
  }
} else measure(routes);

function measure(count: number): void {
  const table = new RouteTable({
    now_ms: () => performance.now(),
    droplet_stale_threshold_s: 120,
    empty_pool_timeout_s: 0,
  });
  const before = resident_mb();
  const message = (n: number): string =>
    JSON.stringify({
      host: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`,
      port: 61_000 + (n % 100),
      uris: [`app-${n}.apps.example.com`],
      app: `${String(n).padStart(8, '0')}-1111-2222-3333-444455556666`,
      private_instance_id: `${String(n).padStart(8, '0')}-aaaa-bbbb-cccc-ddddeeeeffff`,
      private_instance_index: '0',
      tags: { component: `dea-${n % 100}` },
    });
  const start = performance.now();
  for (let n = 0; n < count; n++) table.register(JSON.parse(message(n)));
  const took_s = (performance.now() - start) / 1000;
  globalThis.gc?.();
  const after = resident_mb();
  const known = lookupNs(
    table,
    Array.from({ length: 1000 }, (_, n) => `app-${Math.floor((n * count) / 1000)}.apps.example.com`),
  );
  const unknown = lookupNs(
    table,
    Array.from({ length: 1000 }, (_, n) => `none-${n}.apps.example.com`),
  );
  console.log(
    `| ${count.toLocaleString('en')} | ${Math.round(after)} | ${Math.round(after - before)} | ${known} | ${unknown} | ${Math.round(count / took_s).toLocaleString('en')} |`,
  );
}

function lookupNs(table: RouteTable, hosts: string[]): number {
  let found = 0;
  const rounds = 1000;
  const start = performance.now();
  for (let round = 0; round < rounds; round++)
    for (const host of hosts) if (table.lookup(host, '/some/path') !== undefined) found++;
  const took_ns = (performance.now() - start) * 1e6;
  return found < 0 ? 0 : Math.round(took_ns / (rounds * hosts.length));
}

function resident_mb(): number {
  return process.memoryUsage.rss() / 1048576;
}
