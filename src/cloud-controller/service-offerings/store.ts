import { type RawBuilder, sql } from 'kysely';
import { isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { NOW } from '../api/statement-store.ts';
import { canUseIn, isPlanVisible, type PlanViewer } from '../service-plans/visible-store.ts';
import type { Db } from '../tables.ts';
import type { ServiceOfferingRow } from '../tables-services.ts';

/** An offering and the place that its broker is restricted to. */
export type ServiceOffering = ServiceOfferingRow & {
  space_guid: string | null;
  organization_guid: string | null;
  broker_name: string;
};

function offerings(db: Db) {
  return db
    .selectFrom('service_offerings')
    .innerJoin('service_brokers', 'service_brokers.guid', 'service_offerings.service_broker_guid')
    .leftJoin('spaces', 'spaces.guid', 'service_brokers.space_guid')
    .selectAll('service_offerings')
    .select(['service_brokers.space_guid', 'service_brokers.name as broker_name', 'spaces.organization_guid']);
}

/** One of its plans is. */
function hasPlan(condition: RawBuilder<boolean>): RawBuilder<boolean> {
  return sql<boolean>`exists (select 1 from service_plans
    where service_plans.service_offering_guid = service_offerings.guid and ${condition})`;
}

export async function findServiceOffering(
  db: Db,
  guid: string,
  viewer: PlanViewer,
): Promise<ServiceOffering | undefined> {
  return await offerings(db)
    .where('service_offerings.guid', '=', guid)
    .where(viewer.seesAll ? sql<boolean>`true` : hasPlan(isPlanVisible(viewer)))
    .executeTakeFirst();
}

export async function serviceOfferingsByGuid(db: Db, guids: Iterable<string>): Promise<ServiceOffering[]> {
  return await offerings(db)
    .where(isOneOf('service_offerings.guid', [...new Set(guids)]))
    .orderBy('service_offerings.id')
    .execute();
}

export async function listServiceOfferings(
  db: Db,
  query: ListQuery,
  viewer: PlanViewer,
): Promise<Page<ServiceOffering>> {
  let statement = offerings(db);
  if (!viewer.seesAll) statement = statement.where(hasPlan(isPlanVisible(viewer)));
  const { available } = query.plain;
  if (available !== undefined) {
    statement = statement.where(sql<boolean>`service_offerings.available = ${available === 'true'}`);
  }
  return await selectPage(statement, {
    query,
    table: 'service_offerings',
    filters: {
      guids: 'service_offerings.guid',
      names: isOneOfNames('service_offerings.name'),
      broker_catalog_ids: 'service_offerings.catalog_id',
      service_broker_guids: 'service_offerings.service_broker_guid',
      service_broker_names: 'service_brokers.name',
      space_guids: (guids) => hasPlan(canUseIn({ space_guids: guids })),
      organization_guids: (guids) => hasPlan(canUseIn({ organization_guids: guids })),
    },
  });
}

export async function updateOfferingMetadata(
  db: Db,
  guid: string,
  columns: { labels: string; annotations: string },
): Promise<void> {
  await db
    .updateTable('service_offerings')
    .set({ ...columns, updated_at: NOW })
    .where('guid', '=', guid)
    .execute();
}
