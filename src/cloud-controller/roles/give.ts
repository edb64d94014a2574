import { type CfError, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { OrganizationRole, SpaceRole } from '../api/permissions.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { findOrganization } from '../organizations/store.ts';
import { findSpace } from '../spaces/store.ts';
import type { RoleRow, UserRow } from '../tables.ts';
import { findUser, isVisible, keepUsers } from '../users/store.ts';
import type { CreateRole } from './schema.ts';
import { hasOrganizationRole, insertRole, type NewRole, RoleHeld } from './store.ts';

/**
 * Gives a user a role, in an organization or a space, and makes the user known here when it is the UAA's.
 * Errors: 422 with the reason; 403 when the caller may not give roles there; 503 CF-UaaUnavailable.
 */
export async function giveRole(deps: Deps, caller: Caller, wanted: CreateRole): Promise<RoleRow> {
  const { db } = deps;
  const place = await placeOf(deps, caller, wanted);
  if ('username' in wanted.relationships.user.data) await requireFeature(db, 'set_roles_by_username', caller);
  const user = await userOf(deps, caller, { data: wanted.relationships.user.data, ...place });
  const { organization_guid, space_guid } = place;
  if (space_guid !== null && !(await hasOrganizationRole(db, user.guid, organization_guid))) {
    throw unprocessable(
      "Users cannot be assigned roles in a space if they do not have a role in that space's organization.",
    );
  }
  const role: NewRole =
    space_guid === null
      ? { type: wanted.type as OrganizationRole, user_guid: user.guid, organization_guid }
      : { type: wanted.type as SpaceRole, user_guid: user.guid, space_guid };
  try {
    return await inTransaction(db, async (trx) => {
      const row = await insertRole(trx, role);
      await recordAuditEvent(trx, {
        type: `audit.user.${role.type}_add`,
        actor: caller.actor,
        target: { guid: user.guid, type: 'user', name: user.username ?? '' },
        data: { request: wanted },
        space_guid,
        organization_guid,
      });
      return row;
    });
  } catch (error) {
    if (!(error instanceof RoleHeld)) throw error;
    const where = `${space_guid === null ? 'organization' : 'space'} '${place.name}'`;
    throw unprocessable(`User '${user.username ?? user.guid}' already has '${role.type}' role in ${where}.`);
  }
}

interface RolePlace {
  organization_guid: string;
  space_guid: string | null;
  name: string;
}

async function placeOf({ db }: Deps, caller: Caller, wanted: CreateRole): Promise<RolePlace> {
  const { space, organization } = wanted.relationships;
  if (space) {
    const found = await findSpace(db, space.data.guid);
    if (!found || !caller.may('space.read', found)) {
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
    }
    caller.require('role.write_in_space', found);
    return { organization_guid: found.organization_guid, space_guid: found.guid, name: found.name };
  }
  const found = await findOrganization(db, organization?.data.guid ?? '');
  if (!found || !caller.may('organization.read', found)) {
    throw unprocessable('Invalid organization. Ensure that the organization exists and you have access to it.');
  }
  caller.require('role.write_in_organization', found);
  return { organization_guid: found.guid, space_guid: null, name: found.name };
}

type UserData = CreateRole['relationships']['user']['data'];

async function userOf(
  deps: Deps,
  caller: Caller,
  wanted: RolePlace & { data: UserData },
): Promise<Pick<UserRow, 'guid' | 'username'>> {
  const { db, directory } = deps;
  const { data } = wanted;
  if ('guid' in data) {
    const known = await findUser(db, data.guid);
    if (!known || !(await isVisible(db, data.guid, caller))) throw invalidUser();
    return known;
  }
  const found = await directory.byUsername(data.username, data.origin);
  const [user, ...more] = found;
  if (!user) {
    const origin = data.origin === undefined ? '' : ` and origin '${data.origin}'`;
    throw unprocessable(`No user exists with the username '${data.username}'${origin}.`);
  }
  if (more.length > 0) {
    const origins = found
      .map((one) => one.origin)
      .sort()
      .join(', ');
    throw unprocessable(
      `Ambiguous user. User with username '${data.username}' exists in the following origins: ${origins}. Specify an origin to disambiguate.`,
    );
  }
  await keepUsers(db, [user]);
  return user;
}

function invalidUser(): CfError {
  return unprocessable('Invalid user. Ensure that the user exists and you have access to it.');
}
