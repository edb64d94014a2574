import type { Links } from '../api/links.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { spacesByGuid } from '../spaces/store.ts';
import type { Db } from '../tables.ts';

/** The `included` of apps: their spaces, and the spaces' organizations. Undefined when nothing was asked for. */
export async function includedPlaces(
  db: Db,
  include: ReadonlySet<string>,
  page: { rows: readonly { space_guid: string; organization_guid: string }[]; links: Links },
): Promise<Record<string, unknown[]> | undefined> {
  if (include.size === 0) return undefined;
  const { rows, links } = page;
  const withOrganizations = include.has('space.organization') || include.has('org');
  const spaces = await spacesByGuid(
    db,
    rows.map((row) => row.space_guid),
  );
  const organizations = withOrganizations
    ? await organizationsByGuid(
        db,
        rows.map((row) => row.organization_guid),
      )
    : [];
  return {
    spaces: spaces.map((space) => presentSpace(space, links)),
    ...(withOrganizations && {
      organizations: organizations.map((organization) => presentOrganization(organization, links)),
    }),
  };
}
