import { randomUUID } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isOneOf, isWithin, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, RoutePolicies, Trx } from '../tables.ts';
import { SOURCE } from './schema.ts';

/** With the place of its route, by which it is seen and changed. */
export type RoutePolicy = Selectable<RoutePolicies> & GuardedPlace & { space_guid: string; organization_guid: string };

function policies(db: Db) {
  return db
    .selectFrom('route_policies')
    .innerJoin('routes', 'routes.guid', 'route_policies.route_guid')
    .innerJoin('spaces', 'spaces.guid', 'routes.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('route_policies')
    .select(['routes.space_guid', 'spaces.organization_guid', 'organizations.suspended as organization_suspended']);
}

export async function findRoutePolicy(db: Db, guid: string): Promise<RoutePolicy | undefined> {
  return await policies(db).where('route_policies.guid', '=', guid).executeTakeFirst();
}

export async function listRoutePolicies(db: Db, query: ListQuery, scope: Scope): Promise<Page<RoutePolicy>> {
  const place = { space: 'routes.space_guid', organization: 'spaces.organization_guid' };
  return await selectPage(policies(db).where(isWithin(scope, place)), {
    query,
    table: 'route_policies',
    filters: {
      guids: 'route_policies.guid',
      route_guids: 'route_policies.route_guid',
      space_guids: 'routes.space_guid',
      source_guids: 'route_policies.source_guid',
      sources: (values) => sql<boolean>`(${sourceColumn('route_policies')} = any(${values}::text[]))`,
    },
  });
}

export async function policiesOfRoutes(db: Db, route_guids: readonly string[]): Promise<RoutePolicy[]> {
  return await policies(db)
    .where(isOneOf('route_policies.route_guid', [...new Set(route_guids)]))
    .orderBy('route_policies.id')
    .execute();
}

/** Errors: 422 when the route has that source already, or one that shuts it out. */
export async function insertRoutePolicy(
  trx: Trx,
  route_guid: string,
  wanted: { source: string; metadata?: MetadataUpdate | undefined },
): Promise<string> {
  // Two at once must see each other: `cf:any` stands alone.
  const locked = await trx.selectFrom('routes').select('guid').where('guid', '=', route_guid).forUpdate().execute();
  if (locked.length === 0) throw notFound('Route');
  const others = await trx
    .selectFrom('route_policies')
    .select(['source_type', 'source_guid'])
    .where('route_guid', '=', route_guid)
    .execute();
  const { source } = wanted;
  if (source === 'cf:any' && others.some((other) => other.source_type !== 'any')) {
    throw unprocessable("Source 'cf:any' cannot coexist with other route policies on the same route");
  }
  if (source !== 'cf:any' && others.some((other) => other.source_type === 'any')) {
    throw unprocessable("Source cannot coexist with the existing 'cf:any' policy on this route");
  }
  const [, type = 'any', source_guid = ''] = SOURCE.exec(source) ?? [];
  const guid = randomUUID();
  try {
    await trx
      .insertInto('route_policies')
      .values({
        guid,
        route_guid,
        source_type: type as RoutePolicy['source_type'],
        source_guid,
        ...metadataColumns(undefined, wanted.metadata),
      })
      .execute();
  } catch (error) {
    if (!isUniqueViolation(error, 'route_policies_source')) throw error;
    throw unprocessable(`A route policy with source '${source}' already exists for this route.`);
  }
  return guid;
}

export async function updateRoutePolicy(
  trx: Trx,
  policy: RoutePolicy,
  metadata: MetadataUpdate | undefined,
): Promise<void> {
  await trx
    .updateTable('route_policies')
    .set({ ...metadataColumns(policy, metadata), updated_at: NOW })
    .where('guid', '=', policy.guid)
    .execute();
}

export async function deleteRoutePolicy(trx: Trx, guid: string): Promise<void> {
  await trx.deleteFrom('route_policies').where('guid', '=', guid).execute();
}

export function sourceOf(policy: { source_type: string; source_guid: string }): string {
  return policy.source_type === 'any' ? 'cf:any' : `cf:${policy.source_type}:${policy.source_guid}`;
}

/** As sourceOf, in SQL. */
export function sourceColumn(table: string) {
  const type = sql.ref(`${table}.source_type`);
  const guid = sql.ref(`${table}.source_guid`);
  return sql<string>`case ${type} when 'any' then 'cf:any' else 'cf:' || ${type} || ':' || ${guid} end`;
}
