import { type Links, presentCommon, toOne } from '../api/links.ts';
import type { RoleRow } from '../tables.ts';

export function presentRole(row: RoleRow, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    type: row.type,
    relationships: {
      user: toOne(row.user_guid),
      organization: toOne(row.organization_guid),
      space: toOne(row.space_guid),
    },
    links: {
      self: links.to(`/v3/roles/${row.guid}`),
      user: links.to(`/v3/users/${row.user_guid}`),
      ...(row.organization_guid !== null && { organization: links.to(`/v3/organizations/${row.organization_guid}`) }),
      ...(row.space_guid !== null && { space: links.to(`/v3/spaces/${row.space_guid}`) }),
    },
  };
}
