import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isOneOf, isOneOfNames, isWithin, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, RouteOptions, RouteRow, Trx } from '../tables.ts';
import { type Counted, type RouteAddress, takenText } from './check.ts';
import { removeRoutes } from './delete-store.ts';
import type { RouteOptionsUpdate } from './schema.ts';

/** A destination as PostgreSQL's JSON has it: times are texts. */
export interface Destination {
  guid: string;
  app_guid: string;
  process_type: string;
  port: number | null;
  protocol: string | null;
  weight: number | null;
  created_at: string;
  updated_at: string;
}

/** A route with all that its presentation and its permissions need. */
export type Route = RouteRow &
  GuardedPlace & {
    domain_name: string;
    router_group_guid: string | null;
    organization_guid: string;
    destinations: Destination[];
    shared_space_guids: string[];
  };

function routes(db: Db) {
  return (
    db
      .selectFrom('routes')
      .leftJoin('domains', 'domains.guid', 'routes.domain_guid')
      .leftJoin('spaces', 'spaces.guid', 'routes.space_guid')
      .leftJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
      .selectAll('routes')
      .select([
        'domains.name as domain_name',
        'domains.router_group_guid',
        'spaces.organization_guid',
        'organizations.suspended as organization_suspended',
        sql<Destination[]>`coalesce((select jsonb_agg(to_jsonb(route_destinations) order by route_destinations.id)
        from route_destinations where route_guid = routes.guid), '[]')`.as('destinations'),
        sql<string[]>`array(select space_guid from route_shared_spaces where route_guid = routes.guid
        order by space_guid)`.as('shared_space_guids'),
      ])
      // Each has its place; as outer joins those that nothing asks for are left out by PostgreSQL.
      .$castTo<Route>()
  );
}

export async function findRoute(db: Db, guid: string): Promise<Route | undefined> {
  return await routes(db).where('routes.guid', '=', guid).executeTakeFirst();
}

export async function routesByGuid(db: Db, guids: readonly string[]): Promise<Route[]> {
  return await routes(db)
    .where(isOneOf('routes.guid', [...new Set(guids)]))
    .orderBy('routes.id')
    .execute();
}

/** Routes of a caller's spaces, and those shared with them; of one app alone with `app_guid`. */
export async function listRoutes(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; app_guid?: string },
): Promise<Page<Route>> {
  const { scope, app_guid } = within;
  let statement = routes(db);
  if (!scope.everywhere) {
    const own = isWithin(scope, { space: 'routes.space_guid', organization: 'spaces.organization_guid' });
    statement = statement.where(
      sql<boolean>`(${own} or exists (select 1 from route_shared_spaces where route_guid = routes.guid
        and ${isOneOf('route_shared_spaces.space_guid', scope.space_guids)}))`,
    );
  }
  if (app_guid !== undefined) statement = statement.where(leadsTo([app_guid]));
  return await selectPage(statement, {
    query,
    table: 'routes',
    filters: {
      app_guids: leadsTo,
      domain_guids: 'routes.domain_guid',
      hosts: isOneOfNames('routes.host'),
      organization_guids: 'spaces.organization_guid',
      paths: isOneOfNames('routes.path'),
      ports: (values) => sql<boolean>`routes.port::text = any(${values}::text[])`,
      space_guids: (values) =>
        sql<boolean>`(${isOneOf('routes.space_guid', values)} or exists (select 1 from route_shared_spaces
          where route_guid = routes.guid and ${isOneOf('route_shared_spaces.space_guid', values)}))`,
      service_instance_guids: (values) =>
        sql<boolean>`exists (select 1 from service_route_bindings b where b.route_guid = routes.guid
          and ${isOneOf('b.service_instance_guid', values)})`,
    },
  });
}

function leadsTo(app_guids: readonly string[]) {
  return sql<boolean>`exists (select 1 from route_destinations where route_guid = routes.guid
    and ${isOneOf('route_destinations.app_guid', app_guids)})`;
}

/** Whether a route of exactly this address is there. */
export async function isReserved(db: Db, domain_guid: string, address: RouteAddress): Promise<boolean> {
  return (await findRouteByAddress(db, domain_guid, address)) !== undefined;
}

export async function findRouteByAddress(
  db: Db,
  domain_guid: string,
  address: RouteAddress,
): Promise<Route | undefined> {
  return await routes(db)
    .where('routes.domain_guid', '=', domain_guid)
    .where(sql<boolean>`lower(routes.host) = ${address.host.toLowerCase()}
      and lower(routes.path) = ${address.path.toLowerCase()} and coalesce(routes.port, 0) = ${address.port ?? 0}`)
    .executeTakeFirst();
}

/** The name of the domain that the host and domain of a route would be, if there is one. */
export async function findDomainNamed(db: Db, name: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('domains')
    .select('name')
    .where(sql<boolean>`lower(name) = ${name.toLowerCase()}`)
    .executeTakeFirst();
  return row?.name;
}

/** How many routes the space and its organization have, and how many their quotas allow. */
export async function countRoutes(db: Db, space_guid: string): Promise<Counted> {
  const { rows } = await sql<{
    organization_name: string;
    organization_routes: number;
    organization_allowed: number | null;
    space_name: string;
    space_routes: number;
    space_allowed: number | null;
    organization_ports: number;
    organization_allowed_ports: number | null;
    space_ports: number;
    space_allowed_ports: number | null;
  }>`
    select organizations.name as organization_name, organization_quotas.total_routes as organization_allowed,
      (select count(*) from routes join spaces as own on own.guid = routes.space_guid
        where own.organization_guid = organizations.guid) as organization_routes,
      spaces.name as space_name, space_quotas.total_routes as space_allowed,
      (select count(*) from routes where routes.space_guid = spaces.guid) as space_routes,
      organization_quotas.total_reserved_ports as organization_allowed_ports,
      (select count(*) from routes join spaces as own on own.guid = routes.space_guid
        where own.organization_guid = organizations.guid and routes.port is not null) as organization_ports,
      space_quotas.total_reserved_ports as space_allowed_ports,
      (select count(*) from routes where routes.space_guid = spaces.guid and routes.port is not null) as space_ports
    from spaces join organizations on organizations.guid = spaces.organization_guid
      join organization_quotas on organization_quotas.guid = organizations.quota_guid
      left join space_quotas on space_quotas.guid = spaces.quota_guid
    where spaces.guid = ${space_guid}`.execute(db);
  const [counted] = rows;
  if (!counted) throw notFound('Space');
  return {
    organization: {
      name: counted.organization_name,
      routes: counted.organization_routes,
      allowed: counted.organization_allowed,
      ports: counted.organization_ports,
      allowed_ports: counted.organization_allowed_ports,
    },
    space: {
      name: counted.space_name,
      routes: counted.space_routes,
      allowed: counted.space_allowed,
      ports: counted.space_ports,
      allowed_ports: counted.space_allowed_ports,
    },
  };
}

/** The ports that routes have of a router group, whatever their domain; held still until the transaction ends. */
export async function takenPorts(trx: Db, router_group_guid: string): Promise<Set<number>> {
  await sql`select pg_advisory_xact_lock(hashtext('router_group ' || ${router_group_guid}))`.execute(trx);
  const rows = await trx
    .selectFrom('routes')
    .innerJoin('domains', 'domains.guid', 'routes.domain_guid')
    .select('routes.port')
    .where('domains.router_group_guid', '=', router_group_guid)
    .execute();
  return new Set(rows.flatMap(({ port }) => (port === null ? [] : [port])));
}

export interface NewRoute extends RouteAddress {
  domain: { guid: string; name: string };
  space_guid: string;
  options?: RouteOptionsUpdate | undefined;
  metadata?: MetadataUpdate | undefined;
}

/** Errors: 422 when the address is taken. */
export async function insertRoute(db: Db, route: NewRoute): Promise<string> {
  const guid = randomUUID();
  try {
    await db
      .insertInto('routes')
      .values({
        guid,
        host: route.host.toLowerCase(),
        path: route.path,
        port: route.port,
        domain_guid: route.domain.guid,
        space_guid: route.space_guid,
        options: JSON.stringify(mergeOptions({}, route.options)),
        ...metadataColumns(undefined, route.metadata),
      })
      .execute();
  } catch (error) {
    if (!isUniqueViolation(error, 'routes_address')) throw error;
    throw unprocessable(takenText(route, route.domain.name));
  }
  return guid;
}

export async function updateRoute(
  db: Db,
  route: Route,
  wanted: { options?: RouteOptionsUpdate | undefined; metadata?: MetadataUpdate | undefined },
): Promise<void> {
  await db
    .updateTable('routes')
    .set({
      options: JSON.stringify(mergeOptions(route.options, wanted.options)),
      ...metadataColumns(route, wanted.metadata),
      updated_at: NOW,
    })
    .where('guid', '=', route.guid)
    .execute();
}

/**
 * Options after an update; null takes one away.
 * Errors: 422 for options of hashing without hashing, or hashing without its header.
 */
export function mergeOptions(current: RouteOptions, update: RouteOptionsUpdate | undefined): RouteOptions {
  const merged = new Map<string, unknown>(Object.entries(current));
  for (const [key, value] of Object.entries(update ?? {})) {
    if (value === null) merged.delete(key);
    else if (value !== undefined) merged.set(key, value);
  }
  if (merged.get('loadbalancing') === 'hash') {
    if (!merged.has('hash_header'))
      throw unprocessable('Hash header must be present when loadbalancing is set to hash.');
  } else if (update?.hash_header || update?.hash_balance) {
    throw unprocessable('Options Hash header can only be set when loadbalancing is hash');
  } else {
    merged.delete('hash_header');
    merged.delete('hash_balance');
  }
  return Object.fromEntries(merged);
}

/** Returns the apps that the routes led to. */
export async function removeRoute(trx: Trx, guid: string): Promise<string[]> {
  return await removeRoutes(trx, sql<boolean>`routes.guid = ${guid}`);
}

export async function removeDomainRoutes(trx: Trx, domain_guid: string): Promise<string[]> {
  return await removeRoutes(trx, sql<boolean>`routes.domain_guid = ${domain_guid}`);
}

export async function shareRoute(db: Db, route_guid: string, space_guids: readonly string[]): Promise<void> {
  if (space_guids.length === 0) return;
  await db
    .insertInto('route_shared_spaces')
    .values([...new Set(space_guids)].map((space_guid) => ({ route_guid, space_guid })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Ends the sharing, and the destinations that are that space's apps. Returns those apps. */
export async function unshareRoute(trx: Trx, route_guid: string, space_guid: string): Promise<string[]> {
  await trx
    .deleteFrom('route_shared_spaces')
    .where('route_guid', '=', route_guid)
    .where('space_guid', '=', space_guid)
    .execute();
  const { rows } = await sql<{ app_guid: string }>`
    delete from route_destinations where route_guid = ${route_guid}
      and app_guid in (select guid from apps where space_guid = ${space_guid}) returning app_guid`.execute(trx);
  return rows.map((row) => row.app_guid);
}

/** The route becomes another space's; the one that had it keeps it as shared, so that its apps stay reachable. */
export async function moveRoute(trx: Trx, route: Route, space_guid: string): Promise<void> {
  await trx.updateTable('routes').set({ space_guid, updated_at: NOW }).where('guid', '=', route.guid).execute();
  await trx
    .deleteFrom('route_shared_spaces')
    .where('route_guid', '=', route.guid)
    .where('space_guid', '=', space_guid)
    .execute();
  await shareRoute(trx, route.guid, [route.space_guid]);
}
