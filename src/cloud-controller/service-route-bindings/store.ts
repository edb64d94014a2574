import { sql } from 'kysely';
import type { Db } from '../tables.ts';

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
