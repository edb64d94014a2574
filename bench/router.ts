/**
 * The router beside nginx, HAProxy and node:http, as Markdown tables with ratios: small bodies, large ones both ways, thousands of
 * registrations a second, several processes, and the table's memory. The proxy has one core, load and backend the other; rounds are
 * interleaved, since machines drift.
 *
 *   node bench/router.ts [--rounds 5] [--seconds 4] [--connections 64] [--parts small,large,registrations,processes,table]
 */
import { spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { routerRegister } from '#contracts/router.ts';
import {
  cpuSeconds,
  FLOATING,
  HOST,
  Lab,
  type OurProxy,
  PINNED,
  type Proxy,
  registrationOf,
  residentMb,
} from './router-lab.ts';

const LARGE_BYTES = 10_485_760;
const ROUTES = 100_000;
const REGISTRATIONS_PER_S = 10_000;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '64' },
    parts: { type: 'string', default: 'small,large,registrations,processes,table' },
    'cpu-prof': { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

interface Sample {
  perCpuSecond: number;
  p99_ms: number;
  resident_mb: number;
  perSecond: number;
}

const PARTS: Record<string, () => Promise<void>> = {
  small: benchSmall,
  large: benchLarge,
  registrations: benchRegistrations,
  processes: benchProcesses,
  table: benchTable,
};
for (const part of values.parts.split(',')) {
  const run = PARTS[part];
  if (run === undefined) throw new Error(`there is no part ${part}; there are ${Object.keys(PARTS).join(', ')}`);
  await run();
}

async function benchSmall(): Promise<void> {
  await using lab = await Lab.open();
  const backend = await lab.backend(1024);
  const proxies = [
    await lab.ours(backend, { cpu_prof: values['cpu-prof'] }),
    await lab.haproxy(backend),
    await lab.nginx(backend),
    await lab.nodeHttp(backend),
  ];
  const connections = Number(values.connections);
  title(`1 KB bodies, ${connections} keep-alive connections`);
  compare(await interleaved(proxies, { connections }), 'HAProxy');
}

async function benchLarge(): Promise<void> {
  for (const direction of ['down', 'up'] as const) {
    await using lab = await Lab.open();
    const backend = direction === 'down' ? await lab.backend(LARGE_BYTES) : await lab.sink();
    const proxies = [await lab.ours(backend), await lab.nginx(backend), await lab.haproxy(backend)];
    const script = join(lab.folder, 'upload.lua');
    await writeFile(script, `wrk.method = "POST"\nwrk.body = string.rep("x", ${LARGE_BYTES})\n`);
    title(`10 MB bodies ${direction}, 8 connections`);
    compare(await interleaved(proxies, { connections: 8, ...(direction === 'up' && { script }) }), 'nginx');
  }
}

async function benchRegistrations(): Promise<void> {
  await using lab = await Lab.open();
  const ours = await lab.ours(await lab.backend(1024));
  const connections = 16;
  measure(ours, { connections, seconds: 2 });
  const alone_mb = residentMb(ours.pids);
  let next = 0;
  const send = (count: number): void => {
    for (let n = 0; n < count; n++) ours.bus.publish(routerRegister, registrationOf(61_001, 1 + (next++ % ROUTES)));
  };
  for (let sent = 0; sent < ROUTES; sent += 500) {
    send(500);
    await ours.bus.flush();
  }
  while ((await ours.metric('total_routes')) < ROUTES) await sleep(100);
  const quiet: Sample[] = [];
  const busy: Sample[] = [];
  const absorbed: number[] = [];
  for (let round = 0; round < rounds; round++) {
    quiet.push(await measureMeanwhile(ours, { connections, seconds }));
    const before = await ours.metric('registry_message');
    const begun_ms = performance.now();
    const timer = setInterval(() => send(REGISTRATIONS_PER_S / 100), 10);
    busy.push(await measureMeanwhile(ours, { connections, seconds }));
    clearInterval(timer);
    await ours.bus.flush();
    const heard = (await ours.metric('registry_message')) - before;
    absorbed.push(heard / ((performance.now() - begun_ms) / 1000));
  }
  title(`${ROUTES.toLocaleString('en')} routes in a router that serves, ${connections} connections`);
  console.log('| registrations / s | req / s | p99 ms | of quiet | resident MB |\n| --- | --- | --- | --- | --- |');
  const quiet_p99 = median(quiet.map((sample) => sample.p99_ms));
  for (const [name, samples] of [
    ['0', quiet],
    [round0(median(absorbed)), busy],
  ] as const) {
    const p99 = median(samples.map((sample) => sample.p99_ms));
    const mb = median(samples.map((sample) => sample.resident_mb));
    const rate = round0(median(samples.map((sample) => sample.perSecond)));
    console.log(`| ${name} | ${rate} | ${p99.toFixed(2)} | ${(p99 / quiet_p99).toFixed(2)} | ${round0(mb)} |`);
  }
  console.log(`\nWithout routes: ${round0(alone_mb)} MB.`);
}

/** Nothing is pinned here: load and backend take their share of the same cores. */
async function benchProcesses(): Promise<void> {
  await using lab = await Lab.open(FLOATING);
  const backend = await lab.backend(1024);
  const one = await lab.ours(backend);
  const two = await lab.ours(backend, { processes: 2 });
  const options = { connections: Number(values.connections), seconds, cpus: lab.cpus.load };
  const alone: number[] = [];
  const growth: number[] = [];
  measure(two, options);
  for (let round = 0; round < rounds; round++) {
    const { perSecond } = measure(one, options);
    alone.push(perSecond);
    growth.push(measure(two, options).perSecond / perSecond);
  }
  title(`several processes on one port, sharing ${availableParallelism()} cores with load and backend`);
  console.log('| processes | req / s | growth |\n| --- | --- | --- |');
  console.log(`| 1 | ${round0(median(alone))} | 1.00 |`);
  console.log(`| 2 | ${round0(median(alone) * median(growth))} | ${median(growth).toFixed(2)} |`);
}

async function benchTable(): Promise<void> {
  title('the table alone');
  spawnSync(process.execPath, [join(import.meta.dirname, 'router-table.ts')], { stdio: 'inherit' });
  await Promise.resolve();
}

interface LoadOptions {
  connections: number;
  seconds: number;
  script?: string;
  /** The load's. */
  cpus?: string;
}

async function interleaved(
  proxies: Proxy[],
  options: { connections: number; script?: string },
): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(proxies.map((proxy) => [proxy.name, []]));
  for (const proxy of proxies) measure(proxy, { ...options, seconds: 2 });
  for (let round = 0; round < rounds; round++)
    for (const proxy of proxies) samples.get(proxy.name)?.push(measure(proxy, { ...options, seconds }));
  return samples;
}

function loadArguments(
  proxy: Proxy,
  { connections, seconds: duration, script, cpus = PINNED.load }: LoadOptions,
): string[] {
  const more = script === undefined ? [] : ['-s', script];
  const url = `http://127.0.0.1:${proxy.port}/`;
  return [
    '-c',
    cpus,
    'wrk',
    '-t1',
    `-c${connections}`,
    `-d${duration}s`,
    '--latency',
    ...more,
    '-H',
    `Host: ${HOST}`,
    url,
  ];
}

function measure(proxy: Proxy, options: LoadOptions): Sample {
  const before_s = cpuSeconds(proxy.pids);
  const { stdout } = spawnSync('taskset', loadArguments(proxy, options), { encoding: 'utf8' });
  return sampleOf(proxy, stdout, { spent_s: cpuSeconds(proxy.pids) - before_s, seconds: options.seconds });
}

/** As `measure`, while this process goes on with what it does. */
async function measureMeanwhile(proxy: OurProxy, options: LoadOptions): Promise<Sample> {
  const before_s = cpuSeconds(proxy.pids);
  const load = spawn('taskset', loadArguments(proxy, options), { stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  for await (const text of load.stdout.setEncoding('utf8')) stdout += String(text);
  return sampleOf(proxy, stdout, { spent_s: cpuSeconds(proxy.pids) - before_s, seconds: options.seconds });
}

function sampleOf(proxy: Proxy, stdout: string, spent: { spent_s: number; seconds: number }): Sample {
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  const fault = /.*(Non-2xx|Socket errors).*/.exec(stdout)?.[0];
  if (fault !== undefined) process.stderr.write(`${proxy.name}: ${fault}\n`);
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout);
  const scale = p99?.[2] === 'us' ? 0.001 : p99?.[2] === 's' ? 1000 : 1;
  return {
    perCpuSecond: requests / spent.spent_s,
    p99_ms: Number(p99?.[1] ?? 0) * scale,
    resident_mb: residentMb(proxy.pids),
    perSecond: requests / spent.seconds,
  };
}

function compare(samples: Map<string, Sample[]>, baseName: string): void {
  const base = [...samples].find(([name]) => name.startsWith(baseName))?.[1] ?? [];
  console.log(`| proxy | req / CPU s [min–max] | of ${baseName} | p99 ms | of ${baseName} | resident MB | req / s |`);
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [name, all] of samples) {
    const rates = all.map((sample) => sample.perCpuSecond);
    // Pairs of one round met the same weather.
    const ratio = median(all.map((sample, round) => sample.perCpuSecond / (base[round]?.perCpuSecond ?? 1)));
    const p99Ratio = median(all.map((sample, round) => sample.p99_ms / (base[round]?.p99_ms ?? 1)));
    const [middle, least, most] = [median(rates), Math.min(...rates), Math.max(...rates)].map(round0);
    const p99 = median(all.map((sample) => sample.p99_ms)).toFixed(2);
    const mb = round0(Math.max(...all.map((sample) => sample.resident_mb)));
    const rate = round0(median(all.map((sample) => sample.perSecond)));
    console.log(
      `| ${name} | ${middle} [${least}–${most}] | ${ratio.toFixed(2)} | ${p99} | ${p99Ratio.toFixed(2)} | ${mb} | ${rate} |`,
    );
  }
}

function title(text: string): void {
  console.log(`\n${text}; ${rounds} rounds of ${seconds} s\n`);
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function round0(value: number): string {
  return Math.round(value).toLocaleString('en');
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
