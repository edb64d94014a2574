import { type RawBuilder, sql } from 'kysely';
import type { Trx } from '../tables.ts';

/** Deletes the routes of which the condition holds. Returns the guids of the apps that they led to. */
export async function removeRoutes(trx: Trx, condition: RawBuilder<boolean>): Promise<string[]> {
  const { rows } = await sql<{ app_guid: string }>`
    select distinct app_guid from route_destinations
    where route_guid in (select guid from routes where ${condition})`.execute(trx);
  await trx.deleteFrom('routes').where(condition).execute();
  return rows.map((row) => row.app_guid);
}
