import type { Db } from '../tables.ts';
import { sql } from 'kysely';

export async function allSpaceGuids(db: Db): Promise<string[]> {
  return (await db.selectFrom('spaces').select('guid').execute()).map((row) => row.guid);
}

export async function countPrivateDomains(db: Db): Promise<number> {
  const { count } = await db
    .selectFrom('domains')
    .select(sql<number>`count(*)`.as('count'))
    .where('organization_guid', 'is not', null)
    .executeTakeFirstOrThrow();
  return count;
}
