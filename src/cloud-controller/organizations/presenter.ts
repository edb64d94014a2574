import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { OrganizationRow } from '../tables.ts';

export function presentOrganization(row: OrganizationRow, links: Links): Record<string, unknown> {
  const path = `/v3/organizations/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    suspended: row.suspended,
    relationships: { quota: toOne(row.quota_guid) },
    ...presentMetadata(row),
    links: {
      self: links.to(path),
      domains: links.to(`${path}/domains`),
      default_domain: links.to(`${path}/domains/default`),
      quota: links.to(`/v3/organization_quotas/${row.quota_guid}`),
    },
  };
}
