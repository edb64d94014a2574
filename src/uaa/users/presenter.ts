import { SCHEMA } from '../scim/list-request.ts';
import type { User } from '../tables.ts';
import type { GroupOfUser } from './store.ts';

/** A user in UAA's SCIM form. */
export function presentUser(user: User, groups: readonly GroupOfUser[]): Record<string, unknown> {
  return {
    id: user.id,
    ...(user.external_id !== null && { externalId: user.external_id }),
    meta: {
      version: user.version,
      created: user.created_at.toISOString(),
      lastModified: user.updated_at.toISOString(),
    },
    userName: user.user_name,
    name: {
      ...(user.family_name !== null && { familyName: user.family_name }),
      ...(user.given_name !== null && { givenName: user.given_name }),
    },
    emails: [{ value: user.email, primary: true }],
    groups: presentGroups(groups),
    approvals: [],
    phoneNumbers: user.phone_number === null ? [] : [{ value: user.phone_number }],
    active: user.active,
    verified: user.verified,
    origin: user.origin,
    zoneId: 'uaa',
    passwordLastModified: user.password_changed_at.toISOString(),
    ...(user.last_logon_at && { lastLogonTime: user.last_logon_at.getTime() }),
    ...(user.previous_logon_at && { previousLogonTime: user.previous_logon_at.getTime() }),
    schemas: [SCHEMA],
  };
}

/** Most users of a page are in the same groups, the default ones, and share the one list of them. */
const presented = new WeakMap<readonly GroupOfUser[], readonly object[]>();

function presentGroups(groups: readonly GroupOfUser[]): readonly object[] {
  const known = presented.get(groups);
  if (known) return known;
  const list = groups.map((group) => ({
    value: group.id,
    display: group.display_name,
    type: group.isDirect ? 'DIRECT' : 'INDIRECT',
  }));
  presented.set(groups, list);
  return list;
}
