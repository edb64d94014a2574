import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { removeRoutes } from '../routes/delete-store.ts';
import type { Trx } from '../tables.ts';

/**
 * Removes an organization and what it owns, in one transaction; a space with apps in it makes the database refuse. Returns the
 * apps elsewhere whose routes went with the organization's domains.
 * Errors: 422 when one of its domains is shared with others.
 */
export async function removeOrganization(trx: Trx, guid: string): Promise<string[]> {
  const shared = await trx
    .selectFrom('domains')
    .innerJoin('domain_shared_organizations', 'domain_shared_organizations.domain_guid', 'domains.guid')
    .select('domains.name')
    .where('domains.organization_guid', '=', guid)
    .executeTakeFirst();
  if (shared) {
    throw unprocessable(`Domain '${shared.name}' is shared with other organizations. Unshare before deleting.`);
  }
  const app_guids = await removeRoutes(
    trx,
    sql<boolean>`(routes.domain_guid in (select guid from domains where organization_guid = ${guid})
      or routes.space_guid in (select guid from spaces where organization_guid = ${guid}))`,
  );
  await trx.deleteFrom('domains').where('organization_guid', '=', guid).execute();
  await trx.deleteFrom('spaces').where('organization_guid', '=', guid).execute();
  await trx.deleteFrom('organizations').where('guid', '=', guid).execute();
  return app_guids;
}
