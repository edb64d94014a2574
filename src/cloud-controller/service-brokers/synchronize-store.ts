import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { NOW } from '../api/statement-store.ts';
import type { Trx } from '../tables.ts';
import type { CatalogOffering, CatalogPlan } from './catalog.ts';

interface Broker {
  guid: string;
  name: string;
  url: string;
  space_guid: string | null;
}

/**
 * Makes offerings and plans as the catalog has them. What the catalog has no more goes, unless there are instances of it: then
 * it stays for them, and no more can be made. Returns warnings.
 */
export async function synchronizeCatalog(
  trx: Trx,
  broker: Broker,
  offerings: readonly CatalogOffering[],
): Promise<string[]> {
  // First those that go: a new plan may have the name of an old one.
  const retired = await retirePlans(trx, broker.guid, offerings);
  for (const offering of offerings) {
    const guid = await writeOffering(trx, broker.guid, offering);
    for (const plan of offering.plans) await writePlan(trx, guid, plan, broker.space_guid !== null);
  }
  await sql`
    delete from service_offerings o where service_broker_guid = ${broker.guid}
      and not (catalog_id = any(${offerings.map(({ catalog_id }) => catalog_id)}::text[]))
      and not exists (select 1 from service_plans p where p.service_offering_guid = o.guid)`.execute(trx);
  await sql`
    update service_offerings o set available = exists (
      select 1 from service_plans p where p.service_offering_guid = o.guid and p.available)
    where service_broker_guid = ${broker.guid}`.execute(trx);
  return warningsOf(broker, retired);
}

interface Retired {
  offering_name: string;
  name: string;
}

async function retirePlans(trx: Trx, broker_guid: string, offerings: readonly CatalogOffering[]): Promise<Retired[]> {
  const kept = offerings.flatMap(({ catalog_id, plans }) => plans.map((plan) => `${catalog_id} ${plan.catalog_id}`));
  const missing = sql`
    select p.guid from service_plans p join service_offerings o on o.guid = p.service_offering_guid
    where o.service_broker_guid = ${broker_guid} and not (o.catalog_id || ' ' || p.catalog_id = any(${kept}::text[]))`;
  await sql`
    delete from service_plans where guid in (${missing})
      and not exists (select 1 from service_instances i where i.service_plan_guid = service_plans.guid)`.execute(trx);
  const { rows } = await sql<Retired>`
    update service_plans set available = false, updated_at = now() from service_offerings o
    where service_plans.guid in (${missing}) and o.guid = service_plans.service_offering_guid
    returning o.name as offering_name, service_plans.name`.execute(trx);
  return rows;
}

async function writeOffering(trx: Trx, broker_guid: string, offering: CatalogOffering): Promise<string> {
  const { plans: _plans, dashboard_client: _client, metadata, tags, requires, ...columns } = offering;
  const values = {
    ...columns,
    tags: JSON.stringify(tags),
    requires: JSON.stringify(requires),
    catalog_metadata: JSON.stringify(metadata),
  };
  const row = await trx
    .insertInto('service_offerings')
    .values({ ...values, guid: randomUUID(), service_broker_guid: broker_guid })
    .onConflict((conflict) =>
      conflict.columns(['service_broker_guid', 'catalog_id']).doUpdateSet({ ...values, updated_at: NOW }),
    )
    .returning('guid')
    .executeTakeFirstOrThrow();
  return row.guid;
}

async function writePlan(trx: Trx, offering_guid: string, plan: CatalogPlan, isOfSpace: boolean): Promise<void> {
  const { metadata, maintenance_info, schemas, ...columns } = plan;
  const values = {
    ...columns,
    available: true,
    maintenance_info: JSON.stringify(maintenance_info),
    schemas: JSON.stringify(schemas),
    catalog_metadata: JSON.stringify(metadata),
  };
  await trx
    .insertInto('service_plans')
    .values({
      ...values,
      guid: randomUUID(),
      service_offering_guid: offering_guid,
      // Nobody sees a new plan until an operator says so; one of a space's broker is seen there.
      visibility_type: isOfSpace ? 'space' : 'admin',
    })
    .onConflict((conflict) =>
      conflict.columns(['service_offering_guid', 'catalog_id']).doUpdateSet({ ...values, updated_at: NOW }),
    )
    .execute();
}

function warningsOf(broker: Broker, retired: readonly Retired[]): string[] {
  if (retired.length === 0) return [];
  const by_offering = Map.groupBy(retired, ({ offering_name }) => offering_name);
  const lines = [...by_offering].map(
    ([offering, plans]) =>
      `Service Offering: ${offering}\nPlans deactivated: ${plans.map(({ name }) => name).join(', ')}`,
  );
  return [
    `Warning: Service plans are missing from the broker's catalog (${broker.url}/v2/catalog) but can not be removed while instances of them exist. No new instances of them can be made; their broker should go on with those that are there.\n${lines.join('\n')}`,
  ];
}
