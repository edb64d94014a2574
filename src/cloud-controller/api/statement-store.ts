import { type RawBuilder, sql } from 'kysely';
import type { CoreTables, Db, Trx } from '../tables.ts';

/** The moment of the transaction, for `updated_at`. */
export const NOW: RawBuilder<Date> = sql<Date>`now()`;

/** Runs statements as one: all of them, or none. */
export async function inTransaction<Result>(db: Db, work: (trx: Trx) => Promise<Result>): Promise<Result> {
  return await db.transaction().execute(work);
}

/** Tables whose rows are found and deleted by guid alone. */
type Named = {
  [Table in keyof CoreTables]: CoreTables[Table] extends { guid: string; name: string } ? Table : never;
}[keyof CoreTables];

/** The guids among these that a table has. */
export async function existingGuids(db: Db, table: Named, guids: readonly string[]): Promise<Set<string>> {
  if (guids.length === 0) return new Set();
  const { rows } = await sql<{ guid: string }>`
    select guid from ${sql.table(table)} where guid = any(${[...guids]}::text[])`.execute(db);
  return new Set(rows.map((row) => row.guid));
}
