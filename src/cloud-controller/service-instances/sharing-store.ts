import { sql } from 'kysely';
import { isOneOf } from '../api/list-store.ts';
import { canUseIn } from '../service-plans/visible-store.ts';
import type { Db } from '../tables.ts';

export async function shareInstance(trx: Db, guid: string, space_guids: readonly string[]): Promise<void> {
  if (space_guids.length === 0) return;
  await trx
    .insertInto('service_instance_shares')
    .values(space_guids.map((space_guid) => ({ service_instance_guid: guid, space_guid })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function unshareInstance(trx: Db, guid: string, space_guid: string): Promise<void> {
  await trx
    .deleteFrom('service_instance_shares')
    .where('service_instance_guid', '=', guid)
    .where('space_guid', '=', space_guid)
    .execute();
}

/** Whether instances of a plan may be used in a space. */
export async function isPlanUsableIn(db: Db, plan_guid: string, space_guid: string): Promise<boolean> {
  const found = await db
    .selectFrom('service_plans')
    .select('guid')
    .where('guid', '=', plan_guid)
    .where(canUseIn({ space_guids: [space_guid] }))
    .executeTakeFirst();
  return found !== undefined;
}

/** Bindings of an instance to apps of one space. */
export async function bindingsInSpace(db: Db, guid: string, space_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('service_credential_bindings')
    .innerJoin('apps', 'apps.guid', 'service_credential_bindings.app_guid')
    .select('service_credential_bindings.guid')
    .where('service_instance_guid', '=', guid)
    .where('apps.space_guid', '=', space_guid)
    .orderBy('service_credential_bindings.id')
    .execute();
  return rows.map((row) => row.guid);
}

/** How many bindings to apps an instance has in each of these spaces. */
export async function countBindingsBySpace(
  db: Db,
  guid: string,
  space_guids: readonly string[],
): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('service_credential_bindings')
    .innerJoin('apps', 'apps.guid', 'service_credential_bindings.app_guid')
    .select(['apps.space_guid', sql<number>`count(*)`.as('count')])
    .where('service_instance_guid', '=', guid)
    .where(isOneOf('apps.space_guid', space_guids))
    .groupBy('apps.space_guid')
    .execute();
  return new Map(rows.map((row) => [row.space_guid, row.count]));
}
