import { sql } from 'kysely';
import type { Db } from '../tables.ts';

/**
 * Notes which clients a broker has from now on; those of no (other) broker are free. Gives those that were its own and are not any
 * more, and the wanted ones that belong to another broker, in which case nothing is noted.
 */
export async function claimClients(
  db: Db,
  broker_guid: string,
  client_ids: readonly string[],
): Promise<{ taken: string[]; known: string[]; left: string[] }> {
  return await db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ client_id: string; service_broker_guid: string | null }>`
      select client_id, service_broker_guid from service_dashboard_clients
      where client_id = any(${client_ids}::text[]) or service_broker_guid = ${broker_guid} for update`.execute(trx);
    const others = rows.filter((row) => row.service_broker_guid !== null && row.service_broker_guid !== broker_guid);
    const taken = others.map(({ client_id }) => client_id);
    if (taken.length > 0) return { taken, known: [], left: [] };
    const known = rows.map(({ client_id }) => client_id);
    const left = known.filter((client_id) => !client_ids.includes(client_id));
    if (client_ids.length > 0) {
      await sql`
        insert into service_dashboard_clients (client_id, service_broker_guid)
        select id, ${broker_guid} from unnest(${client_ids}::text[]) id
        on conflict (client_id) do update set service_broker_guid = excluded.service_broker_guid`.execute(trx);
    }
    return { taken, known: known.filter((client_id) => client_ids.includes(client_id)), left };
  });
}

export async function forgetClients(db: Db, client_ids: readonly string[]): Promise<void> {
  if (client_ids.length === 0) return;
  await db.deleteFrom('service_dashboard_clients').where('client_id', 'in', client_ids).execute();
}

/** Those whose broker is gone. */
export async function clientsOfNobody(db: Db): Promise<string[]> {
  const rows = await db
    .selectFrom('service_dashboard_clients')
    .select('client_id')
    .where('service_broker_guid', 'is', null)
    .execute();
  return rows.map(({ client_id }) => client_id);
}
