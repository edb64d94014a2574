import { sql } from 'kysely';
import { removeRoutes } from '../routes/delete-store.ts';
import type { Trx } from '../tables.ts';

/** Removes the space's row with its roles and bindings; the database refuses while apps or routes are in it. */
export async function removeSpace(trx: Trx, guid: string): Promise<void> {
  await trx.deleteFrom('spaces').where('guid', '=', guid).execute();
}

/** Removes all routes of a space. Returns the apps that they led to, of other spaces too. */
export async function removeSpaceRoutes(trx: Trx, guid: string): Promise<string[]> {
  return await removeRoutes(trx, sql<boolean>`routes.space_guid = ${guid}`);
}

/** Removes the routes of a space that lead to no app and no service. */
export async function removeUnmappedRoutes(trx: Trx, guid: string): Promise<void> {
  await removeRoutes(
    trx,
    sql<boolean>`(routes.space_guid = ${guid}
      and not exists (select 1 from route_destinations where route_destinations.route_guid = routes.guid)
      and not exists (select 1 from service_route_bindings where service_route_bindings.route_guid = routes.guid))`,
  );
}
