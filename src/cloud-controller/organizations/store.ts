import { randomUUID } from 'node:crypto';
import { sql, type Selectable } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isInPermittedOrganization, isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, OrganizationRow, Organizations } from '../tables.ts';
import type { CreateOrganization, UpdateOrganization } from './schema.ts';

export type FoundOrganization = OrganizationRow & GuardedPlace & { organization_guid: string };

export async function findOrganization(db: Db, guid: string): Promise<FoundOrganization | undefined> {
  return await db
    .selectFrom('organizations')
    .selectAll()
    .select(['guid as organization_guid', 'suspended as organization_suspended'])
    .where('guid', '=', guid)
    .executeTakeFirst();
}

export async function listOrganizations(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; isolation_segment_guid?: string },
): Promise<Page<Selectable<Organizations>>> {
  let statement = db
    .selectFrom('organizations')
    .selectAll()
    .where(isInPermittedOrganization(within.scope, 'organizations.guid'));
  if (within.isolation_segment_guid !== undefined) {
    statement = statement.where(
      sql<boolean>`organizations.guid in (select organization_guid from isolation_segment_organizations
        where isolation_segment_guid = ${within.isolation_segment_guid})`,
    );
  }
  return await selectPage(statement, {
    query,
    table: 'organizations',
    filters: { names: isOneOfNames('organizations.name'), guids: 'organizations.guid' },
  });
}

export async function organizationsByGuid(db: Db, guids: Iterable<string>): Promise<OrganizationRow[]> {
  return await db
    .selectFrom('organizations')
    .selectAll()
    .where(isOneOf('guid', [...new Set(guids)]))
    .orderBy('id')
    .execute();
}

/** Errors: 422 when the name is taken. */
export async function insertOrganization(db: Db, wanted: CreateOrganization): Promise<OrganizationRow> {
  const quota = await db
    .selectFrom('organization_quotas')
    .select('guid')
    .where('name', '=', 'default')
    .executeTakeFirst();
  if (!quota) throw unprocessable("Quota 'default' could not be found");
  return await asUnique(
    wanted.name,
    async () =>
      await db
        .insertInto('organizations')
        .values({
          guid: randomUUID(),
          name: wanted.name,
          suspended: wanted.suspended ?? false,
          quota_guid: quota.guid,
          default_isolation_segment_guid: null,
          ...metadataColumns(undefined, wanted.metadata),
        })
        .returningAll()
        .executeTakeFirstOrThrow(),
  );
}

/** Errors: 422 when the name is taken, 404 when it was deleted meanwhile. */
export async function updateOrganization(
  db: Db,
  organization: OrganizationRow,
  wanted: UpdateOrganization,
): Promise<OrganizationRow> {
  const row = await asUnique(
    wanted.name ?? organization.name,
    async () =>
      await db
        .updateTable('organizations')
        .set({
          name: wanted.name ?? organization.name,
          suspended: wanted.suspended ?? organization.suspended,
          ...metadataColumns(organization, wanted.metadata),
          updated_at: NOW,
        })
        .where('guid', '=', organization.guid)
        .returningAll()
        .executeTakeFirst(),
  );
  if (!row) throw notFound('Organization');
  return row;
}

async function asUnique<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isUniqueViolation(error, 'organizations_name')) throw error;
    throw unprocessable(`Organization '${name}' already exists.`);
  }
}

export async function setDefaultIsolationSegment(db: Db, guid: string, segment_guid: string | null): Promise<void> {
  await db
    .updateTable('organizations')
    .set({ default_isolation_segment_guid: segment_guid, updated_at: NOW })
    .where('guid', '=', guid)
    .execute();
}

export async function isEntitled(db: Db, organization_guid: string, segment_guid: string): Promise<boolean> {
  const row = await db
    .selectFrom('isolation_segment_organizations')
    .select('organization_guid')
    .where('organization_guid', '=', organization_guid)
    .where('isolation_segment_guid', '=', segment_guid)
    .executeTakeFirst();
  return row !== undefined;
}

export interface Usage {
  routes: number;
  reserved_ports: number;
  domains: number;
  service_instances: number;
  service_keys: number;
}

/** What spaces hold of countable things; `organization_guid` counts its private domains too. */
export async function countUsage(
  db: Db,
  of: { space_guids: readonly string[]; organization_guid?: string },
): Promise<Usage> {
  const { rows } = await sql<Usage>`
    select
      (select count(*) from service_instances where type = 'managed'
        and space_guid = any(${[...of.space_guids]}::text[])) as service_instances,
      (select count(*) from service_credential_bindings b join service_instances i on i.guid = b.service_instance_guid
        where b.type = 'key' and i.space_guid = any(${[...of.space_guids]}::text[])) as service_keys,
      (select count(*) from routes where space_guid = any(${[...of.space_guids]}::text[])) as routes,
      (select count(*) from routes where space_guid = any(${[...of.space_guids]}::text[]) and port is not null)
        as reserved_ports,
      (select count(*) from domains where organization_guid = ${of.organization_guid ?? null}) as domains
  `.execute(db);
  const [counted] = rows;
  return {
    routes: counted?.routes ?? 0,
    reserved_ports: counted?.reserved_ports ?? 0,
    domains: counted?.domains ?? 0,
    service_instances: counted?.service_instances ?? 0,
    service_keys: counted?.service_keys ?? 0,
  };
}

export async function spaceGuidsOf(db: Db, organization_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('spaces')
    .select('guid')
    .where('organization_guid', '=', organization_guid)
    .orderBy('id')
    .execute();
  return rows.map((row) => row.guid);
}
