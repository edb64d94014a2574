import { sql } from 'kysely';
import type { SealedColumnsOptions } from '#db/sealed-columns.ts';
import { SecretUnreadable, type Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';

/** Environment variables hold passwords: no row of the database shows them. */
export function sealedVariables(vault: Vault): SealedColumnsOptions {
  return {
    columns: { environment_variables: {}, var: {}, started_as: { field: 'environment_variables' } },
    seal: (value, column) => vault.seal(value, column),
    open: (text, column) => vault.open(text, column),
  };
}

/** Columns of sealed texts, each tied to the row that `owner` names. */
const TEXTS = [
  { table: 'service_brokers', column: 'password_sealed' },
  { table: 'service_instances', column: 'credentials_sealed' },
  { table: 'service_credential_bindings', column: 'credentials_sealed' },
  { table: 'packages', column: 'docker_password' },
] as const;

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

/**
 * Seals with today's key what an earlier one sealed, so that the earlier one can go; gives how much there was, and
 * how much no key opens, which is left. What another cloud controller changes meanwhile it has sealed itself. Payloads of jobs are left:
 * they are gone within a day.
 */
export async function resealOld(db: Db, vault: Vault): Promise<{ sealed_anew: number; unreadable: number }> {
  const current = `v1.${vault.currentKeyId}.%`;
  let unreadable = 0;
  let sealed_anew = 0;
  const again = (held: string, owner: string): string | undefined => {
    try {
      const sealed = vault.seal(vault.open(held, owner), owner);
      sealed_anew += 1;
      return sealed;
    } catch (error) {
      if (!(error instanceof SecretUnreadable)) throw error;
      unreadable += 1;
      return undefined;
    }
  };
  for (const { table, column } of TEXTS) {
    const { rows } = await sql<{ guid: string; held: string }>`
      select guid, ${sql.ref(column)} as held from ${sql.table(table)}
      where ${sql.ref(column)} is not null and ${sql.ref(column)} not like ${current}`.execute(db);
    for (const { guid, held } of rows) {
      const sealed = again(held, guid);
      if (sealed === undefined) continue;
      await sql`
        update ${sql.table(table)} set ${sql.ref(column)} = ${sealed}
        where guid = ${guid} and ${sql.ref(column)} = ${held}`.execute(db);
    }
  }
  for (const { table, id, column, path } of HOLDERS) {
    const variables = sql`${sql.ref(column)} #>> ${path}::text[]`;
    const { rows } = await sql<{ id: string; held: string }>`
      select ${sql.ref(id)} as id, ${variables} as held from ${sql.table(table)}
      where jsonb_typeof(${sql.ref(column)} #> ${path}::text[]) = 'string' and ${variables} not like ${current}`.execute(
      db,
    );
    for (const row of rows) {
      const text = again(row.held, column);
      if (text === undefined) continue;
      const sealed = JSON.stringify(text);
      const whole =
        path.length === 0 ? sql`${sealed}::jsonb` : sql`jsonb_set(${sql.ref(column)}, ${path}, ${sealed}::jsonb)`;
      await sql`
        update ${sql.table(table)} set ${sql.ref(column)} = ${whole}
        where ${sql.ref(id)} = ${row.id} and ${variables} = ${row.held}`.execute(db);
    }
  }
  return { sealed_anew, unreadable };
}
