import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import { isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, DomainRow, RoutePoliciesScope } from '../tables.ts';

export type Domain = DomainRow & { shared_organization_guids: string[] };

function domains(db: Db) {
  return db
    .selectFrom('domains')
    .selectAll('domains')
    .select(
      sql<string[]>`array(select organization_guid from domain_shared_organizations
        where domain_guid = domains.guid order by organization_guid)`.as('shared_organization_guids'),
    );
}

export async function findDomain(db: Db, guid: string): Promise<Domain | undefined> {
  return await domains(db).where('domains.guid', '=', guid).executeTakeFirst();
}

export async function domainsByGuid(db: Db, guids: Iterable<string>): Promise<Domain[]> {
  return await domains(db)
    .where(isOneOf('domains.guid', [...new Set(guids)]))
    .orderBy('domains.id')
    .execute();
}

/** What a caller may see: the shared ones, and those owned by or shared with the organizations of the scope. */
export async function listDomains(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; organization_guid?: string },
): Promise<Page<Domain>> {
  let statement = domains(db);
  const { scope, organization_guid } = within;
  if (!scope.everywhere) {
    statement = statement.where(isAvailableIn([...scope.organization_guids, ...scope.space_organization_guids]));
  }
  if (organization_guid !== undefined) statement = statement.where(isAvailableIn([organization_guid]));
  return await selectPage(statement, {
    query,
    table: 'domains',
    filters: {
      guids: 'domains.guid',
      names: isOneOfNames('domains.name'),
      organization_guids: 'domains.organization_guid',
    },
  });
}

function isAvailableIn(organization_guids: readonly string[]) {
  return sql<boolean>`(domains.organization_guid is null or ${isOneOf('domains.organization_guid', organization_guids)}
    or exists (select 1 from domain_shared_organizations where domain_guid = domains.guid
      and ${isOneOf('domain_shared_organizations.organization_guid', organization_guids)}))`;
}

/** The domain that routes get when none is named: the first shared one that is not internal, or else the organization's own. */
export async function findDefaultDomain(db: Db, organization_guid: string): Promise<Domain | undefined> {
  return await domains(db)
    .where('domains.internal', '=', false)
    .where('domains.router_group_guid', 'is', null)
    .where(isAvailableIn([organization_guid]))
    .orderBy(sql`domains.organization_guid is not null, domains.id`)
    .limit(1)
    .executeTakeFirst();
}

export interface NewDomain {
  name: string;
  internal: boolean;
  router_group_guid: string | null;
  enforce_route_policies: boolean;
  route_policies_scope: RoutePoliciesScope | null;
  organization_guid: string | null;
  shared_organization_guids: readonly string[];
  metadata?: MetadataUpdate | undefined;
}

/** Errors: 422 when the name is taken, or lies below or above another organization's. */
export async function insertDomain(db: Db, domain: NewDomain): Promise<string> {
  const name = domain.name.toLowerCase();
  const other = await findOverlap(db, name, domain.organization_guid);
  if (other !== undefined) {
    throw unprocessable(
      `The domain name "${name}" cannot be created because "${other}" is already reserved by another domain`,
    );
  }
  const guid = randomUUID();
  try {
    await db
      .insertInto('domains')
      .values({
        guid,
        name,
        internal: domain.internal,
        router_group_guid: domain.router_group_guid,
        enforce_route_policies: domain.enforce_route_policies,
        route_policies_scope: domain.route_policies_scope,
        organization_guid: domain.organization_guid,
        ...metadataColumns(undefined, domain.metadata),
      })
      .execute();
  } catch (error) {
    if (!isUniqueViolation(error, 'domains_name')) throw error;
    throw unprocessable(`The domain name "${name}" is already in use`);
  }
  await shareDomain(db, guid, domain.shared_organization_guids);
  return guid;
}

/**
 * A private domain may not lie below another organization's private one, nor may any domain be made above one; below a shared
 * one is fine. A route that is named so stands in the way as well.
 */
async function findOverlap(db: Db, name: string, organization_guid: string | null): Promise<string | undefined> {
  const { rows } = await sql<{ name: string }>`
    select name from domains
    where organization_guid is not null and organization_guid is distinct from ${organization_guid}
      and (right(lower(name), length(${name}) + 1) = ${`.${name}`} or ${`.${name}`} like '%.' || lower(name))
      and lower(name) <> ${name}
    union all
    select routes.host || '.' || domains.name from routes join domains on domains.guid = routes.domain_guid
    where lower(routes.host || '.' || domains.name) = ${name}
    limit 1`.execute(db);
  return rows[0]?.name;
}

export async function updateDomainMetadata(
  db: Db,
  domain: Domain,
  metadata: MetadataUpdate | undefined,
): Promise<void> {
  await db
    .updateTable('domains')
    .set({ ...metadataColumns(domain, metadata), updated_at: NOW })
    .where('guid', '=', domain.guid)
    .execute();
}

/** Errors: 422 when one of the organizations is not there. */
export async function shareDomain(db: Db, domain_guid: string, organization_guids: readonly string[]): Promise<void> {
  if (organization_guids.length === 0) return;
  try {
    await db
      .insertInto('domain_shared_organizations')
      .values([...new Set(organization_guids)].map((organization_guid) => ({ domain_guid, organization_guid })))
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw unprocessable('An organization to share the domain with does not exist.');
  }
}

export async function unshareDomain(db: Db, domain_guid: string, organization_guid: string): Promise<void> {
  await db
    .deleteFrom('domain_shared_organizations')
    .where('domain_guid', '=', domain_guid)
    .where('organization_guid', '=', organization_guid)
    .execute();
}

export async function hasRoutesIn(db: Db, domain_guid: string, organization_guid: string): Promise<boolean> {
  const row = await db
    .selectFrom('routes')
    .innerJoin('spaces', 'spaces.guid', 'routes.space_guid')
    .select('routes.guid')
    .where('routes.domain_guid', '=', domain_guid)
    .where('spaces.organization_guid', '=', organization_guid)
    .executeTakeFirst();
  return row !== undefined;
}

export async function deleteDomain(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('domains').where('guid', '=', guid).execute();
}

/** How many domains the organization owns, and how many its quota lets it have (null: any number). */
export async function domainQuota(
  db: Db,
  organization_guid: string,
): Promise<{ owned: number; allowed: number | null }> {
  const { rows } = await sql<{ owned: number; allowed: number | null }>`
    select (select count(*) from domains where organization_guid = ${organization_guid}) as owned,
      (select total_domains from organization_quotas join organizations on organizations.quota_guid = organization_quotas.guid
        where organizations.guid = ${organization_guid}) as allowed`.execute(db);
  return rows[0] ?? { owned: 0, allowed: null };
}
