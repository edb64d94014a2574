import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { presentOperation } from '../service-operations/operation.ts';
import type { ServiceInstance } from './store.ts';

export function presentServiceInstance(row: ServiceInstance, links: Links): Record<string, unknown> {
  const path = `/v3/service_instances/${row.guid}`;
  const bound = `service_instance_guids=${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    type: row.type,
    tags: row.tags,
    last_operation: presentOperation(row),
    ...(row.type === 'managed' ? presentManaged(row) : presentUserProvided(row)),
    relationships: {
      space: toOne(row.space_guid),
      ...(row.service_plan_guid !== null && { service_plan: toOne(row.service_plan_guid) }),
    },
    ...presentMetadata(row),
    links: {
      self: links.to(path),
      space: links.to(`/v3/spaces/${row.space_guid}`),
      service_credential_bindings: links.to(`/v3/service_credential_bindings?${bound}`),
      service_route_bindings: links.to(`/v3/service_route_bindings?${bound}`),
      ...(row.type === 'managed'
        ? {
            service_plan: links.to(`/v3/service_plans/${row.service_plan_guid}`),
            parameters: links.to(`${path}/parameters`),
            shared_spaces: links.to(`${path}/relationships/shared_spaces`),
          }
        : { credentials: links.to(`${path}/credentials`) }),
    },
  };
}

function presentManaged(row: ServiceInstance): Record<string, unknown> {
  const offered = row.plan_maintenance_info?.version;
  return {
    maintenance_info: row.maintenance_info,
    upgrade_available: offered !== undefined && offered !== row.maintenance_info.version,
    dashboard_url: row.dashboard_url,
    broker_provided_metadata: row.broker_provided_metadata,
  };
}

function presentUserProvided(row: ServiceInstance): Record<string, unknown> {
  return { syslog_drain_url: row.syslog_drain_url, route_service_url: row.route_service_url };
}
