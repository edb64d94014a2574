import { sql } from 'kysely';
import { isInPermittedSpace, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import type { Db } from '../tables.ts';
import type { PackageRow } from '../tables-apps.ts';

export interface FoundPackage extends PackageRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function packagesWithPlace(db: Db) {
  return db
    .selectFrom('packages')
    .innerJoin('apps', 'apps.guid', 'packages.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('packages')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ]);
}

export async function findPackage(db: Db, guid: string): Promise<FoundPackage | undefined> {
  return await packagesWithPlace(db).where('packages.guid', '=', guid).executeTakeFirst();
}

export async function listPackages(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; app_guid?: string },
): Promise<Page<FoundPackage>> {
  let statement = packagesWithPlace(db).where(isInPermittedSpace(within.scope, 'apps.space_guid'));
  if (within.app_guid !== undefined) statement = statement.where('packages.app_guid', '=', within.app_guid);
  return await selectPage(statement, {
    query,
    table: 'packages',
    filters: {
      guids: 'packages.guid',
      states: 'packages.state',
      types: 'packages.type',
      app_guids: 'packages.app_guid',
      space_guids: 'apps.space_guid',
      organization_guids: 'spaces.organization_guid',
    },
  });
}

export type PackageChange = Partial<{
  state: PackageRow['state'];
  error: string | null;
  sha256: string | null;
  size_in_bytes: number | null;
  labels: string;
  annotations: string;
}>;

export async function updatePackage(trx: Db, guid: string, change: PackageChange): Promise<PackageRow> {
  return await trx
    .updateTable('packages')
    .set({ ...change, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Moves a package on from one state; false when it is in another. Two uploads of one package cannot both begin. */
export async function movePackage(
  db: Db,
  guid: string,
  move: { from: PackageRow['state']; to: PackageRow['state'] },
): Promise<boolean> {
  const result = await db
    .updateTable('packages')
    .set({ state: move.to, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .where('state', '=', move.from)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Keeps the newest packages; the others' blobs may go. Their guids. */
export async function expirePackages(db: Db, app_guid: string, keep: number): Promise<string[]> {
  const { rows } = await sql<{ guid: string }>`
    update packages set state = 'EXPIRED', updated_at = now()
    where app_guid = ${app_guid} and state = 'READY' and type = 'bits'
      and guid not in (
        select guid from packages where app_guid = ${app_guid} and state = 'READY' order by id desc limit ${keep + 1})
      and not exists (select 1 from builds where builds.package_guid = packages.guid and builds.state = 'STAGING')
    returning guid`.execute(db);
  return rows.map(({ guid }) => guid);
}

/** Uploads whose cloud controller died: nobody will finish them. */
export async function failAbandonedUploads(db: Db, after_s: number): Promise<void> {
  await sql`
    update packages set state = 'FAILED', error = 'The upload was interrupted.', updated_at = now()
    where state in ('PROCESSING_UPLOAD', 'COPYING') and updated_at < now() - make_interval(secs => ${after_s})`.execute(
    db,
  );
}
