import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation } from '#db/database.ts';
import { isOneOf } from '../api/list-store.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, Trx } from '../tables.ts';

export interface DestinationColumns {
  app_guid: string;
  process_type: string;
  port: number | null;
  protocol: string | null;
  weight: number | null;
}

/** Adds those that are not there yet. Errors: 422 when an app was deleted meanwhile. */
export async function insertDestinations(
  db: Db,
  route_guid: string,
  destinations: readonly DestinationColumns[],
): Promise<void> {
  if (destinations.length === 0) return;
  try {
    await db
      .insertInto('route_destinations')
      .values(destinations.map((destination) => ({ guid: randomUUID(), route_guid, ...destination })))
      .onConflict((conflict) => conflict.constraint('route_destinations_once').doNothing())
      .execute();
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw unprocessable('App(s) of these destinations do not exist.');
  }
}

/** All but those that stay go. */
export async function keepDestinations(trx: Trx, route_guid: string, kept_guids: readonly string[]): Promise<void> {
  await trx
    .deleteFrom('route_destinations')
    .where('route_guid', '=', route_guid)
    .where(sql<boolean>`not ${isOneOf('guid', kept_guids)}`)
    .execute();
}

export async function deleteDestination(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('route_destinations').where('guid', '=', guid).execute();
}

export async function setDestinationProtocol(db: Db, guid: string, protocol: string | null): Promise<void> {
  await db.updateTable('route_destinations').set({ protocol, updated_at: NOW }).where('guid', '=', guid).execute();
}

/** The apps that a route leads to. */
export async function appsOfRoute(db: Db, route_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('route_destinations')
    .select('app_guid')
    .distinct()
    .where('route_guid', '=', route_guid)
    .execute();
  return rows.map((row) => row.app_guid);
}

export interface DestinationApp {
  guid: string;
  name: string;
  space_guid: string;
  organization_guid: string;
}

/** The apps among these guids, with where they are. */
export async function appsByGuid(db: Db, guids: readonly string[]): Promise<DestinationApp[]> {
  return await db
    .selectFrom('apps')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .select(['apps.guid', 'apps.name', 'apps.space_guid', 'spaces.organization_guid'])
    .where(isOneOf('apps.guid', guids))
    .execute();
}
