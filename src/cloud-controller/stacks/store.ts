import { randomUUID } from 'node:crypto';
import type { Selectable } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import { type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, Stacks } from '../tables.ts';

export type Stack = Selectable<Stacks>;

export async function findStack(db: Db, guid: string): Promise<Stack | undefined> {
  return await db.selectFrom('stacks').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** A stack's name is matched exactly. */
export async function findStackNamed(db: Db, name: string): Promise<Stack | undefined> {
  return await db.selectFrom('stacks').selectAll().where('name', '=', name).executeTakeFirst();
}

export async function listStacks(db: Db, query: ListQuery, only?: { name: string }): Promise<Page<Stack>> {
  let statement = db.selectFrom('stacks').selectAll();
  if (only) statement = statement.where('name', '=', only.name);
  return await selectPage(statement, { query, table: 'stacks', filters: { names: 'stacks.name' } });
}

export interface StackFields {
  description?: string | null | undefined;
  state?: string | undefined;
  state_reason?: string | null | undefined;
  metadata?: MetadataUpdate | undefined;
}

/** Errors: 422 when the name is taken. */
export async function insertStack(db: Db, stack: StackFields & { name: string }): Promise<Stack> {
  try {
    return await db
      .insertInto('stacks')
      .values({
        guid: randomUUID(),
        name: stack.name,
        description: stack.description ?? null,
        state: stack.state ?? 'ACTIVE',
        state_reason: stack.state_reason ?? null,
        ...metadataColumns(undefined, stack.metadata),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw unprocessable('Name must be unique');
  }
}

export async function updateStack(db: Db, stack: Stack, wanted: StackFields): Promise<Stack> {
  return await db
    .updateTable('stacks')
    .set({
      description: wanted.description === undefined ? stack.description : wanted.description,
      state: wanted.state ?? stack.state,
      state_reason: wanted.state_reason === undefined ? stack.state_reason : wanted.state_reason,
      ...metadataColumns(stack, wanted.metadata),
      updated_at: NOW,
    })
    .where('guid', '=', stack.guid)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Errors: 422 while an app has it. */
export async function deleteStack(db: Db, stack: Stack): Promise<void> {
  const used = await db.selectFrom('apps').select('guid').where('stack', '=', stack.name).limit(1).executeTakeFirst();
  if (used) throw unprocessable(`Cannot delete stack '${stack.name}' because apps are currently using the stack.`);
  await db.deleteFrom('stacks').where('guid', '=', stack.guid).execute();
}
