import { randomUUID } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isOneOf, isOneOfNames, isWithin, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { begun } from '../service-operations/operation.ts';
import { recordServiceUsage } from '../service-usage-events/store.ts';
import type { Db } from '../tables.ts';
import type { MaintenanceInfo, ServiceInstanceRow } from '../tables-services.ts';

export interface SharedSpace {
  guid: string;
  name: string;
  organization_guid: string;
}

/** An instance, where it is, where else it is shared, and what it is an instance of (null for a user-provided one). */
export type ServiceInstance = ServiceInstanceRow &
  GuardedPlace & {
    space_name: string;
    organization_guid: string;
    organization_name: string;
    shared_spaces: SharedSpace[];
    plan_name: string | null;
    plan_available: boolean | null;
    plan_maintenance_info: MaintenanceInfo | null;
    plan_catalog_id: string | null;
    plan_bindable: boolean | null;
    plan_updateable: boolean | null;
    maximum_polling_duration: number | null;
    offering_guid: string | null;
    offering_name: string | null;
    offering_catalog_id: string | null;
    offering_tags: string[] | null;
    offering_requires: string[] | null;
    instances_retrievable: boolean | null;
    bindings_retrievable: boolean | null;
    allow_context_updates: boolean | null;
    offering_metadata: Record<string, unknown> | null;
    broker_guid: string | null;
    broker_name: string | null;
    broker_space_guid: string | null;
  };

function instances(db: Db) {
  return db
    .selectFrom('service_instances')
    .innerJoin('spaces', 'spaces.guid', 'service_instances.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .leftJoin('service_plans', 'service_plans.guid', 'service_instances.service_plan_guid')
    .leftJoin('service_offerings', 'service_offerings.guid', 'service_plans.service_offering_guid')
    .leftJoin('service_brokers', 'service_brokers.guid', 'service_offerings.service_broker_guid')
    .selectAll('service_instances')
    .select([
      'spaces.name as space_name',
      'spaces.organization_guid',
      'organizations.name as organization_name',
      'organizations.suspended as organization_suspended',
      'service_plans.name as plan_name',
      'service_plans.available as plan_available',
      'service_plans.maintenance_info as plan_maintenance_info',
      'service_plans.catalog_id as plan_catalog_id',
      sql<boolean | null>`coalesce(service_plans.bindable, service_offerings.bindable)`.as('plan_bindable'),
      sql<boolean | null>`coalesce(service_plans.plan_updateable, service_offerings.plan_updateable)`.as(
        'plan_updateable',
      ),
      'service_plans.maximum_polling_duration',
      'service_offerings.guid as offering_guid',
      'service_offerings.name as offering_name',
      'service_offerings.catalog_id as offering_catalog_id',
      'service_offerings.tags as offering_tags',
      'service_offerings.requires as offering_requires',
      'service_offerings.instances_retrievable',
      'service_offerings.bindings_retrievable',
      'service_offerings.allow_context_updates',
      'service_offerings.catalog_metadata as offering_metadata',
      'service_brokers.guid as broker_guid',
      'service_brokers.name as broker_name',
      'service_brokers.space_guid as broker_space_guid',
      sql<SharedSpace[]>`coalesce((
        select jsonb_agg(jsonb_build_object('guid', shared.guid, 'name', shared.name,
          'organization_guid', shared.organization_guid) order by shared.id)
        from service_instance_shares s join spaces shared on shared.guid = s.space_guid
        where s.service_instance_guid = service_instances.guid), '[]')`.as('shared_spaces'),
    ]);
}

export async function findServiceInstance(db: Db, guid: string): Promise<ServiceInstance | undefined> {
  return await instances(db).where('service_instances.guid', '=', guid).executeTakeFirst();
}

/** As findServiceInstance, its row locked until the transaction ends, so that operations on one instance take turns. */
export async function lockServiceInstance(trx: Db, guid: string): Promise<ServiceInstance | undefined> {
  const { rows } = await sql`select 1 from service_instances where guid = ${guid} for update`.execute(trx);
  return rows.length === 0 ? undefined : await findServiceInstance(trx, guid);
}

export async function serviceInstancesByGuid(db: Db, guids: Iterable<string>): Promise<ServiceInstance[]> {
  return await instances(db)
    .where(isOneOf('service_instances.guid', [...new Set(guids)]))
    .orderBy('service_instances.id')
    .execute();
}

/** The instance of that name which apps in a space can be bound to: of the space itself, or shared with it. */
export async function findServiceInstanceByName(
  db: Db,
  space_guid: string,
  name: string,
): Promise<ServiceInstance | undefined> {
  return await instances(db)
    .where('service_instances.name', '=', name)
    .where(isIn([space_guid]))
    .executeTakeFirst();
}

function isIn(space_guids: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`(${isOneOf('service_instances.space_guid', space_guids)} or exists (
    select 1 from service_instance_shares s where s.service_instance_guid = service_instances.guid
      and ${isOneOf('s.space_guid', space_guids)}))`;
}

/** What is in the spaces of a scope, or is shared with one of them. */
export function isInstanceVisible(scope: Scope): RawBuilder<boolean> {
  if (scope.everywhere) return sql<boolean>`true`;
  return sql<boolean>`(${isWithin(scope, { space: 'service_instances.space_guid', organization: 'spaces.organization_guid' })}
    or exists (select 1 from service_instance_shares s join spaces shared on shared.guid = s.space_guid
      where s.service_instance_guid = service_instances.guid
        and ${isWithin(scope, { space: 'shared.guid', organization: 'shared.organization_guid' })}))`;
}

export async function listServiceInstances(db: Db, query: ListQuery, scope: Scope): Promise<Page<ServiceInstance>> {
  let statement = instances(db).where(isInstanceVisible(scope));
  const { type } = query.plain;
  if (type !== undefined) statement = statement.where(sql<boolean>`service_instances.type = ${type}`);
  return await selectPage(statement, {
    query,
    table: 'service_instances',
    filters: {
      names: 'service_instances.name',
      guids: 'service_instances.guid',
      space_guids: isIn,
      organization_guids: 'spaces.organization_guid',
      service_plan_guids: 'service_instances.service_plan_guid',
      service_plan_names: isOneOfNames('service_plans.name'),
    },
  });
}

export interface NewServiceInstance {
  guid?: string;
  name: string;
  type: 'managed' | 'user-provided';
  space_guid: string;
  service_plan_guid?: string | null;
  tags?: readonly string[] | null | undefined;
  credentials_sealed?: string | null;
  syslog_drain_url?: string | null | undefined;
  route_service_url?: string | null | undefined;
  maintenance_info?: MaintenanceInfo;
  metadata: MetadataUpdate | undefined;
  operation: ReturnType<typeof begun>;
}

/** Errors: 422 when the name is taken in the space, by an instance of its own or a shared one. */
export async function insertServiceInstance(trx: Db, wanted: NewServiceInstance): Promise<string> {
  const { tags, metadata, operation, maintenance_info, ...columns } = wanted;
  await requireFreeName(trx, wanted.name, wanted.space_guid);
  const guid = wanted.guid ?? randomUUID();
  await nameTaken(wanted.name, async () => {
    await trx
      .insertInto('service_instances')
      .values({
        ...columns,
        ...operation,
        guid,
        tags: JSON.stringify(tags ?? []),
        maintenance_info: JSON.stringify(maintenance_info ?? {}),
        ...metadataColumns(undefined, metadata),
      })
      .execute();
  });
  await recordServiceUsage(trx, guid, 'CREATED');
  return guid;
}

export interface ServiceInstanceChange {
  name?: string | undefined;
  tags?: readonly string[] | null | undefined;
  credentials_sealed?: string | null;
  syslog_drain_url?: string | null | undefined;
  route_service_url?: string | null | undefined;
  service_plan_guid?: string;
  dashboard_url?: string | null;
  maintenance_info?: MaintenanceInfo;
  broker_provided_metadata?: Record<string, unknown>;
  metadata?: MetadataUpdate | undefined;
}
type Operation = Partial<ReturnType<typeof begun>> | Record<string, unknown>;

/** Errors: 422 when the new name is taken, 404 when the instance was deleted meanwhile. */
export async function updateServiceInstance(
  trx: Db,
  instance: Pick<ServiceInstanceRow, 'guid' | 'name' | 'space_guid' | 'service_plan_guid' | 'labels' | 'annotations'>,
  change: ServiceInstanceChange,
  operation: Operation = {},
): Promise<void> {
  const { tags, metadata, maintenance_info, broker_provided_metadata, ...columns } = change;
  const isRenamed = change.name !== undefined && change.name !== instance.name;
  if (isRenamed) await requireFreeName(trx, change.name ?? '', instance.space_guid);
  const result = await nameTaken(change.name ?? '', () =>
    trx
      .updateTable('service_instances')
      .set({
        ...defined(columns),
        ...(tags !== undefined && { tags: JSON.stringify(tags ?? []) }),
        ...(maintenance_info && { maintenance_info: JSON.stringify(maintenance_info) }),
        ...(broker_provided_metadata && { broker_provided_metadata: JSON.stringify(broker_provided_metadata) }),
        ...(metadata && metadataColumns(instance, metadata)),
        ...operation,
        updated_at: NOW,
      })
      .where('guid', '=', instance.guid)
      .executeTakeFirst(),
  );
  if (result.numUpdatedRows === 0n) throw notFound('Service instance');
  const isOtherPlan = change.service_plan_guid !== undefined && change.service_plan_guid !== instance.service_plan_guid;
  if (isRenamed || isOtherPlan) await recordServiceUsage(trx, instance.guid, 'UPDATED');
}

function defined<Columns extends object>(
  columns: Columns,
): { [Key in keyof Columns]?: Exclude<Columns[Key], undefined> } {
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined)) as never;
}

/** Removes the row with its shares. Errors: 422 when something is bound to it still. */
export async function deleteServiceInstance(trx: Db, guid: string): Promise<void> {
  await recordServiceUsage(trx, guid, 'DELETED');
  try {
    await trx.deleteFrom('service_instances').where('guid', '=', guid).execute();
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw unprocessable('The service instance was bound while it was deleted. Please try again.');
  }
}

export async function userProvidedOfSpace(db: Db, space_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('service_instances')
    .select('guid')
    .where('space_guid', '=', space_guid)
    .where('type', '=', 'user-provided')
    .execute();
  return rows.map((row) => row.guid);
}

async function requireFreeName(trx: Db, name: string, space_guid: string): Promise<void> {
  if (await isNameTakenIn(trx, name, space_guid)) throw nameIsTaken(name);
}

/** By an instance of the space, or one that is shared with it. */
export async function isNameTakenIn(db: Db, name: string, space_guid: string): Promise<boolean> {
  const taken = await db
    .selectFrom('service_instances')
    .select('guid')
    .where('name', '=', name)
    .where(isIn([space_guid]))
    .executeTakeFirst();
  return taken !== undefined;
}

async function nameTaken<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (isUniqueViolation(error, 'service_instances_name')) throw nameIsTaken(name);
    throw error;
  }
}

const nameIsTaken = (name: string) => unprocessable(`The service instance name is taken: ${name}.`);
