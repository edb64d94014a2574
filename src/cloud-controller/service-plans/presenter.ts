import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { ServicePlan } from './store.ts';

export function presentServicePlan(row: ServicePlan, links: Links): Record<string, unknown> {
  const path = `/v3/service_plans/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    description: row.description,
    visibility_type: row.visibility_type,
    available: row.available,
    free: row.free,
    costs: presentCosts(row.catalog_metadata),
    maintenance_info: row.maintenance_info,
    broker_catalog: {
      id: row.catalog_id,
      metadata: row.catalog_metadata,
      maximum_polling_duration: row.maximum_polling_duration,
      features: {
        plan_updateable: row.plan_updateable ?? row.offering_plan_updateable,
        bindable: row.bindable ?? row.offering_bindable,
      },
    },
    schemas: presentSchemas(row.schemas),
    relationships: {
      service_offering: toOne(row.service_offering_guid),
      ...(row.space_guid !== null && { space: toOne(row.space_guid) }),
    },
    ...presentMetadata(row),
    links: {
      self: links.to(path),
      service_offering: links.to(`/v3/service_offerings/${row.service_offering_guid}`),
      visibility: links.to(`${path}/visibility`),
      ...(row.space_guid !== null && { space: links.to(`/v3/spaces/${row.space_guid}`) }),
    },
  };
}

/** `metadata.costs` of the catalog, `[{ amount: { usd: 9.9 }, unit }]`, one item per currency. Source: the OSB profile. */
function presentCosts(metadata: Record<string, unknown>): { amount: number; currency: string; unit: string }[] {
  const { costs } = metadata;
  if (!Array.isArray(costs)) return [];
  return costs.flatMap((cost: unknown) => {
    if (typeof cost !== 'object' || cost === null) return [];
    const amount: unknown = Reflect.get(cost, 'amount');
    const unit: unknown = Reflect.get(cost, 'unit');
    if (typeof amount !== 'object' || amount === null || typeof unit !== 'string') return [];
    return Object.entries(amount).flatMap(([currency, value]: [string, unknown]) =>
      typeof value === 'number' ? [{ amount: value, currency: currency.toUpperCase(), unit }] : [],
    );
  });
}

function presentSchemas(schemas: Record<string, unknown>): Record<string, unknown> {
  const at = (resource: string, action: string): Record<string, unknown> => {
    const found = inside(inside(inside(schemas, resource), action), 'parameters');
    return { parameters: typeof found === 'object' && found !== null ? found : {} };
  };
  return {
    service_instance: { create: at('service_instance', 'create'), update: at('service_instance', 'update') },
    service_binding: { create: at('service_binding', 'create') },
  };
}

function inside(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}
