import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { isUniqueViolation } from '#db/database.ts';
import { AppError } from '#kernel/errors.ts';
import type { Caller } from '../api/caller.ts';
import { isOneOf, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { OrganizationRole, SpaceRole } from '../api/permissions.ts';
import type { Db, RoleRow } from '../tables.ts';

/** The user holds that role there already. */
export class RoleHeld extends AppError {
  constructor(options?: ErrorOptions) {
    super('role_held', 'the user has that role already', options);
  }
}

export type NewRole = { user_guid: string } & (
  | { type: OrganizationRole; organization_guid: string }
  | { type: SpaceRole; space_guid: string }
);

/** Errors: RoleHeld. */
export async function insertRole(db: Db, role: NewRole): Promise<RoleRow> {
  try {
    return await db
      .insertInto('roles')
      .values({
        guid: randomUUID(),
        type: role.type,
        user_guid: role.user_guid,
        organization_guid: 'organization_guid' in role ? role.organization_guid : null,
        space_guid: 'space_guid' in role ? role.space_guid : null,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  } catch (error) {
    if (isUniqueViolation(error, 'roles_once')) throw new RoleHeld({ cause: error });
    throw error;
  }
}

/** A role with the organization around it, also when it is a space's. */
export type PlacedRole = RoleRow & { place: { organization_guid: string; space_guid: string | null } };

export async function findRole(db: Db, guid: string): Promise<PlacedRole | undefined> {
  const row = await db
    .selectFrom('roles')
    .leftJoin('spaces', 'spaces.guid', 'roles.space_guid')
    .selectAll('roles')
    .select('spaces.organization_guid as space_organization_guid')
    .where('roles.guid', '=', guid)
    .executeTakeFirst();
  if (!row) return undefined;
  const { space_organization_guid, ...role } = row;
  const organization_guid = role.organization_guid ?? space_organization_guid ?? '';
  return { ...role, place: { organization_guid, space_guid: role.space_guid } };
}

export async function listRoles(db: Db, query: ListQuery, caller: Caller): Promise<Page<RoleRow>> {
  const organizations = caller.scope('role.read_in_organization');
  const spaces = caller.scope('role.read_in_space');
  let statement = db.selectFrom('roles').selectAll();
  if (!organizations.everywhere && !spaces.everywhere) {
    const readable = [...organizations.organization_guids, ...organizations.space_organization_guids];
    statement = statement.where(
      sql<boolean>`(${isOneOf('roles.organization_guid', readable)} or ${isOneOf('roles.space_guid', spaces.space_guids)}
        or roles.space_guid in (select guid from spaces where ${isOneOf('spaces.organization_guid', spaces.organization_guids)}))`,
    );
  }
  return await selectPage(statement, {
    query,
    table: 'roles',
    filters: {
      guids: 'roles.guid',
      types: 'roles.type',
      space_guids: 'roles.space_guid',
      organization_guids: 'roles.organization_guid',
      user_guids: 'roles.user_guid',
    },
  });
}

export async function hasOrganizationRole(db: Db, user_guid: string, organization_guid: string): Promise<boolean> {
  const row = await db
    .selectFrom('roles')
    .select('guid')
    .where('user_guid', '=', user_guid)
    .where('organization_guid', '=', organization_guid)
    .executeTakeFirst();
  return row !== undefined;
}

export async function hasSpaceRoleIn(db: Db, user_guid: string, organization_guid: string): Promise<boolean> {
  const row = await db
    .selectFrom('roles')
    .innerJoin('spaces', 'spaces.guid', 'roles.space_guid')
    .select('roles.guid')
    .where('roles.user_guid', '=', user_guid)
    .where('spaces.organization_guid', '=', organization_guid)
    .executeTakeFirst();
  return row !== undefined;
}

export async function deleteRole(db: Db, guid: string): Promise<void> {
  await db.deleteFrom('roles').where('guid', '=', guid).execute();
}
