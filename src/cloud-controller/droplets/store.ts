import { sql } from 'kysely';
import { isInPermittedSpace, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import type { Db } from '../tables.ts';
import type { DropletRow } from '../tables-apps.ts';

export interface FoundDroplet extends DropletRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function dropletsWithPlace(db: Db) {
  return db
    .selectFrom('droplets')
    .innerJoin('apps', 'apps.guid', 'droplets.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('droplets')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ]);
}

export async function findDroplet(db: Db, guid: string): Promise<FoundDroplet | undefined> {
  return await dropletsWithPlace(db).where('droplets.guid', '=', guid).executeTakeFirst();
}

export async function listDroplets(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; app_guid?: string; package_guid?: string },
): Promise<Page<FoundDroplet>> {
  let statement = dropletsWithPlace(db).where(isInPermittedSpace(within.scope, 'apps.space_guid'));
  if (within.app_guid !== undefined) statement = statement.where('droplets.app_guid', '=', within.app_guid);
  if (within.package_guid !== undefined) statement = statement.where('droplets.package_guid', '=', within.package_guid);
  if (query.plain['current'] === 'true') statement = statement.where(sql<boolean>`droplets.guid = apps.droplet_guid`);
  return await selectPage(statement, {
    query,
    table: 'droplets',
    filters: {
      guids: 'droplets.guid',
      states: 'droplets.state',
      app_guids: 'droplets.app_guid',
      space_guids: 'apps.space_guid',
      organization_guids: 'spaces.organization_guid',
    },
  });
}

export type DropletChange = Partial<{
  state: DropletRow['state'];
  error: string | null;
  process_types: string;
  execution_metadata: string;
  buildpacks: string;
  stack: string | null;
  sha256: string;
  size_in_bytes: number;
  labels: string;
  annotations: string;
}>;

export async function updateDroplet(trx: Db, guid: string, change: DropletChange): Promise<DropletRow> {
  return await trx
    .updateTable('droplets')
    .set({ ...change, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .returningAll()
    .executeTakeFirstOrThrow();
}
