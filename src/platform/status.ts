import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { z } from 'zod';
import { listEngines } from '#brokers/cli.ts';
import { Bus } from '#bus/bus.ts';
import { deaBeat, deaHeartbeat, type HeartbeatInstance } from '#contracts/dea.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { silentLog } from '#kernel/log.ts';
import { AdminApi } from './admin-api.ts';
import { STATUS_USER } from './configure.ts';
import type { Home } from './home.ts';
import { natsUrl } from './nats.ts';
import { deaName, type PlatformPlan } from './plan.ts';
import { isAlive, listProcesses, memoryOf } from './process-record.ts';
import { runningPlan, supervisorOf } from './reach.ts';

const BEAT_LIMIT_MS = 1000;

/** Prints how everything is; true when all is up. */
export async function printStatus(home: Home): Promise<boolean> {
  if (!supervisorOf(home)) {
    console.log(`No platform is up in ${home.folder}.`);
    return false;
  }
  const plan = runningPlan(home);
  const isAllUp = printProcesses(home, await askCollector(plan, '/components', Component));
  const [first] = await askCollector(plan, '/forecasts', Forecast);
  if (first?.full_in_s != null) {
    console.log(`\nFills up first: ${first.what}, in ${spanText(first.full_in_s)} if it goes on as in the last hours.`);
  }
  console.log();
  await printInstances(plan);
  return isAllUp;
}

const Component = z.object({
  type: z.string(),
  healthy: z.boolean().nullable(),
  pid: z.number(),
  version: z.string(),
  start: z.string(),
});
type Component = z.infer<typeof Component>;

const Forecast = z.object({ what: z.string(), full_in_s: z.number().nullable() });

function spanText(seconds: number): string {
  const hours = seconds / 3600;
  if (hours < 1) return `${Math.max(1, Math.round(seconds / 60))} min`;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}

/** What the collector knows; nothing while it is away. */
async function askCollector<Schema extends z.ZodType>(
  { ports, secrets }: PlatformPlan,
  path: string,
  schema: Schema,
): Promise<z.output<Schema>[]> {
  try {
    const authorization = basicAuthHeader({ user: STATUS_USER, password: secrets.status_password });
    const { body } = await request(`http://127.0.0.1:${ports.collector}${path}`, {
      headers: { authorization },
      headersTimeout: 2000,
    });
    return z.array(schema).parse(await body.json());
  } catch {
    return [];
  }
}

/**
 * Each process, and below it the components that live in it; one that has a process to itself is that process. Then the servers that
 * tenants use.
 */
function printProcesses(home: Home, components: readonly Component[]): boolean {
  const version = packageVersion();
  let total_mb = 0;
  let isAllUp = true;
  const rows = listProcesses(home).flatMap((record) => {
    const isUp = isAlive(record);
    const mb = isUp ? memoryOf(record.pid, record.name !== 'supervisor') / 1024 / 1024 : 0;
    total_mb += mb;
    const own = components.filter(({ pid }) => isUp && pid === record.pid);
    isAllUp &&= isUp && own.every(({ healthy }) => healthy !== false);
    const state = !isUp ? 'DOWN' : own.length === 1 && own[0]?.healthy === false ? 'NOT HEALTHY' : 'up';
    const row = [
      record.name,
      state,
      isUp ? String(record.pid) : '',
      `${mb.toFixed(0)} MB`,
      OTHERS[record.name] ?? version,
      record.since,
    ];
    const parts = own.map(({ type, healthy, start }) => [
      `  ${type}`,
      healthy === false ? 'NOT HEALTHY' : 'up',
      '',
      '',
      version,
      start,
    ]);
    return own.length > 1 ? [row, ...parts] : [row];
  });
  for (const { name, pid, isUp } of listEngines(home.services)) {
    const mb = isUp ? memoryOf(pid, true) / 1024 / 1024 : 0;
    total_mb += mb;
    isAllUp &&= isUp;
    rows.push([`service ${name}`, isUp ? 'up' : 'DOWN', isUp ? String(pid) : '', `${mb.toFixed(0)} MB`, '', '']);
  }
  printTable([
    ['process', 'state', 'pid', 'memory', 'version', 'since'],
    ...rows,
    ['total', '', '', `${total_mb.toFixed(0)} MB`, '', ''],
  ]);
  return isAllUp;
}

/** Programs that are not ours have versions of their own. */
const OTHERS: Record<string, string> = { nats: 'nats-server', postgres: 'PostgreSQL' };

function packageVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function printInstances(plan: PlatformPlan): Promise<void> {
  const held = await askDeas(plan);
  const names = await processNames(plan, [...new Set(held.map(({ droplet }) => droplet))]);
  if (held.length === 0) {
    console.log('No instances are running.');
    return;
  }
  const rows = held
    .map((instance) => [
      `${names.get(instance.droplet) ?? instance.droplet}/${instance.index}`,
      instance.state,
      instance.on,
      instance.port === undefined ? '' : `${instance.host ?? ''}:${instance.port}`,
    ])
    .toSorted((one, other) => (one[0] ?? '').localeCompare(other[0] ?? ''));
  printTable([['instance', 'state', 'on', 'address'], ...rows]);
}

/** What each DEA holds, from a full beat of each. */
async function askDeas({
  home,
  settings,
  ports,
  secrets,
}: PlatformPlan): Promise<(HeartbeatInstance & { on: string })[]> {
  const nameOf = new Map(
    Array.from({ length: settings.deas }, (_, index) => [readId(join(home.dea, String(index))), deaName(index)]),
  );
  await using bus = await Bus.connect({
    servers: [natsUrl({ port: ports.nats, password: secrets.nats_password })],
    name: 'status',
    log: silentLog,
  });
  const heard = new Map<string, HeartbeatInstance[]>();
  using _beats = bus.subscribe(deaHeartbeat, ({ dea, droplets }) => {
    if (droplets) heard.set(dea, droplets);
  });
  await bus.flush();
  bus.publish(deaBeat, {});
  for (let waited = 0; waited < BEAT_LIMIT_MS && heard.size < settings.deas; waited += 20) await sleep(20);
  return [...heard].flatMap(([dea, droplets]) =>
    droplets.map((instance) => ({ ...instance, on: nameOf.get(dea) ?? dea })),
  );
}

function readId(base_dir: string): string {
  try {
    return readFileSync(join(base_dir, 'db/id'), 'utf8').trim();
  } catch {
    return '';
  }
}

/** `app/type` of each process, by guid; none while the API is away. */
async function processNames(plan: PlatformPlan, guids: readonly string[]): Promise<Map<string, string>> {
  if (guids.length === 0) return new Map();
  interface Process {
    guid: string;
    type: string;
    relationships: { app: { data: { guid: string } } };
  }
  try {
    const api = await AdminApi.logIn(plan);
    const processes = await api.list<Process>(`/v3/processes?per_page=5000&guids=${guids.join(',')}`);
    const apps = await api.list<{ guid: string; name: string }>('/v3/apps?per_page=5000');
    const appName = new Map(apps.map((app) => [app.guid, app.name]));
    return new Map(
      processes.map(({ guid, type, relationships }) => [
        guid,
        `${appName.get(relationships.app.data.guid) ?? '?'}/${type}`,
      ]),
    );
  } catch {
    return new Map();
  }
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    );
}
