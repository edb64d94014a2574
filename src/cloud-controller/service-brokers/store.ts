import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isInPermittedSpace, isOneOf, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db } from '../tables.ts';
import type { BrokerState, ServiceBrokerRow } from '../tables-services.ts';

/** A broker, and the place that a space-scoped one belongs to. */
export type ServiceBroker = ServiceBrokerRow & GuardedPlace & { organization_guid: string | null };

function brokers(db: Db) {
  return db
    .selectFrom('service_brokers')
    .leftJoin('spaces', 'spaces.guid', 'service_brokers.space_guid')
    .leftJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('service_brokers')
    .select([
      'spaces.organization_guid',
      sql<boolean>`coalesce(organizations.suspended, false)`.as('organization_suspended'),
    ]);
}

export async function findServiceBroker(db: Db, guid: string): Promise<ServiceBroker | undefined> {
  return await brokers(db).where('service_brokers.guid', '=', guid).executeTakeFirst();
}

/** As findServiceBroker, its row locked until the transaction ends. */
export async function lockServiceBroker(trx: Db, guid: string): Promise<ServiceBroker | undefined> {
  const { rows } = await sql`select 1 from service_brokers where guid = ${guid} for update`.execute(trx);
  return rows.length === 0 ? undefined : await findServiceBroker(trx, guid);
}

export async function serviceBrokersByGuid(db: Db, guids: Iterable<string>): Promise<ServiceBroker[]> {
  return await brokers(db)
    .where(isOneOf('service_brokers.guid', [...new Set(guids)]))
    .orderBy('service_brokers.id')
    .execute();
}

/** All of them for whoever sees the platform; space-scoped ones for members of their spaces. */
export async function listServiceBrokers(
  db: Db,
  query: ListQuery,
  visible: { all: boolean; scope: Scope },
): Promise<Page<ServiceBroker>> {
  let statement = brokers(db);
  if (!visible.all) {
    statement = statement
      .where('service_brokers.space_guid', 'is not', null)
      .where(isInPermittedSpace(visible.scope, 'service_brokers.space_guid'));
  }
  return await selectPage(statement, {
    query,
    table: 'service_brokers',
    filters: {
      guids: 'service_brokers.guid',
      names: 'service_brokers.name',
      space_guids: 'service_brokers.space_guid',
    },
  });
}

export interface NewServiceBroker {
  guid?: string;
  name: string;
  url: string;
  username: string;
  password_sealed: string;
  space_guid: string | null;
  job_guid: string | null;
  metadata: MetadataUpdate | undefined;
}

/** Errors: 422 when the name is taken. */
export async function insertServiceBroker(trx: Db, wanted: NewServiceBroker): Promise<string> {
  const { metadata, ...columns } = wanted;
  const guid = wanted.guid ?? randomUUID();
  await asUnique(async () => {
    await trx
      .insertInto('service_brokers')
      .values({ ...columns, guid, ...metadataColumns(undefined, metadata) })
      .execute();
  });
  return guid;
}

export interface ServiceBrokerChange {
  name?: string;
  url?: string;
  username?: string;
  password_sealed?: string;
  state?: BrokerState;
  job_guid?: string | null;
  labels?: string;
  annotations?: string;
}

/** Errors: 422 when the new name is taken; 404 when the broker was deleted meanwhile. */
export async function updateServiceBroker(trx: Db, guid: string, change: ServiceBrokerChange): Promise<void> {
  const result = await asUnique(() =>
    trx
      .updateTable('service_brokers')
      .set({ ...change, updated_at: NOW })
      .where('guid', '=', guid)
      .executeTakeFirst(),
  );
  if (result.numUpdatedRows === 0n) throw notFound('Service broker');
}

/** Removes a broker with its offerings and plans. The database refuses while there are instances of them. */
export async function deleteServiceBroker(trx: Db, guid: string): Promise<void> {
  const offerings = trx.selectFrom('service_offerings').select('guid').where('service_broker_guid', '=', guid);
  await trx.deleteFrom('service_plans').where('service_offering_guid', 'in', offerings).execute();
  await trx.deleteFrom('service_offerings').where('service_broker_guid', '=', guid).execute();
  await trx.deleteFrom('service_brokers').where('guid', '=', guid).execute();
}

export async function hasInstances(db: Db, broker_guid: string): Promise<boolean> {
  const found = await db
    .selectFrom('service_instances')
    .innerJoin('service_plans', 'service_plans.guid', 'service_instances.service_plan_guid')
    .innerJoin('service_offerings', 'service_offerings.guid', 'service_plans.service_offering_guid')
    .select('service_instances.guid')
    .where('service_offerings.service_broker_guid', '=', broker_guid)
    .executeTakeFirst();
  return found !== undefined;
}

async function asUnique<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (isUniqueViolation(error, 'service_brokers_name')) throw unprocessable('Name must be unique');
    throw error;
  }
}
