/**
 * What the cloud controller's API does with 10,000 apps, 1,000 of them with three instances each in one space: `cf apps`, lists,
 * manifests, uploads of many small files, and placements. The cloud controller is a process of its own, on a PostgreSQL and a
 * NATS of its own; this one is its client.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Pool } from 'undici';
import { Bus } from '#bus/bus.ts';
import { AdvertPool } from '#cloud-controller/placement/advert-pool.ts';
import { TestApps } from '#cloud-controller/apps-testing.ts';
import { beatDigest } from '#contracts/beat-digest.ts';
import { deaHeartbeat, type HeartbeatInstance } from '#contracts/dea.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';

const APPS = 10_000;
const IN_ONE_SPACE = 1000;
const INSTANCES = 3;
const FILES = 100_000;
const CHANGED_FILES = FILES / 100;
const MANIFEST_APPS = 50;

interface Served {
  url: string;
  token: string;
  organization_guid: string;
  space_guid: string;
}

interface Figure {
  what: string;
  goal: string;
  found: string;
  ratio: number;
}

async function serve(): Promise<void> {
  const apps = await TestApps.start({ limits: { resource_min_bytes: 1 } });
  const spaces = [apps.space_guid];
  for (let n = 1; n < 10; n++) {
    const relationships = { organization: { data: { guid: apps.organization_guid } } };
    spaces.push((await apps.admin.post('/v3/spaces', { name: `s${n}`, relationships })).guid);
  }
  await apps.admin.patch(
    `/v3/organization_quotas/${(await apps.admin.get('/v3/organization_quotas')).string('resources.0.guid')}`,
    {
      apps: { total_memory_in_mb: null, total_instances: null },
      routes: { total_routes: null },
    },
  );
  await fill(apps, spaces);
  const beats = await beat(apps);
  process.send?.({
    url: apps.cc.url,
    token: apps.admin.token,
    organization_guid: apps.organization_guid,
    space_guid: apps.space_guid,
  } satisfies Served);
  await once(process, 'message');
  await beats[Symbol.asyncDispose]();
  await apps[Symbol.asyncDispose]();
  process.disconnect?.();
}

/** Apps with a process, a route and metadata each, straight into the database. */
async function fill({ cc }: TestApps, spaces: readonly string[]): Promise<void> {
  const { pool } = cc.database;
  await pool.query(
    `insert into apps (guid, name, space_guid, state, labels)
       select gen_random_uuid()::text, 'app-' || n, case when n < $2 then ($3::text[])[1] else ($3::text[])[2 + n % $4] end,
              'STARTED', '{"tier":"front"}' from generate_series(0, $1 - 1) n`,
    [APPS, IN_ONE_SPACE, spaces, spaces.length - 1],
  );
  await pool.query(
    `insert into processes (guid, app_guid, type, state, version, command, instances, memory_in_mb, disk_in_mb,
                            log_rate_limit_in_bytes_per_second)
       select guid, guid, 'web', 'STARTED', 'v', 'run', $1, 64, 64, -1 from apps`,
    [INSTANCES],
  );
  await pool.query(
    `insert into routes (guid, host, domain_guid, space_guid)
       select gen_random_uuid()::text, name, (select guid from domains where not internal limit 1), space_guid from apps`,
  );
  await pool.query(
    `insert into route_destinations (guid, route_guid, app_guid)
       select gen_random_uuid()::text, routes.guid, apps.guid from apps join routes on routes.host = apps.name`,
  );
  await pool.query('analyze');
}

/** What the DEAs say of the instances in the first space. */
async function beat({ cc, space_guid }: TestApps): Promise<AsyncDisposable> {
  const { rows } = await cc.database.pool.query<{ guid: string }>(
    'select guid from apps where space_guid = $1 and name like $2',
    [space_guid, 'app-%'],
  );
  const bus = await Bus.connect({ servers: [cc.nats.url], name: 'bench', log: silentLog });
  const since = Math.floor(Date.now() / 1000);
  const droplets = rows.flatMap(({ guid }) =>
    Array.from({ length: INSTANCES }, (_, index): HeartbeatInstance => {
      const instance = randomUUID();
      const held = { droplet: guid, app: guid, version: 'v', instance, index, state_timestamp: since };
      return { ...held, cc_partition: 'default', state: 'RUNNING', routable: true };
    }),
  );
  const about = { dea: randomUUID(), run: randomUUID(), digest: beatDigest(droplets) };
  let seq = 0;
  bus.publish(deaHeartbeat, { ...about, seq, droplets });
  const timer = setInterval(() => bus.publish(deaHeartbeat, { ...about, seq: ++seq }), 2000);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await bus[Symbol.asyncDispose]();
    },
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

const median = (samples: readonly number[]): number => samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? NaN;

async function measure(): Promise<void> {
  const child = fork(import.meta.filename, ['serve'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const home = await mkdtemp(join(tmpdir(), 'ingot-bench-api-'));
  const pool = new Map<string, Pool>();
  try {
    const served = await readyOf(child);
    writeSession(home, served);
    const http = new Pool(served.url, { connections: 50 });
    pool.set(served.url, http);
    const figures = [
      await cfApps(home),
      await lists(http, served),
      await manifests(http, served),
      ...(await upload(home)),
      placements(),
    ];
    console.log(table(figures));
  } finally {
    await Promise.all([...pool.values()].map(async (one) => await one.close()));
    if (child.connected) child.send('stop');
    if (child.exitCode === null) await once(child, 'exit');
    await rm(home, { recursive: true, force: true });
  }
}

async function readyOf(child: ChildProcess): Promise<Served> {
  const [served] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error('the cloud controller did not come up'))),
  ])) as [Served];
  return served;
}

/** A session of the bundled cf, as `cf login` and `cf target` leave it. */
function writeSession(home: string, { url, token, organization_guid, space_guid }: Served): void {
  mkdirSync(join(home, '.cf'));
  const session = {
    Target: url,
    AccessToken: `bearer ${token}`,
    OrganizationFields: { GUID: organization_guid, Name: 'o' },
    SpaceFields: { GUID: space_guid, Name: 's', AllowSSH: true },
  };
  writeFileSync(join(home, '.cf/config.json'), JSON.stringify(session), { mode: 0o600 });
}

async function cf(home: string, ...args: string[]): Promise<string> {
  const run = promisify(execFile);
  const env = { ...process.env, CF_HOME: home, CF_COLOR: 'false' };
  return (await run(resolve(import.meta.dirname, '../bin/cf'), args, { env, maxBuffer: 1 << 28 })).stdout;
}

async function cfApps(home: string): Promise<Figure> {
  const samples: number[] = [];
  for (let n = 0; n < 5; n++) {
    samples.push(
      await seconds(async () => {
        const lines = (await cf(home, 'apps'))
          .split('\n')
          .filter((line) => line.includes(`web:${INSTANCES}/${INSTANCES}`));
        if (lines.length !== IN_ONE_SPACE) throw new Error(`cf apps shows ${lines.length} apps`);
      }),
    );
  }
  return figure(`\`cf apps\`, ${IN_ONE_SPACE} apps × ${INSTANCES} instances of ${APPS} (median of 5)`, 's', {
    found: median(samples),
    most: 1,
  });
}

async function lists(http: Pool, { token }: Served): Promise<Figure> {
  const authorization = `bearer ${token}`;
  const times: number[] = [];
  const lane = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) {
      const page = 1 + Math.floor(Math.random() * 200);
      const started = performance.now();
      const answer = await http.request({
        method: 'GET',
        path: `/v3/apps?per_page=50&page=${page}`,
        headers: { authorization },
      });
      const { resources } = (await answer.body.json()) as { resources: unknown[] };
      if (resources.length !== 50) throw new Error(`${answer.statusCode} with ${resources.length} apps`);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: 50 }, async () => await lane(10)));
  times.length = 0;
  const took = await seconds(async () => await Promise.all(Array.from({ length: 50 }, async () => await lane(40))));
  const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? NaN;
  const rate = Math.round(times.length / took);
  const what = `\`GET /v3/apps?per_page=50\`, 50 at once, p99 (p50 ${median(times).toFixed(0)} ms, ${rate}/s)`;
  return figure(what, 'ms', { found: p99, most: 15 });
}

async function manifests(http: Pool, { token, space_guid }: Served): Promise<Figure> {
  const samples: number[] = [];
  for (let round = 0; round < 3; round++) {
    const applications = Array.from({ length: MANIFEST_APPS }, (_, n) => ({
      name: `manifest-${round}-${n}`,
      memory: '64M',
      instances: 2,
      env: { ROUND: String(round) },
      routes: [{ route: `manifest-${round}-${n}.apps.localhost` }],
    }));
    const headers = { authorization: `bearer ${token}` };
    samples.push(
      await seconds(async () => {
        const accepted = await http.request({
          method: 'POST',
          path: `/v3/spaces/${space_guid}/actions/apply_manifest`,
          headers: { ...headers, 'content-type': 'application/x-yaml' },
          // JSON is YAML.
          body: JSON.stringify({ applications }),
        });
        const text = await accepted.body.text();
        if (accepted.statusCode !== 202) throw new Error(text);
        const path = new URL(String(accepted.headers['location'])).pathname;
        for (;;) {
          const job = await http.request({ method: 'GET', path, headers });
          const { state } = (await job.body.json()) as { state: string };
          if (state === 'COMPLETE') return;
          if (state === 'FAILED') throw new Error('the manifest was not applied');
          await new Promise((wake) => setTimeout(wake, 20));
        }
      }),
    );
  }
  return figure(`apply_manifest of ${MANIFEST_APPS} new apps (median of 3)`, 's', { found: median(samples), most: 5 });
}

/** Both uploads as \`cf create-package\` makes them: list, hash, ask what is known, pack the rest, send, assemble. */
async function upload(home: string): Promise<Figure[]> {
  const folder = join(home, 'many');
  for (let n = 0; n < FILES; n++) {
    if (n % 1000 === 0) mkdirSync(join(folder, String(n / 1000)), { recursive: true });
    writeFileSync(
      join(folder, String(Math.floor(n / 1000)), `f${n}.js`),
      `// ${n}\n${'module.exports = 1;\n'.repeat(n % 60)}`,
    );
  }
  await cf(home, 'create-app', 'many');
  const first = await seconds(async () => await cf(home, 'create-package', 'many', '-p', folder));
  for (let n = 0; n < CHANGED_FILES; n++) {
    writeFileSync(
      join(folder, String(n % (FILES / 1000)), `f${(n % (FILES / 1000)) * 1000 + Math.floor(n / 100)}.js`),
      `// new ${n}\n`,
    );
  }
  const again = await seconds(async () => await cf(home, 'create-package', 'many', '-p', folder));
  return [
    figure(`upload of ${FILES} small files, none known`, 's', { found: first }),
    figure(`upload of ${FILES} small files, 99 % known`, 's', { found: again, most: 20 }),
  ];
}

/** Picks among 100 DEAs in four zones, each debited at once. */
function placements(): Figure {
  const pool = new AdvertPool({ clock: systemClock, advertisement_timeout_s: 60 });
  for (let n = 0; n < 100; n++) {
    pool.hear({
      id: `dea-${n}`,
      ip: '127.0.0.1',
      version: '1',
      stacks: ['cflinuxfs4'],
      available_memory: 1e9,
      available_disk: 1e9,
      app_id_to_count: {},
      placement_properties: { zone: `z${n % 4}` },
    });
  }
  const count = 50_000;
  const before = process.cpuUsage();
  for (let n = 0; n < count; n++) {
    const placed = pool.take({ droplet: `app-${n % 5000}`, stack: 'cflinuxfs4', memory_mb: 64, disk_mb: 64 });
    if (!('dea' in placed)) throw new Error(placed.refused);
  }
  const { user, system } = process.cpuUsage(before);
  const rate = count / ((user + system) / 1e6);
  return figure('placements over 100 DEAs, per CPU second', '/s', { found: rate, least: 10_000 });
}

/** Beyond 1.00 the goal is missed, whichever way it points. */
function figure(
  what: string,
  unit: string,
  { found, most, least }: { found: number; most?: number; least?: number },
): Figure {
  const digits = found >= 100 ? 0 : 2;
  const goal = most !== undefined ? `≤ ${most} ${unit}` : least !== undefined ? `≥ ${least} ${unit}` : '';
  const ratio = most !== undefined ? found / most : least !== undefined ? least / found : NaN;
  return { what, goal, found: `${found.toFixed(digits)} ${unit}`, ratio };
}

function table(figures: readonly Figure[]): string {
  return [
    '| what | found | goal | of the goal |',
    '| --- | --- | --- | --- |',
    ...figures.map(({ what, found, goal, ratio }) => {
      const share = Number.isNaN(ratio) ? '' : `${ratio.toFixed(2)}${ratio > 1 ? ', missed' : ''}`;
      return `| ${what} | ${found} | ${goal} | ${share} |`;
    }),
  ].join('\n');
}

if (process.argv[2] === 'serve') await serve();
else await measure();
