import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { ServiceOfferingRow } from '../tables-services.ts';

export function presentServiceOffering(row: ServiceOfferingRow, links: Links): Record<string, unknown> {
  const { catalog_metadata: metadata } = row;
  const documentation = metadata['documentationUrl'];
  return {
    ...presentCommon(row),
    name: row.name,
    description: row.description,
    available: row.available,
    tags: row.tags,
    requires: row.requires,
    shareable: metadata['shareable'] === true,
    documentation_url: typeof documentation === 'string' ? documentation : '',
    broker_catalog: {
      id: row.catalog_id,
      metadata,
      features: {
        plan_updateable: row.plan_updateable,
        bindable: row.bindable,
        instances_retrievable: row.instances_retrievable,
        bindings_retrievable: row.bindings_retrievable,
        allow_context_updates: row.allow_context_updates,
      },
    },
    relationships: { service_broker: toOne(row.service_broker_guid) },
    ...presentMetadata(row),
    links: {
      self: links.to(`/v3/service_offerings/${row.guid}`),
      service_plans: links.to(`/v3/service_plans?service_offering_guids=${row.guid}`),
      service_broker: links.to(`/v3/service_brokers/${row.service_broker_guid}`),
    },
  };
}
