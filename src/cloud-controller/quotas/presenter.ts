import { type Links, presentCommon, toMany, toOne } from '../api/links.ts';
import type { OrganizationQuota, SpaceQuota } from './store.ts';

function presentLimits(row: OrganizationQuota | SpaceQuota): Record<string, unknown> {
  return {
    apps: {
      total_memory_in_mb: row.total_memory_in_mb,
      per_process_memory_in_mb: row.per_process_memory_in_mb,
      total_instances: row.total_instances,
      per_app_tasks: row.per_app_tasks,
      log_rate_limit_in_bytes_per_second: row.log_rate_limit_in_bytes_per_second,
    },
    services: {
      paid_services_allowed: row.paid_services_allowed,
      total_service_instances: row.total_service_instances,
      total_service_keys: row.total_service_keys,
    },
    routes: { total_routes: row.total_routes, total_reserved_ports: row.total_reserved_ports },
  };
}

/** `readable` tells which of the organizations the caller may know of. */
export function presentOrganizationQuota(
  row: OrganizationQuota,
  links: Links,
  readable: (organization_guid: string) => boolean,
): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    ...presentLimits(row),
    domains: { total_domains: row.total_domains },
    relationships: { organizations: toMany(row.organization_guids.filter(readable)) },
    links: { self: links.to(`/v3/organization_quotas/${row.guid}`) },
  };
}

/** `readable` tells which of the spaces the caller may know of. */
export function presentSpaceQuota(
  row: SpaceQuota,
  links: Links,
  readable: (space_guid: string) => boolean,
): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    ...presentLimits(row),
    relationships: {
      organization: toOne(row.organization_guid),
      spaces: toMany(row.space_guids.filter(readable)),
    },
    links: {
      self: links.to(`/v3/space_quotas/${row.guid}`),
      organization: links.to(`/v3/organizations/${row.organization_guid}`),
    },
  };
}
