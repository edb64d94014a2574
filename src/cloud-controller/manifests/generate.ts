import { isDeepStrictEqual } from 'node:util';
import { processesOfApp } from '../processes/store.ts';
import { sidecarsOf } from '../apps/lifecycle.ts';
import { featuresOf } from '../apps/settings-endpoints.ts';
import type { FoundApp } from '../apps/store.ts';
import type { Db } from '../tables.ts';
import type { ProcessHealthCheck, ProcessRow } from '../tables-apps.ts';
import { parseBytes, showLogRate, showMegabytes } from './sizes.ts';

type Tree = Record<string, unknown>;

/** An app as the manifest that would make it. */
export async function generateManifest(db: Db, app: FoundApp): Promise<Tree> {
  const [processes, sidecars, routes, docker, services] = await Promise.all([
    processesOfApp(db, app.guid),
    sidecarsOf(db, app.guid),
    routesOf(db, app.guid),
    dockerOf(db, app),
    servicesOf(db, app.guid),
  ]);
  const metadata = {
    ...(Object.keys(app.labels).length > 0 && { labels: app.labels }),
    ...(Object.keys(app.annotations).length > 0 && { annotations: app.annotations }),
  };
  return {
    name: app.name,
    ...(app.buildpacks.length > 0 && { buildpacks: app.buildpacks }),
    ...(app.lifecycle_type === 'docker' ? { lifecycle: 'docker', ...(docker && { docker }) } : { stack: app.stack }),
    ...(Object.keys(app.environment_variables).length > 0 && { env: app.environment_variables }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
    features: featuresOf(app),
    ...(services.length > 0 && { services }),
    ...(routes.length > 0 && { routes }),
    // The newest web process stands for the others that a deployment still replaces.
    processes: [...new Map(processes.map((process) => [process.type, process])).values()].map(presentProcess),
    ...(sidecars.length > 0 && {
      sidecars: sidecars.map(({ name, command, process_types, memory_in_mb }) => ({
        name,
        process_types,
        command,
        ...(memory_in_mb !== null && { memory: showMegabytes(memory_in_mb) }),
      })),
    }),
  };
}

/** The names of the service instances that it is bound to. */
async function servicesOf(db: Db, app_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('service_credential_bindings')
    .innerJoin('service_instances', 'service_instances.guid', 'service_credential_bindings.service_instance_guid')
    .select('service_instances.name')
    .distinct()
    .where('service_credential_bindings.app_guid', '=', app_guid)
    .where('service_credential_bindings.type', '=', 'app')
    .execute();
  return rows.map(({ name }) => name).sort((a, b) => a.localeCompare(b));
}

/** The image that it runs; its password is in no manifest. */
async function dockerOf(db: Db, app: FoundApp): Promise<Tree | undefined> {
  if (app.lifecycle_type !== 'docker' || app.droplet_guid === null) return undefined;
  const row = await db
    .selectFrom('droplets')
    .leftJoin('packages', 'packages.guid', 'droplets.package_guid')
    .select(['droplets.image', 'packages.docker_username as username'])
    .where('droplets.guid', '=', app.droplet_guid)
    .executeTakeFirst();
  return row && { image: row.image, ...(row.username !== null && { username: row.username }) };
}

async function routesOf(db: Db, app_guid: string): Promise<Tree[]> {
  const rows = await db
    .selectFrom('route_destinations')
    .innerJoin('routes', 'routes.guid', 'route_destinations.route_guid')
    .innerJoin('domains', 'domains.guid', 'routes.domain_guid')
    .select([
      'routes.host',
      'routes.path',
      'routes.port',
      'routes.options',
      'domains.name',
      'route_destinations.protocol',
    ])
    .where('route_destinations.app_guid', '=', app_guid)
    .orderBy('routes.id')
    .execute();
  return rows.map((row) => ({
    route: `${row.host === '' ? '' : `${row.host}.`}${row.name}${row.port === null ? '' : `:${row.port}`}${row.path}`,
    protocol: row.protocol ?? (row.port === null ? 'http1' : 'tcp'),
    ...(Object.keys(row.options).length > 0 && { options: row.options }),
  }));
}

function presentProcess(process: ProcessRow): Tree {
  return {
    type: process.type,
    ...(process.command !== null && { command: process.command }),
    instances: process.instances,
    memory: showMegabytes(process.memory_in_mb),
    disk_quota: showMegabytes(process.disk_in_mb),
    'log-rate-limit-per-second': showLogRate(process.log_rate_limit_in_bytes_per_second),
    ...presentCheck(process.health_check, 'health-check'),
    ...presentCheck(process.readiness_health_check, 'readiness-health-check'),
    ...(process.health_check.data.timeout != null && { timeout: process.health_check.data.timeout }),
  };
}

function presentCheck({ type, data }: ProcessHealthCheck, prefix: string): Tree {
  return {
    [`${prefix}-type`]: type,
    ...(data.endpoint != null && { [`${prefix}-http-endpoint`]: data.endpoint }),
    ...(data.invocation_timeout != null && { [`${prefix}-invocation-timeout`]: data.invocation_timeout }),
    ...(data.interval != null && { [`${prefix}-interval`]: data.interval }),
  };
}

export interface Difference {
  op: 'add' | 'remove' | 'replace';
  path: string;
  value?: unknown;
  was?: unknown;
}

const SIZES = new Set(['memory', 'disk_quota', 'disk-quota', 'log-rate-limit-per-second']);
const LISTS_BY: Readonly<Record<string, string>> = { processes: 'type', sidecars: 'name', routes: 'route' };
const UNSAID = new Set([
  'name',
  'default-route',
  'random-route',
  'no-route',
  'path',
  'services',
  'features',
  'lifecycle',
]);
const OF_WEB = new Set([
  'command',
  'instances',
  'memory',
  'disk_quota',
  'disk-quota',
  'log-rate-limit-per-second',
  'timeout',
]);

/** What applying an app of a manifest would change of it as it is; only what the manifest mentions counts. */
export function diffApp(given: Tree, current: Tree | undefined, path: string): Difference[] {
  const web = (current?.['processes'] as Tree[] | undefined)?.find((process) => process['type'] === 'web');
  return Object.entries(given).flatMap(([key, value]) => {
    if (UNSAID.has(key)) return [];
    const isOfWeb = OF_WEB.has(key) || key.includes('health-check');
    // What a new app gets by default is no news.
    if (current === undefined && SIZES.has(key)) return [];
    const was = isOfWeb ? web?.[key === 'disk-quota' ? 'disk_quota' : key] : current?.[key];
    const by = LISTS_BY[key];
    if (by !== undefined && Array.isArray(value))
      return diffList(value as Tree[], (was ?? []) as Tree[], { path: `${path}/${key}`, by });
    if (isPlain(value) && isPlain(was)) return diffTree(value, was, `${path}/${key}`);
    return diffValue(value, was, { path: `${path}/${key}`, key });
  });
}

function diffTree(given: Tree, was: Tree, path: string): Difference[] {
  return Object.entries(given).flatMap(([key, value]) => {
    const before = was[key === 'disk-quota' ? 'disk_quota' : key];
    if (isPlain(value) && isPlain(before)) return diffTree(value, before, `${path}/${key}`);
    return diffValue(value, before, { path: `${path}/${key}`, key });
  });
}

function diffList(given: Tree[], was: Tree[], { path, by }: { path: string; by: string }): Difference[] {
  return given.flatMap((item, at) => {
    const before = was.find((other) => other[by] === item[by]);
    return before
      ? diffTree(item, before, `${path}/${at}`)
      : [{ op: 'add' as const, path: `${path}/${at}`, value: item }];
  });
}

function diffValue(value: unknown, was: unknown, { path, key }: { path: string; key: string }): Difference[] {
  if (isDeepStrictEqual(value, was)) return [];
  if (SIZES.has(key) && parseBytes(value) !== undefined && parseBytes(value) === parseBytes(was)) return [];
  if (!isPlain(value) && !Array.isArray(value) && String(value) === String(was)) return [];
  return was === undefined || was === null ? [{ op: 'add', path, value }] : [{ op: 'replace', path, was, value }];
}

function isPlain(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
