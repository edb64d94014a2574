import { sql } from 'kysely';
import type { SealedColumnsOptions } from '#db/sealed-columns.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';

/** Environment variables hold passwords: no row of the database shows them. */
export function sealedVariables(vault: Vault): SealedColumnsOptions {
  return {
    columns: { environment_variables: {}, var: {}, started_as: { field: 'environment_variables' } },
    seal: (value, column) => vault.seal(value, column),
    open: (text, column) => vault.open(text, column),
  };
}

const HOLDERS = [
  { table: 'apps', id: 'guid', column: 'environment_variables', path: [] },
  { table: 'revisions', id: 'guid', column: 'environment_variables', path: [] },
  { table: 'tasks', id: 'guid', column: 'environment_variables', path: [] },
  { table: 'environment_variable_groups', id: 'name', column: 'var', path: [] },
  { table: 'processes', id: 'guid', column: 'started_as', path: ['environment_variables'] },
] as const;

/** Seals what was written before there was a key. What another cloud controller changes meanwhile it has sealed itself. */
export async function sealOldVariables(db: Db): Promise<void> {
  for (const { table, id, column, path } of HOLDERS) {
    const variables = sql`${sql.ref(column)} #> ${path}::text[]`;
    const { rows } = await sql<{ id: string; held: unknown; as_it_was: string }>`
      select ${sql.ref(id)} as id, ${sql.ref(column)} as held, ${sql.ref(column)}::text as as_it_was from ${sql.table(table)}
      where jsonb_typeof(${variables}) = 'object' and ${variables} <> '{}'::jsonb`.execute(db);
    for (const row of rows) {
      await db
        .updateTable(table as 'apps')
        .set({ [column]: JSON.stringify(row.held) })
        .where(sql<boolean>`${sql.ref(id)} = ${row.id} and ${sql.ref(column)} = ${row.as_it_was}::jsonb`)
        .execute();
    }
  }
}
