import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import { type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Db } from '../tables.ts';
import type { SidecarRow } from '../tables-apps.ts';

export interface FoundSidecar extends SidecarRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

export async function findSidecar(db: Db, guid: string): Promise<FoundSidecar | undefined> {
  return await db
    .selectFrom('sidecars')
    .innerJoin('apps', 'apps.guid', 'sidecars.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('sidecars')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ])
    .where('sidecars.guid', '=', guid)
    .executeTakeFirst();
}

/** An app's sidecars, or those of one of its process types. */
export async function listSidecars(
  db: Db,
  query: ListQuery,
  of: { app_guid: string; process_type?: string },
): Promise<Page<SidecarRow>> {
  let statement = db.selectFrom('sidecars').selectAll().where('app_guid', '=', of.app_guid);
  if (of.process_type !== undefined) {
    statement = statement.where(sql<boolean>`jsonb_exists(process_types, ${of.process_type})`);
  }
  return await selectPage(statement, { query, table: 'sidecars' });
}

/** Errors: 422 when the app has another sidecar of that name. */
export async function unlessTaken<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isUniqueViolation(error, 'sidecars_name')) throw error;
    throw unprocessable(`Sidecar with name '${name}' already exists for given app`);
  }
}
