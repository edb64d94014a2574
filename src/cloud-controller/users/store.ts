import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import type { Caller } from '../api/caller.ts';
import { isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery, ListSpec } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, UserRow } from '../tables.ts';
import type { UaaUser, UserDirectory } from './directory.ts';

export const USER_LIST: ListSpec = {
  filters: ['guids', 'usernames', 'partial_usernames', 'origins'],
  labels: true,
};

/** Whose users: those with a role in an organization (its spaces included), in a space, or those that a caller may see. */
export type UsersWithin = { organization_guid: string } | { space_guid: string } | { visible_to: Caller };

export async function listUsers(db: Db, query: ListQuery, within: UsersWithin): Promise<Page<UserRow>> {
  return await selectPage(db.selectFrom('users').selectAll().where(condition(within)), {
    query,
    table: 'users',
    filters: {
      guids: 'users.guid',
      usernames: isOneOfNames('users.username'),
      partial_usernames: (values) =>
        sql<boolean>`users.username ilike any(${values.map((value) => `%${value.replace(/[\\%_]/g, '\\$&')}%`)}::text[])`,
      origins: 'users.origin',
    },
  });
}

function condition(within: UsersWithin) {
  if ('space_guid' in within) {
    return sql<boolean>`users.guid in (select user_guid from roles where space_guid = ${within.space_guid})`;
  }
  if ('organization_guid' in within) {
    const guid = within.organization_guid;
    return sql<boolean>`users.guid in (select user_guid from roles where organization_guid = ${guid}
      or space_guid in (select guid from spaces where organization_guid = ${guid}))`;
  }
  const caller = within.visible_to;
  const scope = caller.scope('user.read');
  if (scope.everywhere) return sql<boolean>`true`;
  const guids = [...scope.organization_guids, ...scope.space_organization_guids];
  return sql<boolean>`(users.guid = ${caller.guid} or users.guid in (
    select user_guid from roles where ${isOneOf('roles.organization_guid', guids)}
      or space_guid in (select guid from spaces where ${isOneOf('spaces.organization_guid', guids)})))`;
}

export async function findUser(db: Db, guid: string): Promise<UserRow | undefined> {
  return await db.selectFrom('users').selectAll().where('guid', '=', guid).executeTakeFirst();
}

export async function isVisible(db: Db, guid: string, caller: Caller): Promise<boolean> {
  const row = await db
    .selectFrom('users')
    .select('guid')
    .where('guid', '=', guid)
    .where(condition({ visible_to: caller }))
    .executeTakeFirst();
  return row !== undefined;
}

export async function usersByGuid(db: Db, guids: Iterable<string>): Promise<UserRow[]> {
  return await db
    .selectFrom('users')
    .selectAll()
    .where(isOneOf('guid', [...new Set(guids)]))
    .orderBy('id')
    .execute();
}

/** Makes users of the UAA known here, or their new names. */
export async function keepUsers(db: Db, users: readonly UaaUser[]): Promise<void> {
  if (users.length === 0) return;
  await db
    .insertInto('users')
    .values(users.map(({ guid, username, origin }) => ({ guid, username, origin })))
    .onConflict((conflict) =>
      conflict
        .column('guid')
        .doUpdateSet((row) => ({ username: row.ref('excluded.username'), origin: row.ref('excluded.origin') })),
    )
    .execute();
}

/** Fills in the names that are not known here yet, from the UAA, and keeps them. Errors: 503 CF-UaaUnavailable. */
export async function nameUsers(parts: { db: Db; directory: UserDirectory }, rows: UserRow[]): Promise<UserRow[]> {
  const nameless = rows.filter((row) => row.username === null && isGuid(row.guid)).map((row) => row.guid);
  if (nameless.length === 0) return rows;
  const found = new Map((await parts.directory.byGuids(nameless)).map((user) => [user.guid, user]));
  await keepUsers(parts.db, [...found.values()]);
  return rows.map((row) => {
    const user = found.get(row.guid);
    return user ? { ...row, username: user.username, origin: user.origin } : row;
  });
}

/** The UAA's users have such ids; clients, which have no user name, are known by theirs. */
function isGuid(text: string): boolean {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text);
}

/** Errors: 422 when the user is known already. */
export async function insertUser(
  db: Db,
  user: { guid: string; username: string | null; origin: string | null },
  metadata: MetadataUpdate | undefined,
): Promise<UserRow> {
  try {
    return await db
      .insertInto('users')
      .values({ ...user, ...metadataColumns(undefined, metadata) })
      .returningAll()
      .executeTakeFirstOrThrow();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw unprocessable(`User with guid '${user.guid}' already exists.`);
  }
}

export async function updateUserMetadata(
  db: Db,
  user: UserRow,
  metadata: MetadataUpdate | undefined,
): Promise<UserRow> {
  return await db
    .updateTable('users')
    .set({ ...metadataColumns(user, metadata), updated_at: NOW })
    .where('guid', '=', user.guid)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** The user's roles go with it. */
export async function deleteUser(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('users').where('guid', '=', guid).execute();
}
