import { unprocessable } from '#contracts/cf-errors.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db } from '../tables.ts';

export type EnvironmentVariableGroupName = 'running' | 'staging';
export interface EnvironmentVariableGroup {
  name: EnvironmentVariableGroupName;
  var: Record<string, string>;
  updated_at: Date | null;
}

/** Variables that all apps get, when they run or when they are staged. */
export async function findEnvironmentVariableGroup(
  db: Db,
  name: EnvironmentVariableGroupName,
): Promise<EnvironmentVariableGroup> {
  const row = await db
    .selectFrom('environment_variable_groups')
    .selectAll()
    .where('name', '=', name)
    .executeTakeFirst();
  return row ?? { name, var: {}, updated_at: null };
}

const MAX_BYTES = 65_535;

/** Merges; null takes a variable away. Errors: 422 when it grows too large. */
export async function updateEnvironmentVariableGroup(
  db: Db,
  name: EnvironmentVariableGroupName,
  changes: Readonly<Record<string, string | null>>,
): Promise<EnvironmentVariableGroup> {
  return await db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom('environment_variable_groups')
      .selectAll()
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirst();
    const merged = new Map(Object.entries(row?.var ?? {}));
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) merged.delete(key);
      else merged.set(key, value);
    }
    const text = JSON.stringify(Object.fromEntries(merged));
    if (Buffer.byteLength(text) > MAX_BYTES) {
      throw unprocessable(
        'Environment variable group is too large. Specify fewer variables or reduce key/value lengths.',
      );
    }
    return await trx
      .insertInto('environment_variable_groups')
      .values({ name, var: text })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ var: text, updated_at: NOW }))
      .returningAll()
      .executeTakeFirstOrThrow();
  });
}
