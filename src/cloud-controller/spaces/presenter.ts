import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { SpaceRow } from '../tables.ts';

/** `organization_suspended` shows as the space's own. */
export function presentSpace(
  row: SpaceRow & { organization_suspended?: boolean },
  links: Links,
): Record<string, unknown> {
  const path = `/v3/spaces/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    suspended: row.organization_suspended ?? false,
    relationships: { organization: toOne(row.organization_guid), quota: toOne(row.quota_guid) },
    ...presentMetadata(row),
    links: {
      self: links.to(path),
      organization: links.to(`/v3/organizations/${row.organization_guid}`),
      features: links.to(`${path}/features`),
      apply_manifest: links.with(`${path}/actions/apply_manifest`, 'POST'),
      ...(row.quota_guid !== null && { quota: links.to(`/v3/space_quotas/${row.quota_guid}`) }),
    },
  };
}
