import { type Links, presentCommon, presentMetadata, toMany, toOne } from '../api/links.ts';
import type { Domain } from './store.ts';

/** `readable` tells which of the organizations that it is shared with the caller may know of. */
export function presentDomain(
  row: Domain,
  links: Links,
  readable: (organization_guid: string) => boolean,
): Record<string, unknown> {
  const path = `/v3/domains/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    internal: row.internal,
    router_group: row.router_group_guid === null ? null : { guid: row.router_group_guid },
    ...(row.enforce_route_policies && {
      enforce_route_policies: true,
      route_policies_scope: row.route_policies_scope,
    }),
    supported_protocols: [row.router_group_guid === null ? 'http' : 'tcp'],
    ...presentMetadata(row),
    relationships: {
      organization: toOne(row.organization_guid),
      shared_organizations: toMany(row.shared_organization_guids.filter(readable)),
    },
    links: {
      self: links.to(path),
      ...(row.organization_guid !== null && { organization: links.to(`/v3/organizations/${row.organization_guid}`) }),
      route_reservations: links.to(`${path}/route_reservations`),
      ...(row.organization_guid !== null && {
        shared_organizations: links.to(`${path}/relationships/shared_organizations`),
      }),
    },
  };
}
