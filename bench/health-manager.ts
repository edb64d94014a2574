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
import { deaBeat } from '#contracts/dea.ts';
import { hm9000Start, hm9000Stop, type StartRequest } from '#contracts/health-manager.ts';
import { silentLog } from '#kernel/log.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { TestNats } from '#testing/nats.ts';
import { BEAT_MS, droplet, guid, type Held, said, SimulatedDea, VERSION } from './simulated-dea.ts';

const DEAS = 1_000;
const PER_APP = 2;
const SILENCE_MS = 3 * BEAT_MS;
/** While a tenth of all is lost an instance of the rest crashes so often, and is to be seen to as ever. */
const CRASH_EACH_MS = 100;
const LOST_SHARE = 0.1;
const TICK_MS = 20;
const STATUS = { user: 'bench', password: 'bench' };

const option = (name: string): string | undefined =>
  process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined;
const instances = process.argv.includes('--million') ? 1_000_000 : Number(option('--instances') ?? 250_000);
const steady_s = Number(option('--steady') ?? 30);
const apps = instances / PER_APP;

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
    await sleep(20);
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

async function measure(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await TestNats.start());
  const cc = stack.use(await desiredState());
  const bus = stack.use(await Bus.connect({ servers: [nats.url], name: 'bench', log: silentLog }));
  const deas = Array.from({ length: DEAS }, (_, n) => new SimulatedDea(n, bus));
  for (let n = 0; n < instances; n++) {
    // An app's instances are on different DEAs.
    const app = n % apps;
    const index = Math.floor(n / apps);
    deas[(app + index * 7) % DEAS]?.hold({ app, index, instance: guid(5, n) });
  }
  const byId = new Map(deas.map((dea) => [dea.id, dea]));
  bus.subscribe(deaBeat, ({ dea: id }) => {
    for (const dea of id === undefined ? deas : [byId.get(id)]) if (dea?.isAlive) dea.beatFully();
  });
  const asked = new Asked(bus, deas);
  const launch = async (): Promise<ComponentProcess> =>
    stack.use(
      await ComponentProcess.start({
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
      }),
    );

  const manager = await launch();
  const { pid } = manager;
  const status = statusAddress(manager);
  // The DEAs beat one after another, spread over the period.
  const began = performance.now();
  let beaten = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / BEAT_MS) * DEAS);
    for (; beaten < due; beaten++) {
      const dea = deas[beaten % DEAS];
      if (dea?.isAlive) dea.beat();
    }
  }, TICK_MS);
  stack.defer(() => clearInterval(timer));
  await until('fresh', () => isFresh(manager), 300);
  const fresh_s = (performance.now() - began) / 1000;
  await sleep(5_000);
  const asked_wrongly = asked.at.size;
  console.error(`fresh after ${fresh_s.toFixed(1)} s`);
  const steady = { cpu: cpuSeconds(pid), nats: cpuSeconds(nats.pid), at: performance.now() };
  await sleep(steady_s * 1000);
  const steady_ms = performance.now() - steady.at;
  const cpu_percent = ((cpuSeconds(pid) - steady.cpu) / steady_ms) * 100_000;
  const nats_percent = ((cpuSeconds(nats.pid) - steady.nats) / steady_ms) * 100_000;
  const resident_mb = megabytes(pid, 'VmRSS');

  const loss = await loseSome(deas, asked);
  console.error(`${loss['lost']} lost, all asked for`);
  await sleep(BEAT_MS + 1_000);
  const slowest_round_ms = await slowestRound(status);
  const peak_mb = megabytes(pid, 'VmHWM');
  const not_fresh = [...manager.output.matchAll(/"msg":"knowledge not fresh"/g)].length;

  const other = await launch();
  await until('the other knows as much', () => isFresh(other), 300);
  await manager.signal('SIGKILL');
  const killedAt = performance.now();
  const orphan = deas.at(-1)?.crash();
  await until('the other asks', () => (asked.atOf(orphan) ?? 0) > killedAt, 60);
  const figures = {
    instances,
    full_beat_kb: Math.max(...deas.slice(-3).map((dea) => dea.bytes)) / 1024,
    fresh_s,
    fresh_beyond_s: fresh_s - SILENCE_MS / 1000,
    asked_wrongly,
    cpu_percent,
    nats_percent,
    resident_mb,
    peak_mb,
    slowest_round_ms,
    ...loss,
    not_fresh,
    leader_s: ((asked.atOf(orphan) ?? 0) - killedAt) / 1000,
    stops: asked.stops,
  };
  print(figures);
  const json = option('--json');
  if (json !== undefined) writeFileSync(json, JSON.stringify(figures));
}

const isFresh = (manager: ComponentProcess): boolean => /"deas":\d+,"msg":"knowledge fresh"/.test(manager.output);

/** What the health managers ask for; starts go to DEAs that are alive, in turn. */
class Asked {
  readonly at = new Map<string, number>();
  again = 0;
  stops = 0;
  #next = 0;

  constructor(bus: Bus, deas: readonly SimulatedDea[]) {
    bus.subscribe(hm9000Stop, () => void (this.stops += 1));
    bus.subscribe(hm9000Start, ({ droplet: process_guid, instance_index: index }: StartRequest) => {
      const app = Number(`0x${process_guid.slice(-12)}`);
      const key = `${app} ${index}`;
      if (this.at.has(key)) this.again += 1;
      this.at.set(key, performance.now());
      while (deas[this.#next % DEAS]?.isAlive === false) this.#next += 1;
      deas[this.#next++ % DEAS]?.start({ app, index, instance: guid(6, this.#next) });
    });
  }

  atOf(held: Held | undefined): number | undefined {
    return held && this.at.get(`${held.app} ${held.index}`);
  }
}

/** A tenth of the DEAs is gone at once, while instances of the others crash now and then. */
async function loseSome(deas: readonly SimulatedDea[], asked: Asked): Promise<Record<string, number>> {
  asked.at.clear();
  asked.again = 0;
  const gone = deas.slice(0, DEAS * LOST_SHARE);
  const lost = gone.flatMap((dea) => dea.held);
  const before = { ...said };
  for (const dea of gone) dea.isAlive = false;
  const lostAt = performance.now();
  const crashed: { held: Held; at: number }[] = [];
  const rest = deas.slice(gone.length);
  const crashes = setInterval(() => {
    const held = rest[(crashed.length * 37) % rest.length]?.crash();
    if (held) crashed.push({ held, at: performance.now() });
  }, CRASH_EACH_MS);
  // No look at all of them each time: this process has a thousand DEAs to be.
  let known = 0;
  const isAllAsked = (): boolean => {
    while (known < lost.length && asked.atOf(lost[known]) !== undefined) known += 1;
    return known === lost.length;
  };
  try {
    await until('all asked for', isAllAsked, 120);
  } finally {
    clearInterval(crashes);
  }
  const times = lost.map((held) => asked.atOf(held) ?? 0);
  // In a stack a call has too many arguments long before a million.
  const first = times.reduce((one, other) => Math.min(one, other));
  const last = times.reduce((one, other) => Math.max(one, other));
  await until('the crashed are asked for', () => crashed.every(({ held, at }) => (asked.atOf(held) ?? 0) > at), 60);
  const reactions = crashed.map(({ held, at }) => (asked.atOf(held) ?? 0) - at).toSorted((one, other) => one - other);
  return {
    lost: lost.length,
    first_asked_s: (first - lostAt) / 1000,
    all_asked_s: (last - first) / 1000,
    asked_again: asked.again,
    crashed: reactions.length,
    crash_median_ms: reactions[Math.floor(reactions.length / 2)] ?? 0,
    crash_worst_ms: reactions.at(-1) ?? 0,
    beats: said.beats - before.beats,
    beat_instances: said.instances - before.instances,
  };
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
    ['nats-server beside it', `${n('nats_percent', 1)} % of a core`, ''],
    ['resident', `${n('resident_mb')} MB (peak ${n('peak_mb')} MB)`, '500 MB'],
    [`${n('lost')} instances of 100 DEAs lost: noticed after`, `${n('first_asked_s', 1)} s`, '4 to 6 s'],
    ['and all asked for within', `${n('all_asked_s', 1)} s`, '5 s'],
    [
      `meanwhile ${n('crashed')} of the rest crashed: asked for after`,
      `${n('crash_median_ms')} ms (worst ${n('crash_worst_ms')} ms)`,
      '1 s',
    ],
    ['and all DEAs said', `${n('beats')} beats that named ${n('beat_instances')} instances`, ''],
    ['its knowledge was lost meanwhile', `${n('not_fresh')} times`, '0'],
    ['leader killed: the next asked after', `${n('leader_s', 1)} s`, '3 s'],
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

const folder = mkdtempSync(join(tmpdir(), 'ingot-bench-'));
try {
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
