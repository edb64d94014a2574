import { type RawBuilder, sql } from 'kysely';
import type { Trx } from '../tables.ts';

/** Deletes the routes of which the condition holds. Returns the guids of the apps that they led to. */
export async function removeRoutes(trx: Trx, condition: RawBuilder<boolean>): Promise<string[]> {
  const { rows } = await sql<{ app_guid: string }>`
    select distinct app_guid from route_destinations
    where route_guid in (select guid from routes where ${condition})`.execute(trx);
  // A route service that a broker made is unbound by the broker first; the database refuses until then.
  await sql`
    delete from service_route_bindings b using service_instances i
    where i.guid = b.service_instance_guid and i.type = 'user-provided'
      and b.route_guid in (select guid from routes where ${condition})`.execute(trx);
  await trx.deleteFrom('routes').where(condition).execute();
  return rows.map((row) => row.app_guid);
}
