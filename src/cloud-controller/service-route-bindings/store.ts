import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { type CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isWithin, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { begun } from '../service-operations/operation.ts';
import type { Db } from '../tables.ts';
import type { ServiceRouteBindingRow } from '../tables-services.ts';

/** A binding, and the place of its route. */
export type RouteBinding = ServiceRouteBindingRow &
  GuardedPlace & {
    space_guid: string;
    organization_guid: string;
    instance_name: string;
    instance_type: 'managed' | 'user-provided';
    /** What counts: the instance's own for a user-provided one. */
    effective_url: string | null;
  };

function bindings(db: Db) {
  return db
    .selectFrom('service_route_bindings')
    .innerJoin('service_instances', 'service_instances.guid', 'service_route_bindings.service_instance_guid')
    .innerJoin('routes', 'routes.guid', 'service_route_bindings.route_guid')
    .innerJoin('spaces', 'spaces.guid', 'routes.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('service_route_bindings')
    .select([
      'routes.space_guid',
      'spaces.organization_guid',
      'organizations.suspended as organization_suspended',
      'service_instances.name as instance_name',
      'service_instances.type as instance_type',
      sql<string | null>`case service_instances.type when 'user-provided' then service_instances.route_service_url
        else service_route_bindings.route_service_url end`.as('effective_url'),
    ]);
}

export async function findRouteBinding(db: Db, guid: string): Promise<RouteBinding | undefined> {
  return await bindings(db).where('service_route_bindings.guid', '=', guid).executeTakeFirst();
}

export async function lockRouteBinding(trx: Db, guid: string): Promise<RouteBinding | undefined> {
  const { rows } = await sql`select 1 from service_route_bindings where guid = ${guid} for update`.execute(trx);
  return rows.length === 0 ? undefined : await findRouteBinding(trx, guid);
}

export async function listRouteBindings(db: Db, query: ListQuery, scope: Scope): Promise<Page<RouteBinding>> {
  return await selectPage(
    bindings(db).where(isWithin(scope, { space: 'routes.space_guid', organization: 'spaces.organization_guid' })),
    {
      query,
      table: 'service_route_bindings',
      filters: {
        guids: 'service_route_bindings.guid',
        route_guids: 'service_route_bindings.route_guid',
        service_instance_guids: 'service_route_bindings.service_instance_guid',
        service_instance_names: 'service_instances.name',
      },
    },
  );
}

export async function guidsOfRouteBindings(db: Db, service_instance_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('service_route_bindings')
    .select('guid')
    .where('service_instance_guid', '=', service_instance_guid)
    .orderBy('id')
    .execute();
  return rows.map((row) => row.guid);
}

export async function bindingOfRoute(db: Db, route_guid: string): Promise<ServiceRouteBindingRow | undefined> {
  return await db
    .selectFrom('service_route_bindings')
    .selectAll()
    .where('route_guid', '=', route_guid)
    .executeTakeFirst();
}

export interface NewRouteBinding {
  guid?: string;
  service_instance_guid: string;
  route_guid: string;
  metadata: MetadataUpdate | undefined;
  operation: ReturnType<typeof begun>;
}

/** Errors: 422 when the route has a service already, or what is bound is gone. */
export async function insertRouteBinding(trx: Db, wanted: NewRouteBinding): Promise<string> {
  const { metadata, operation, ...columns } = wanted;
  const guid = wanted.guid ?? randomUUID();
  try {
    await trx
      .insertInto('service_route_bindings')
      .values({ ...columns, ...operation, guid, ...metadataColumns(undefined, metadata) })
      .execute();
  } catch (error) {
    if (isUniqueViolation(error, 'service_route_bindings_route')) throw otherService();
    if (isForeignKeyViolation(error)) throw unprocessable('The route or the service instance was deleted meanwhile');
    throw error;
  }
  return guid;
}

export const otherService = (): CfError => unprocessable('A route may only be bound to a single service instance');

/** Errors: 404 when the binding was deleted meanwhile. */
export async function updateRouteBinding(trx: Db, guid: string, change: Record<string, unknown>): Promise<void> {
  const result = await trx
    .updateTable('service_route_bindings')
    .set({ ...change, updated_at: NOW })
    .where('guid', '=', guid)
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw notFound('Service route binding');
}

export async function deleteRouteBinding(trx: Db, guid: string): Promise<void> {
  await trx.deleteFrom('service_route_bindings').where('guid', '=', guid).execute();
}

/** The routes that an instance is bound to, and the apps that they lead to. */
export async function routesOfInstance(
  db: Db,
  service_instance_guid: string,
): Promise<{ route_guids: string[]; app_guids: string[] }> {
  const { rows } = await sql<{ route_guid: string; app_guid: string | null }>`
    select b.route_guid, d.app_guid from service_route_bindings b
    left join route_destinations d on d.route_guid = b.route_guid
    where b.service_instance_guid = ${service_instance_guid}`.execute(db);
  return {
    route_guids: [...new Set(rows.map((row) => row.route_guid))],
    app_guids: [...new Set(rows.flatMap((row) => (row.app_guid === null ? [] : [row.app_guid])))],
  };
}
