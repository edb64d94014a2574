import { randomUUID } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import {
  isInPermittedOrganization,
  isInPermittedSpace,
  isOneOf,
  isOneOfNames,
  type Page,
  selectPage,
} from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, OrganizationQuotas, SpaceQuotas } from '../tables.ts';
import type { OrganizationQuotaLimits, SpaceQuotaLimits } from './schema.ts';

export type OrganizationQuota = Selectable<OrganizationQuotas> & { organization_guids: string[] };
export type SpaceQuota = Selectable<SpaceQuotas> & { space_guids: string[] };

/** What a body says of limits, as columns: what is not given stays, or is unlimited in a new quota. */
function columnsOf(wanted: OrganizationQuotaLimits | SpaceQuotaLimits) {
  const { apps, services, routes } = wanted;
  return {
    total_memory_in_mb: apps?.total_memory_in_mb,
    per_process_memory_in_mb: apps?.per_process_memory_in_mb,
    total_instances: apps?.total_instances,
    per_app_tasks: apps?.per_app_tasks,
    log_rate_limit_in_bytes_per_second: apps?.log_rate_limit_in_bytes_per_second,
    paid_services_allowed: services?.paid_services_allowed,
    total_service_instances: services?.total_service_instances,
    total_service_keys: services?.total_service_keys,
    total_routes: routes?.total_routes,
    total_reserved_ports: routes?.total_reserved_ports,
  };
}

function organizationQuotas(db: Db) {
  return db
    .selectFrom('organization_quotas')
    .selectAll('organization_quotas')
    .select(
      sql<string[]>`array(select guid from organizations where quota_guid = organization_quotas.guid order by id)`.as(
        'organization_guids',
      ),
    );
}

export async function findOrganizationQuota(db: Db, guid: string): Promise<OrganizationQuota | undefined> {
  return await organizationQuotas(db).where('organization_quotas.guid', '=', guid).executeTakeFirst();
}

export async function listOrganizationQuotas(db: Db, query: ListQuery, scope: Scope): Promise<Page<OrganizationQuota>> {
  let statement = organizationQuotas(db);
  if (!scope.everywhere) {
    statement = statement.where(
      sql<boolean>`organization_quotas.guid in (select quota_guid from organizations
        where ${isInPermittedOrganization(scope, 'organizations.guid')})`,
    );
  }
  return await selectPage(statement, {
    query,
    table: 'organization_quotas',
    filters: {
      guids: 'organization_quotas.guid',
      names: isOneOfNames('organization_quotas.name'),
      organization_guids: (values) =>
        sql<boolean>`organization_quotas.guid in (select quota_guid from organizations where ${isOneOf('organizations.guid', values)})`,
    },
  });
}

/** Errors: 422 when the name is taken. Returns its guid. */
export async function insertOrganizationQuota(db: Db, name: string, limits: OrganizationQuotaLimits): Promise<string> {
  const guid = randomUUID();
  await asUnique(`Organization Quota '${name}' already exists.`, async () => {
    await db
      .insertInto('organization_quotas')
      .values({ guid, name, ...fresh(columnsOf(limits)), total_domains: limits.domains?.total_domains ?? null })
      .execute();
  });
  return guid;
}

/** Errors: 422 when the name is taken. */
export async function updateOrganizationQuota(
  db: Db,
  quota: OrganizationQuota,
  wanted: OrganizationQuotaLimits & { name?: string | undefined },
): Promise<void> {
  const name = wanted.name ?? quota.name;
  const columns = { ...given(columnsOf(wanted)), ...given({ total_domains: wanted.domains?.total_domains }) };
  await asUnique(`Organization Quota '${name}' already exists.`, async () => {
    await db
      .updateTable('organization_quotas')
      .set({ ...columns, name, updated_at: NOW })
      .where('guid', '=', quota.guid)
      .execute();
  });
}

export async function applyOrganizationQuota(
  db: Db,
  guid: string,
  organization_guids: readonly string[],
): Promise<void> {
  await db
    .updateTable('organizations')
    .set({ quota_guid: guid, updated_at: NOW })
    .where(isOneOf('guid', organization_guids))
    .execute();
}

/** Errors: 422 while an organization has it. */
export async function deleteOrganizationQuota(db: Db, guid: string): Promise<void> {
  try {
    await db.deleteFrom('organization_quotas').where('guid', '=', guid).execute();
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw unprocessable(
      'This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.',
    );
  }
}

function spaceQuotas(db: Db) {
  return db
    .selectFrom('space_quotas')
    .selectAll('space_quotas')
    .select(
      sql<string[]>`array(select guid from spaces where quota_guid = space_quotas.guid order by id)`.as('space_guids'),
    );
}

export async function findSpaceQuota(db: Db, guid: string): Promise<SpaceQuota | undefined> {
  return await spaceQuotas(db).where('space_quotas.guid', '=', guid).executeTakeFirst();
}

/** Those of the caller's organizations, and those of the spaces that a role was given in. */
export async function listSpaceQuotas(db: Db, query: ListQuery, scope: Scope): Promise<Page<SpaceQuota>> {
  let statement = spaceQuotas(db);
  if (!scope.everywhere) {
    statement = statement.where(
      sql<boolean>`(${isOneOf('space_quotas.organization_guid', scope.organization_guids)} or space_quotas.guid in
        (select quota_guid from spaces where ${isInPermittedSpace(scope, 'spaces.guid')}))`,
    );
  }
  return await selectPage(statement, {
    query,
    table: 'space_quotas',
    filters: {
      guids: 'space_quotas.guid',
      names: 'space_quotas.name',
      organization_guids: 'space_quotas.organization_guid',
      space_guids: (values) =>
        sql<boolean>`space_quotas.guid in (select quota_guid from spaces where ${isOneOf('spaces.guid', values)})`,
    },
  });
}

/** Errors: 422 when the name is taken in the organization. Returns its guid. */
export async function insertSpaceQuota(
  db: Db,
  quota: { name: string; organization_guid: string },
  limits: SpaceQuotaLimits,
): Promise<string> {
  const guid = randomUUID();
  await asUnique(`Space Quota '${quota.name}' already exists.`, async () => {
    await db
      .insertInto('space_quotas')
      .values({ guid, ...quota, ...fresh(columnsOf(limits)) })
      .execute();
  });
  return guid;
}

/** Errors: 422 when the name is taken in the organization. */
export async function updateSpaceQuota(
  db: Db,
  quota: SpaceQuota,
  wanted: SpaceQuotaLimits & { name?: string | undefined },
): Promise<void> {
  const name = wanted.name ?? quota.name;
  await asUnique(`Space Quota '${name}' already exists.`, async () => {
    await db
      .updateTable('space_quotas')
      .set({ ...given(columnsOf(wanted)), name, updated_at: NOW })
      .where('guid', '=', quota.guid)
      .execute();
  });
}

/** null takes the quota away. */
export async function applySpaceQuota(db: Db, guid: string | null, space_guids: readonly string[]): Promise<void> {
  await db
    .updateTable('spaces')
    .set({ quota_guid: guid, updated_at: NOW })
    .where(isOneOf('guid', space_guids))
    .execute();
}

/** Spaces that had it are without one then. */
export async function deleteSpaceQuota(db: Db, guid: string): Promise<void> {
  const result = await db.deleteFrom('space_quotas').where('guid', '=', guid).executeTakeFirst();
  if (result.numDeletedRows === 0n) throw notFound('Space quota');
}

async function asUnique(text: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isUniqueViolation(error)) throw unprocessable(text);
    throw error;
  }
}

type Columns = ReturnType<typeof columnsOf>;
/** For a new quota: what is not given is unlimited, and paid services are allowed. */
function fresh(columns: Columns) {
  const { paid_services_allowed, ...limits } = columns;
  const entries = Object.entries(limits).map(([name, value]) => [name, value ?? null]);
  return {
    ...(Object.fromEntries(entries) as { [Name in keyof typeof limits]: number | null }),
    paid_services_allowed: paid_services_allowed ?? true,
  };
}

/** Without what is undefined: it stays as it is. */
function given<Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Name in keyof Fields]?: Exclude<Fields[Name], undefined>;
  };
}
