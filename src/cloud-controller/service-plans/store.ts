import { sql } from 'kysely';
import { isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db } from '../tables.ts';
import type { ServicePlanRow, VisibilityType } from '../tables-services.ts';
import { canUseIn, isPlanVisible, type PlanViewer } from './visible-store.ts';

/** A plan with what its offering and its broker say of it. */
export type ServicePlan = ServicePlanRow & {
  offering_name: string;
  offering_catalog_id: string;
  offering_bindable: boolean;
  offering_plan_updateable: boolean;
  broker_guid: string;
  broker_name: string;
  /** Of a space-scoped broker. */
  space_guid: string | null;
  organization_guid: string | null;
};

function plans(db: Db) {
  return db
    .selectFrom('service_plans')
    .innerJoin('service_offerings', 'service_offerings.guid', 'service_plans.service_offering_guid')
    .innerJoin('service_brokers', 'service_brokers.guid', 'service_offerings.service_broker_guid')
    .leftJoin('spaces', 'spaces.guid', 'service_brokers.space_guid')
    .selectAll('service_plans')
    .select([
      'service_offerings.name as offering_name',
      'service_offerings.catalog_id as offering_catalog_id',
      'service_offerings.bindable as offering_bindable',
      'service_offerings.plan_updateable as offering_plan_updateable',
      'service_brokers.guid as broker_guid',
      'service_brokers.name as broker_name',
      'service_brokers.space_guid',
      'spaces.organization_guid',
    ]);
}

export async function findServicePlan(db: Db, guid: string, viewer: PlanViewer): Promise<ServicePlan | undefined> {
  return await plans(db).where('service_plans.guid', '=', guid).where(isPlanVisible(viewer)).executeTakeFirst();
}

export async function servicePlansByGuid(db: Db, guids: Iterable<string>): Promise<ServicePlan[]> {
  return await plans(db)
    .where(isOneOf('service_plans.guid', [...new Set(guids)]))
    .orderBy('service_plans.id')
    .execute();
}

/** Whether instances of the plan can be made in a space. */
export async function isPlanUsableIn(db: Db, plan_guid: string, space_guid: string): Promise<boolean> {
  const found = await plans(db)
    .where('service_plans.guid', '=', plan_guid)
    .where(canUseIn({ space_guids: [space_guid] }))
    .executeTakeFirst();
  return found !== undefined;
}

export async function listServicePlans(db: Db, query: ListQuery, viewer: PlanViewer): Promise<Page<ServicePlan>> {
  let statement = plans(db).where(isPlanVisible(viewer));
  const { available } = query.plain;
  if (available !== undefined) {
    statement = statement.where(sql<boolean>`service_plans.available = ${available === 'true'}`);
  }
  return await selectPage(statement, {
    query,
    table: 'service_plans',
    filters: {
      guids: 'service_plans.guid',
      names: isOneOfNames('service_plans.name'),
      broker_catalog_ids: 'service_plans.catalog_id',
      space_guids: (guids) => canUseIn({ space_guids: guids }),
      organization_guids: (guids) => canUseIn({ organization_guids: guids }),
      service_broker_guids: 'service_brokers.guid',
      service_broker_names: 'service_brokers.name',
      service_offering_guids: 'service_offerings.guid',
      service_offering_names: isOneOfNames('service_offerings.name'),
      service_instance_guids: (guids) =>
        sql<boolean>`exists (select 1 from service_instances i where i.service_plan_guid = service_plans.guid
          and ${isOneOf('i.guid', guids)})`,
    },
  });
}

export async function updatePlanMetadata(
  db: Db,
  guid: string,
  columns: { labels: string; annotations: string },
): Promise<void> {
  await db
    .updateTable('service_plans')
    .set({ ...columns, updated_at: NOW })
    .where('guid', '=', guid)
    .execute();
}

/** The database refuses while there are instances of it. */
export async function deleteServicePlan(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('service_plans').where('guid', '=', guid).execute();
}

export async function organizationsOfPlan(db: Db, plan_guid: string): Promise<{ guid: string; name: string }[]> {
  return await db
    .selectFrom('service_plan_visibilities')
    .innerJoin('organizations', 'organizations.guid', 'service_plan_visibilities.organization_guid')
    .select(['organizations.guid', 'organizations.name'])
    .where('service_plan_guid', '=', plan_guid)
    .orderBy('organizations.id')
    .execute();
}

/** Sets who sees a plan; with `replace` false, organizations come on top of those that see it already. */
export async function setPlanVisibility(
  trx: Db,
  plan_guid: string,
  wanted: { type: VisibilityType; organization_guids: readonly string[]; replace: boolean },
): Promise<void> {
  const { type, organization_guids, replace } = wanted;
  if (type !== 'organization' || replace) {
    await trx.deleteFrom('service_plan_visibilities').where('service_plan_guid', '=', plan_guid).execute();
  }
  if (type === 'organization' && organization_guids.length > 0) {
    const values = [...new Set(organization_guids)].map((organization_guid) => ({
      service_plan_guid: plan_guid,
      organization_guid,
    }));
    await trx
      .insertInto('service_plan_visibilities')
      .values(values)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  await trx
    .updateTable('service_plans')
    .set({ visibility_type: type, updated_at: NOW })
    .where('guid', '=', plan_guid)
    .execute();
}

/** False when the plan was not enabled for the organization. A plan that none is left for is the admins' alone. */
export async function removePlanOrganization(trx: Db, plan_guid: string, organization_guid: string): Promise<boolean> {
  const result = await trx
    .deleteFrom('service_plan_visibilities')
    .where('service_plan_guid', '=', plan_guid)
    .where('organization_guid', '=', organization_guid)
    .executeTakeFirst();
  await sql`update service_plans set visibility_type = 'admin', updated_at = now() where guid = ${plan_guid}
    and visibility_type = 'organization'
    and not exists (select 1 from service_plan_visibilities v where v.service_plan_guid = service_plans.guid)`.execute(
    trx,
  );
  return result.numDeletedRows > 0n;
}
