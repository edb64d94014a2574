import { type RawBuilder, type Selectable, sql } from 'kysely';
import { type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Db, Trx } from '../tables.ts';
import type { ServiceUsageEvents } from '../tables-services.ts';

export type ServiceUsageEventRow = Selectable<ServiceUsageEvents>;

export async function findServiceUsageEvent(db: Db, guid: string): Promise<ServiceUsageEventRow | undefined> {
  return await db.selectFrom('service_usage_events').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** `after_guid` gives those that come after one event; undefined when that one is not there. */
export async function listServiceUsageEvents(
  db: Db,
  query: ListQuery,
  after_guid: string | undefined,
): Promise<Page<ServiceUsageEventRow> | undefined> {
  let statement = db.selectFrom('service_usage_events').selectAll();
  if (after_guid !== undefined) {
    const after = await findServiceUsageEvent(db, after_guid);
    if (!after) return undefined;
    statement = statement.where('id', '>', after.id);
  }
  return await selectPage(statement, {
    query,
    table: 'service_usage_events',
    filters: {
      guids: 'service_usage_events.guid',
      service_instance_types: 'service_usage_events.service_instance_type',
      service_offering_guids: 'service_usage_events.service_offering_guid',
    },
  });
}

/** Writes what an instance is from now on, or was until now. */
export async function recordServiceUsage(
  trx: Db,
  guid: string,
  state: 'CREATED' | 'UPDATED' | 'DELETED',
): Promise<void> {
  await insertEvents(trx, state, sql<boolean>`service_instances.guid = ${guid}`);
}

/** Forgets all usage and begins anew, with a CREATED event for each instance that is there now. */
export async function reseedServiceUsageEvents(db: Db): Promise<void> {
  await inTransaction(db, async (trx: Trx) => {
    await trx.deleteFrom('service_usage_events').execute();
    await insertEvents(trx, 'CREATED', sql<boolean>`true`);
  });
}

async function insertEvents(trx: Db, state: string, which: RawBuilder<boolean>): Promise<void> {
  await sql`
    insert into service_usage_events (guid, state, space_guid, space_name, organization_guid, service_instance_guid,
      service_instance_name, service_instance_type, service_plan_guid, service_plan_name, service_offering_guid,
      service_offering_name, service_broker_guid, service_broker_name)
    select gen_random_uuid()::text, ${state}, spaces.guid, spaces.name, spaces.organization_guid, service_instances.guid,
      service_instances.name,
      case service_instances.type when 'managed' then 'managed_service_instance' else 'user_provided_service_instance' end,
      service_plans.guid, service_plans.name, service_offerings.guid, service_offerings.name, service_brokers.guid,
      service_brokers.name
    from service_instances
    join spaces on spaces.guid = service_instances.space_guid
    left join service_plans on service_plans.guid = service_instances.service_plan_guid
    left join service_offerings on service_offerings.guid = service_plans.service_offering_guid
    left join service_brokers on service_brokers.guid = service_offerings.service_broker_guid
    where ${which} order by service_instances.id`.execute(trx);
}
