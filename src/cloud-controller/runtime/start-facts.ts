import type { DockerImage, EgressRule } from '#contracts/dea.ts';
import type { Db } from '../tables.ts';
import { sql } from 'kysely';
import { loadDocker } from '../packages/docker.ts';
import { sourceColumn } from '../route-policies/store.ts';
import { type AppServices, loadAppServices } from '../service-credential-bindings/vcap-services.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { RoutePoliciesScope } from '../tables.ts';
import type { DropletRow, ProcessRow, StartedAs } from '../tables-apps.ts';

/** An app with the names of where it is. */
export interface AppInSpace {
  guid: string;
  name: string;
  space_guid: string;
  space_name: string;
  organization_guid: string;
  organization_name: string;
}

export interface RouteToApp {
  uri: string;
  /** of an internal domain: a name for containers, and nothing to the router */
  is_internal: boolean;
  process_type: string;
  /** unless it is left to the app */
  port: number | undefined;
  loadbalancing: 'round-robin' | 'least-connection' | undefined;
  /** Of the service that the route is bound to. */
  route_service_url: string | undefined;
  /** Of domains that enforce policies: within what callers must be, and which they are. */
  route_policy_scope: RoutePoliciesScope | undefined;
  route_policy_sources: string | undefined;
}

/** All that a start order says, read in one go. */
export interface StartFacts {
  app: AppInSpace;
  process: ProcessRow;
  started_as: StartedAs;
  droplet: DropletRow & { sha256: string };
  stack: string;
  docker: DockerImage | undefined;
  routes: RouteToApp[];
  group_variables: Record<string, string>;
  egress_rules: EgressRule[];
  services: AppServices;
}

const DEFAULT_PORT = 8080;

/** Undefined when the process is gone, is stopped, or has no droplet to run. */
export async function loadStartFacts(
  db: Db,
  process_guid: string,
  { default_stack, vault }: { default_stack: string; vault: Vault },
): Promise<StartFacts | undefined> {
  const process = await db.selectFrom('processes').selectAll().where('guid', '=', process_guid).executeTakeFirst();
  if (process?.state !== 'STARTED' || process.started_as === null) return undefined;
  const { started_as } = process;
  const [app, droplet, routes, group_variables, egress_rules, services] = await Promise.all([
    findAppInSpace(db, process.app_guid),
    db.selectFrom('droplets').selectAll().where('guid', '=', started_as.droplet_guid).executeTakeFirst(),
    loadRoutes(db, process.app_guid),
    loadVariableGroup(db, 'running'),
    loadEgressRules(db, process.app_guid, 'running'),
    loadAppServices(db, vault, process.app_guid),
  ]);
  if (!app || !droplet || droplet.sha256 === null) return undefined;
  const { sha256 } = droplet;
  const stack = droplet.stack ?? default_stack;
  const docker = await loadDocker(db, vault, droplet);
  const places = { app, process, started_as, droplet: { ...droplet, sha256 }, stack, docker };
  return { ...places, routes, group_variables, egress_rules, services };
}

export async function findAppInSpace(db: Db, app_guid: string): Promise<AppInSpace | undefined> {
  return await db
    .selectFrom('apps')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .select([
      'apps.guid',
      'apps.name',
      'apps.space_guid',
      'spaces.name as space_name',
      'spaces.organization_guid',
      'organizations.name as organization_name',
    ])
    .where('apps.guid', '=', app_guid)
    .executeTakeFirst();
}

/** HTTP, TCP and internal routes that lead to an app, oldest first. */
export async function loadRoutes(db: Db, app_guid: string): Promise<RouteToApp[]> {
  const rows = await db
    .selectFrom('route_destinations')
    .innerJoin('routes', 'routes.guid', 'route_destinations.route_guid')
    .innerJoin('domains', 'domains.guid', 'routes.domain_guid')
    .select([
      'routes.host',
      'routes.port as route_port',
      'routes.path',
      'routes.options',
      'domains.name as domain',
      'domains.internal as is_internal',
      'route_destinations.process_type',
      'route_destinations.port',
      'domains.enforce_route_policies',
      'domains.route_policies_scope',
      sql<string | null>`(select string_agg(${sourceColumn('route_policies')}, ',' order by route_policies.id)
        from route_policies where route_policies.route_guid = routes.guid)`.as('route_policy_sources'),
      sql<string | null>`(select coalesce(b.route_service_url, i.route_service_url)
        from service_route_bindings b join service_instances i on i.guid = b.service_instance_guid
        where b.route_guid = routes.guid and b.operation_type = 'create' and b.operation_state = 'succeeded')`.as(
        'route_service_url',
      ),
    ])
    .where('route_destinations.app_guid', '=', app_guid)
    .orderBy('routes.id')
    .execute();
  return rows.map((row) => {
    const loadbalancing = row.options.loadbalancing === 'hash' ? undefined : row.options.loadbalancing;
    const host = row.host === '' ? row.domain : `${row.host}.${row.domain}`;
    const { process_type, is_internal } = row;
    // That it ends in a port is what makes it a TCP route (contracts/tcp-routes.ts).
    const rest = row.route_port === null ? row.path : `:${row.route_port}`;
    const uri = `${host}${rest}`.toLowerCase();
    const isEnforced = row.enforce_route_policies;
    return {
      uri,
      is_internal,
      process_type,
      port: row.port ?? undefined,
      loadbalancing,
      route_service_url: row.route_service_url || undefined,
      route_policy_scope: (isEnforced && row.route_policies_scope) || undefined,
      route_policy_sources: (isEnforced && row.route_policy_sources) || undefined,
    };
  });
}

export async function loadVariableGroup(db: Db, name: 'running' | 'staging'): Promise<Record<string, string>> {
  const row = await db
    .selectFrom('environment_variable_groups')
    .select('var')
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.var ?? {};
}

/** The union of all security groups that hold for the app's space in that phase. */
export async function loadEgressRules(db: Db, app_guid: string, phase: 'running' | 'staging'): Promise<EgressRule[]> {
  const byDefault = phase === 'running' ? sql.ref('running_default') : sql.ref('staging_default');
  const { rows } = await sql<{ rules: EgressRule[] }>`
    select rules from security_groups g where ${byDefault} or exists (
      select 1 from security_group_spaces s join apps a on a.space_guid = s.space_guid
      where s.security_group_guid = g.guid and s.phase = ${phase} and a.guid = ${app_guid})
    order by g.id`.execute(db);
  return rows.flatMap((row) => row.rules);
}

/** The container's ports that the host opens: those that the router's routes lead to, and for web always one, which is `PORT`. */
export function portsOf(process_type: string, routes: readonly RouteToApp[], own_port = DEFAULT_PORT): number[] {
  const ports = routes
    .filter((route) => route.process_type === process_type && !route.is_internal)
    .map((route) => route.port ?? own_port);
  const all = process_type === 'web' && ports.length === 0 ? [own_port] : ports;
  return [...new Set(all)];
}
