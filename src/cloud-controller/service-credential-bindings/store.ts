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
import type { Db, Trx } from '../tables.ts';
import type { AppRow } from '../tables-apps.ts';
import type { ServiceCredentialBindingRow } from '../tables-services.ts';

/** A binding and its place: the app's space, or the instance's for a key. */
export type CredentialBinding = ServiceCredentialBindingRow &
  GuardedPlace & {
    space_guid: string;
    organization_guid: string;
    app_name: string | null;
    instance_name: string;
    instance_type: 'managed' | 'user-provided';
  };

function bindings(db: Db) {
  return db
    .selectFrom('service_credential_bindings')
    .innerJoin('service_instances', 'service_instances.guid', 'service_credential_bindings.service_instance_guid')
    .leftJoin('apps', 'apps.guid', 'service_credential_bindings.app_guid')
    .innerJoin('spaces', (join) =>
      join.on(sql<boolean>`spaces.guid = coalesce(apps.space_guid, service_instances.space_guid)`),
    )
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .leftJoin('service_plans', 'service_plans.guid', 'service_instances.service_plan_guid')
    .leftJoin('service_offerings', 'service_offerings.guid', 'service_plans.service_offering_guid')
    .selectAll('service_credential_bindings')
    .select([
      'spaces.guid as space_guid',
      'spaces.organization_guid',
      'organizations.suspended as organization_suspended',
      'apps.name as app_name',
      'service_instances.name as instance_name',
      'service_instances.type as instance_type',
    ]);
}

export async function findCredentialBinding(db: Db, guid: string): Promise<CredentialBinding | undefined> {
  return await bindings(db).where('service_credential_bindings.guid', '=', guid).executeTakeFirst();
}

/** As findCredentialBinding, its row locked until the transaction ends. */
export async function lockCredentialBinding(trx: Db, guid: string): Promise<CredentialBinding | undefined> {
  const { rows } = await sql`select 1 from service_credential_bindings where guid = ${guid} for update`.execute(trx);
  return rows.length === 0 ? undefined : await findCredentialBinding(trx, guid);
}

export async function listCredentialBindings(db: Db, query: ListQuery, scope: Scope): Promise<Page<CredentialBinding>> {
  let statement = bindings(db).where(
    isWithin(scope, { space: 'spaces.guid', organization: 'spaces.organization_guid' }),
  );
  const types = query.plain['type']?.split(',');
  if (types) statement = statement.where(isOneOf('service_credential_bindings.type', types));
  return await selectPage(statement, {
    query,
    table: 'service_credential_bindings',
    filters: {
      names: 'service_credential_bindings.name',
      guids: 'service_credential_bindings.guid',
      app_guids: 'service_credential_bindings.app_guid',
      app_names: isOneOfNames('apps.name'),
      service_instance_guids: 'service_credential_bindings.service_instance_guid',
      service_instance_names: 'service_instances.name',
      service_plan_guids: 'service_plans.guid',
      service_plan_names: isOneOfNames('service_plans.name'),
      service_offering_guids: 'service_offerings.guid',
      service_offering_names: isOneOfNames('service_offerings.name'),
    },
  });
}

export async function appRowsByGuid(db: Db, guids: readonly string[]): Promise<AppRow[]> {
  return await db
    .selectFrom('apps')
    .selectAll()
    .where(isOneOf('apps.guid', [...new Set(guids)]))
    .orderBy('id')
    .execute();
}

/** The bindings of an app and an instance, newest last. */
export async function bindingsBetween(
  db: Db,
  app_guid: string,
  service_instance_guid: string,
): Promise<ServiceCredentialBindingRow[]> {
  return await db
    .selectFrom('service_credential_bindings')
    .selectAll()
    .where('app_guid', '=', app_guid)
    .where('service_instance_guid', '=', service_instance_guid)
    .orderBy('id')
    .execute();
}

/** Whether another instance is bound to the app under that name. */
export async function isBindingNameTaken(
  db: Db,
  what: { app_guid: string; name: string; service_instance_guid: string },
): Promise<boolean> {
  const found = await db
    .selectFrom('service_credential_bindings')
    .select('guid')
    .where('app_guid', '=', what.app_guid)
    .where('name', '=', what.name)
    .where('service_instance_guid', '<>', what.service_instance_guid)
    .executeTakeFirst();
  return found !== undefined;
}

export async function findKey(
  db: Db,
  service_instance_guid: string,
  name: string,
): Promise<ServiceCredentialBindingRow | undefined> {
  return await db
    .selectFrom('service_credential_bindings')
    .selectAll()
    .where('type', '=', 'key')
    .where('service_instance_guid', '=', service_instance_guid)
    .where('name', '=', name)
    .executeTakeFirst();
}

export async function guidsOfBindings(
  db: Db,
  of: { service_instance_guid: string } | { app_guid: string },
): Promise<string[]> {
  const [column, value] =
    'app_guid' in of
      ? (['app_guid', of.app_guid] as const)
      : (['service_instance_guid', of.service_instance_guid] as const);
  const rows = await db
    .selectFrom('service_credential_bindings')
    .select('guid')
    .where(column, '=', value)
    .orderBy('id')
    .execute();
  return rows.map((row) => row.guid);
}

export interface NewCredentialBinding {
  guid?: string;
  type: 'app' | 'key';
  name: string | null;
  service_instance_guid: string;
  app_guid: string | null;
  metadata: MetadataUpdate | undefined;
  operation: ReturnType<typeof begun>;
}

/** Errors: 422 when the key's name is taken, or what is bound is gone. */
export async function insertCredentialBinding(trx: Db, wanted: NewCredentialBinding): Promise<string> {
  const { metadata, operation, ...columns } = wanted;
  const guid = wanted.guid ?? randomUUID();
  try {
    await trx
      .insertInto('service_credential_bindings')
      .values({ ...columns, ...operation, guid, ...metadataColumns(undefined, metadata) })
      .execute();
  } catch (error) {
    if (isUniqueViolation(error, 'service_credential_bindings_key')) throw keyNameTaken(wanted.name ?? '');
    if (isForeignKeyViolation(error)) throw unprocessable('The app or the service instance was deleted meanwhile');
    throw error;
  }
  return guid;
}

export const keyNameTaken = (name: string) =>
  unprocessable(
    `The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with name '${name}'.`,
  );

export interface CredentialBindingChange {
  credentials_sealed?: string | null;
  syslog_drain_url?: string | null;
  volume_mounts?: string;
  labels?: string;
  annotations?: string;
}

/** Errors: 404 when the binding was deleted meanwhile. */
export async function updateCredentialBinding(
  trx: Db,
  guid: string,
  change: CredentialBindingChange | Record<string, unknown>,
): Promise<void> {
  const result = await trx
    .updateTable('service_credential_bindings')
    .set({ ...change, updated_at: NOW })
    .where('guid', '=', guid)
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw notFound('Service credential binding');
}

export async function deleteCredentialBinding(trx: Db, guid: string): Promise<void> {
  await trx.deleteFrom('service_credential_bindings').where('guid', '=', guid).execute();
}

/** Unbinds an app from all that no broker has to be asked about. */
export async function removeUserProvidedBindings(trx: Trx, app_guid: string): Promise<void> {
  const provided: RawBuilder<boolean> = sql<boolean>`exists (select 1 from service_instances i
    where i.guid = service_credential_bindings.service_instance_guid and i.type = 'user-provided')`;
  await trx.deleteFrom('service_credential_bindings').where('app_guid', '=', app_guid).where(provided).execute();
}
