import type { TokenClaims } from '#http/token-verifier.ts';
import {
  ORGANIZATION_ROLES,
  SPACE_ROLES,
  type HeldRoles,
  type OrganizationRole,
  type SpaceRole,
} from '../api/permissions.ts';
import type { Db } from '../tables.ts';

/**
 * All roles of the token's user (or client) in one statement. Who is seen for the first time becomes known, and the name is
 * kept as the token has it.
 */
export async function loadHeldRoles(db: Db, claims: TokenClaims): Promise<Omit<HeldRoles, 'platform'>> {
  const guid = claims.user_id ?? claims.client_id;
  const rows = await db
    .selectFrom('users')
    .leftJoin('roles', 'roles.user_guid', 'users.guid')
    .leftJoin('spaces', 'spaces.guid', 'roles.space_guid')
    .select([
      'users.username',
      'users.origin',
      'roles.type',
      'roles.organization_guid',
      'roles.space_guid',
      'spaces.organization_guid as space_organization_guid',
    ])
    .where('users.guid', '=', guid)
    .execute();
  const username = claims.user_name ?? null;
  const origin = claims.origin ?? null;
  const [known] = rows;
  if (!known || (username !== null && (known.username !== username || known.origin !== origin))) {
    await db
      .insertInto('users')
      .values({ guid, username, origin })
      .onConflict((conflict) => conflict.column('guid').doUpdateSet({ username, origin }))
      .execute();
  }
  const organizations = new Map<string, Set<OrganizationRole>>();
  const spaces = new Map<string, { organization_guid: string; roles: Set<SpaceRole> }>();
  for (const row of rows) {
    const organization_role = ORGANIZATION_ROLES.find((role) => role === row.type);
    const space_role = SPACE_ROLES.find((role) => role === row.type);
    if (organization_role && row.organization_guid !== null) {
      const held = organizations.get(row.organization_guid) ?? new Set();
      organizations.set(row.organization_guid, held.add(organization_role));
    } else if (space_role && row.space_guid !== null && row.space_organization_guid !== null) {
      const held = spaces.get(row.space_guid) ?? {
        organization_guid: row.space_organization_guid,
        roles: new Set<SpaceRole>(),
      };
      held.roles.add(space_role);
      spaces.set(row.space_guid, held);
    }
  }
  return { organizations, spaces };
}
