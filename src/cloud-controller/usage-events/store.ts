import { type Selectable, sql } from 'kysely';
import { type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { AppUsageEvents, Db } from '../tables.ts';

export type AppUsageEventRow = Selectable<AppUsageEvents>;

export async function findAppUsageEvent(db: Db, guid: string): Promise<AppUsageEventRow | undefined> {
  return await db.selectFrom('app_usage_events').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** `after_guid` gives those that come after one event; undefined when that one is not there. */
export async function listAppUsageEvents(
  db: Db,
  query: ListQuery,
  after_guid: string | undefined,
): Promise<Page<AppUsageEventRow> | undefined> {
  let statement = db.selectFrom('app_usage_events').selectAll();
  if (after_guid !== undefined) {
    const after = await findAppUsageEvent(db, after_guid);
    if (!after) return undefined;
    statement = statement.where('id', '>', after.id);
  }
  return await selectPage(statement, { query, table: 'app_usage_events', filters: { guids: 'app_usage_events.guid' } });
}

/** Forgets all usage and begins anew, with a STARTED event for each process that is started now. */
export async function reseedAppUsageEvents(db: Db): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.deleteFrom('app_usage_events').execute();
    await sql`
      insert into app_usage_events (guid, state, previous_state, app_guid, app_name, process_guid, process_type, space_guid,
        space_name, organization_guid, memory_in_mb_per_instance, previous_memory_in_mb_per_instance, instance_count,
        previous_instance_count)
      select gen_random_uuid()::text, 'STARTED', 'STARTED', apps.guid, apps.name, processes.guid, processes.type, spaces.guid,
        spaces.name, spaces.organization_guid, processes.memory_in_mb, processes.memory_in_mb, processes.instances,
        processes.instances
      from processes join apps on apps.guid = processes.app_guid join spaces on spaces.guid = apps.space_guid
      where processes.state = 'STARTED' order by processes.id`.execute(trx);
  });
}
