/**
 * How the health manager does at scale: `npm run bench:hm [-- --million | --instances N] [--steady SECONDS] [--json FILE]`. 1,000 simulated DEAs hold
 * 250,000 (or a million) instances and beat over a real nats-server; the health manager is a process of its own, measured from
 * outside; the simulated cloud controller tells it the desired state and hands its starts to DEAs, which then beat of them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '#bus/bus.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import { deaBeat, deaHeartbeat, type HeartbeatInstance } from '#contracts/dea.ts';
import { hm9000Start, hm9000Stop, type StartRequest } from '#contracts/health-manager.ts';
import { silentLog } from '#kernel/log.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { TestNats } from '#testing/nats.ts';

const DEAS = 1_000;
const PER_APP = 2;
const BEAT_MS = 2_000;
const SILENCE_MS = 3 * BEAT_MS;
const USAGE_EACH = 5;
/** How long a full beat keeps the next one waiting, for each instance: as src/dea/heart.ts has it. */
const FULL_PAUSE_MS = 8;
const LOST_SHARE = 0.1;
const TICK_MS = 20;
const STATUS = { user: 'bench', password: 'bench' };

const option = (name: string): string | undefined =>
  process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined;
const instances = process.argv.includes('--million') ? 1_000_000 : Number(option('--instances') ?? 250_000);
const steady_s = Number(option('--steady') ?? 30);
const apps = instances / PER_APP;

const guid = (kind: number, n: number): string =>
  `${kind.toString(16).padStart(8, '0')}-aaaa-4bbb-8ccc-${n.toString(16).padStart(12, '0')}`;
const droplet = (n: number): string => guid(1, n);
const VERSION = guid(3, 0);

interface Held {
  app: number;
  index: number;
  instance: string;
}

class SimulatedDea {
  readonly id: string;
  readonly held: Held[] = [];
  isAlive = true;
  #digest: string | undefined;
  #toldDigest = '';
  #beats = 0;
  #fullAt = -Infinity;

  constructor(n: number) {
    this.id = guid(9, n);
    this.#beats = n;
  }

  add(held: Held): void {
    this.held.push(held);
    this.#digest = undefined;
  }

  /** As a DEA does: all of it when it changed, otherwise the digest, with usage figures now and then. */
  beat(bus: Bus, isFull = false): number {
    const now = performance.now();
    const isTooSoon = now - this.#fullAt < Math.min(SILENCE_MS, this.held.length * FULL_PAUSE_MS);
    const digest = isTooSoon && !isFull ? this.#toldDigest : (this.#digest ??= beatDigest(this.#droplets()));
    if (isFull || digest !== this.#toldDigest) {
      this.#toldDigest = digest;
      this.#fullAt = now;
      const droplets = this.#droplets();
      const message = { dea: this.id, digest, droplets };
      bus.publish(deaHeartbeat, message);
      return droplets.length;
    }
    const time = new Date().toISOString();
    const figures = { cpu: 0.0123, mem: 45_678_592, disk: 12_345_678, log_rate: 0, time };
    const isWithUsage = ++this.#beats % USAGE_EACH === 0;
    bus.publish(deaHeartbeat, {
      dea: this.id,
      digest,
      ...(isWithUsage && { usage: Object.fromEntries(this.held.map(({ instance }) => [instance, figures])) }),
    });
    return 0;
  }

  #droplets(): HeartbeatInstance[] {
    return this.held.map(({ app, index, instance }) => ({
      cc_partition: 'default',
      droplet: droplet(app),
      app: guid(2, app),
      version: VERSION,
      instance,
      index,
      state: 'RUNNING',
      state_timestamp: 1_700_000_000,
      routable: true,
      host: '10.0.12.34',
      port: 61_234,
      container_ip: '10.254.12.34',
    }));
  }

  get bytes(): number {
    return JSON.stringify({ dea: this.id, digest: '0123456789abcdef', droplets: this.#droplets() }).length;
  }
}

async function desiredState(): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '/', 'http://cc').searchParams;
    const from = Number(query.get('bulk_token') ?? 0);
    const to = Math.min(apps, from + Number(query.get('batch_size') ?? 1000));
    const results = Array.from({ length: to - from }, (_, n) => ({
      droplet: droplet(from + n),
      app: guid(2, from + n),
      version: VERSION,
      instances: PER_APP,
      state: 'STARTED',
      package_state: 'STAGED',
    }));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ results, bulk_token: to < apps ? String(to) : null }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const proc = (pid: number | undefined, file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8');
const cpuSeconds = (pid: number | undefined): number => {
  const fields = proc(pid, 'stat').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
const megabytes = (pid: number | undefined, what: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`^${what}:\\s+(\\d+)`, 'm').exec(proc(pid, 'status'))?.[1]) / 1024;

async function until(what: string, isSo: () => boolean, limit_s: number): Promise<void> {
  const end = performance.now() + limit_s * 1000;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limit_s} s`);
    await sleep(10);
  }
}

/** Upper bound of the bucket that the slowest round is in, in ms. */
async function slowestRound(address: string): Promise<string> {
  const credentials = Buffer.from(`${STATUS.user}:${STATUS.password}`).toString('base64');
  const answer = await fetch(`http://${address}/metrics`, { headers: { authorization: `Basic ${credentials}` } });
  const text = await answer.text();
  const count = Number(/^hm9000_round_seconds_count (\d+)/m.exec(text)?.[1]);
  for (const [, bound, within] of text.matchAll(/^hm9000_round_seconds_bucket\{le="([^"]+)"\} (\d+)/gm))
    if (Number(within) === count) return bound === '+Inf' ? 'over 2500' : String(Number(bound) * 1000);
  return 'unknown';
}

const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
try {
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  await using nats = await TestNats.start();
  await using cc = await desiredState();
  await using bus = await Bus.connect({ servers: [nats.url], name: 'bench', log: silentLog });
  const deas = Array.from({ length: DEAS }, (_, n) => new SimulatedDea(n));
  for (let n = 0; n < instances; n++) {
    // An app's instances are on different DEAs.
    const app = n % apps;
    const index = Math.floor(n / apps);
    deas[(app + index * 7) % DEAS]?.add({ app, index, instance: guid(5, n) });
  }
  const full_beat_kb = Math.max(...deas.slice(0, 3).map((dea) => dea.bytes)) / 1024;
  const byId = new Map(deas.map((dea) => [dea.id, dea]));
  let toldInstances = 0;
  using _asked = bus.subscribe(deaBeat, ({ dea: id }) => {
    for (const dea of id === undefined ? deas : [byId.get(id)]) if (dea?.isAlive) toldInstances += dea.beat(bus, true);
  });

  const asked = new Map<string, number>();
  let again = 0;
  let stops = 0;
  let firstAskedAt = 0;
  let lastAskedAt = 0;
  let next = 0;
  const place = ({ droplet: process_guid, instance_index: index }: StartRequest): void => {
    const key = `${process_guid} ${index}`;
    const now = performance.now();
    firstAskedAt ||= now;
    lastAskedAt = now;
    if (asked.has(key)) again += 1;
    asked.set(key, now);
    while (deas[next % DEAS]?.isAlive === false) next += 1;
    deas[next++ % DEAS]?.add({ app: Number(`0x${process_guid.slice(-12)}`), index, instance: guid(6, next) });
  };
  using _starts = bus.subscribe(hm9000Start, place);
  using _stops = bus.subscribe(hm9000Stop, () => void (stops += 1));

  const manager = await ComponentProcess.start({
    room: 'health-manager',
    schema: 'HealthManagerConfig',
    folder,
    config: {
      nats_servers: [nats.url],
      cc_url: cc.url,
      internal_api: { user: 'bench', password: 'bench' },
      status: STATUS,
      heartbeat_period_s: BEAT_MS / 1000,
    },
  });
  try {
    const { pid } = manager;
    const status = statusAddress(manager);
    // The DEAs beat one after another, spread over the period.
    const began = performance.now();
    let beaten = 0;
    using timers = new DisposableStack();
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / BEAT_MS) * DEAS);
      for (; beaten < due; beaten++) {
        const dea = deas[beaten % DEAS];
        if (dea?.isAlive) toldInstances += dea.beat(bus);
      }
    }, TICK_MS);
    timers.defer(() => clearInterval(timer));
    const isFresh = (): boolean => /"deas":\d+,"msg":"knowledge fresh"/.test(manager.output);
    await until('fresh', isFresh, 300);
    const fresh_s = (performance.now() - began) / 1000;
    const told_at_start = toldInstances;
    await sleep(5_000);
    const asked_wrongly = asked.size;
    const cpu_before = cpuSeconds(pid);
    const steadyBegan = performance.now();
    await sleep(steady_s * 1000);
    const cpu_percent = ((cpuSeconds(pid) - cpu_before) / (performance.now() - steadyBegan)) * 100_000;
    const resident_mb = megabytes(pid, 'VmRSS');

    asked.clear();
    firstAskedAt = 0;
    again = 0;
    const lost = deas.slice(0, DEAS * LOST_SHARE);
    const lostInstances = lost.reduce((sum, dea) => sum + dea.held.length, 0);
    for (const dea of lost) dea.isAlive = false;
    const lostAt = performance.now();
    await until('all asked for', () => asked.size >= lostInstances, 120).catch((error: unknown) => {
      console.error(`${asked.size} of ${lostInstances} asked for, ${again} of them again`);
      throw error;
    });
    const allAskedAt = lastAskedAt;
    await sleep(BEAT_MS + 1_000);
    const figures = {
      instances,
      full_beat_kb,
      told_at_start,
      fresh_s,
      fresh_beyond_s: fresh_s - SILENCE_MS / 1000,
      asked_wrongly,
      cpu_percent,
      resident_mb,
      peak_mb: megabytes(pid, 'VmHWM'),
      slowest_round_ms: await slowestRound(status),
      lost: lostInstances,
      first_asked_s: (firstAskedAt - lostAt) / 1000,
      all_asked_s: (allAskedAt - firstAskedAt) / 1000,
      asked_again: again,
      stops,
    };
    print(figures);
    const json = option('--json');
    if (json !== undefined) writeFileSync(json, JSON.stringify(figures));
  } finally {
    await manager[Symbol.asyncDispose]();
  }
}

function statusAddress(manager: ComponentProcess): string {
  return /"status":"([\d.:]+)","msg":"serving"/.exec(manager.output)?.[1] ?? '';
}

function print(f: Record<string, number | string>): void {
  const n = (key: string, digits = 0): string => Number(f[key]).toFixed(digits);
  const rows = [
    ['fresh, beyond the three beats that it has to listen', `${n('fresh_beyond_s', 1)} s`, '2 s'],
    ['slowest round of comparison, at most', `${f['slowest_round_ms']} ms`, '250 ms'],
    [`steady CPU over ${steady_s} s`, `${n('cpu_percent', 1)} % of a core`, '25 %'],
    ['resident', `${n('resident_mb')} MB (peak ${n('peak_mb')} MB)`, '500 MB'],
    [`${n('lost')} instances of 100 DEAs lost: noticed after`, `${n('first_asked_s', 1)} s`, '4 to 6 s'],
    ['and all asked for within', `${n('all_asked_s', 1)} s`, '5 s'],
    [
      'asked for though it ran, asked for twice, stopped',
      `${n('asked_wrongly')}, ${n('asked_again')}, ${n('stops')}`,
      '0',
    ],
    ['largest full beat', `${n('full_beat_kb')} KB`, 'max_payload (1024 KB by default)'],
  ];
  console.log(`| ${instances} instances on ${DEAS} DEAs | measured | goal |\n| --- | ---: | ---: |`);
  for (const [what, measured, goal] of rows) console.log(`| ${what} | ${measured} | ${goal} |`);
}
