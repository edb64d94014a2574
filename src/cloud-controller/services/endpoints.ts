import type { FastifyInstance } from 'fastify';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, parseList } from '../api/list.ts';
import type { Deps } from '../deps.ts';

/** The kinds of service resources, each with the parameters that its list takes. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  service_brokers: ['names', 'space_guids'],
  service_offerings: ['names', 'service_broker_guids', 'service_broker_names', 'space_guids', 'organization_guids'],
  service_plans: [
    'names',
    'broker_catalog_ids',
    'service_offering_guids',
    'service_offering_names',
    'service_broker_guids',
    'service_broker_names',
    'service_instance_guids',
    'space_guids',
    'organization_guids',
  ],
  service_route_bindings: ['guids', 'route_guids', 'service_instance_guids', 'service_instance_names'],
};

/**
 * Lists of what no broker offers and nobody has made: empty, until brokers can be registered. Their clients, among them
 * `cf routes` and `cf space`, go on without services; all that would make or change one is an unknown request.
 */
export function registerServiceLists(server: FastifyInstance, { links }: Deps): void {
  for (const [name, filters] of Object.entries(LISTS)) {
    server.get(`/v3/${name}`, async (request) => {
      const query: ListQuery = parseList(request, {
        filters,
        plain: [
          'type',
          'available',
          'include',
          ...[
            'space',
            'space.organization',
            'service_broker',
            'service_offering',
            'service_offering.service_broker',
          ].map(fields),
          ...['service_plan', 'service_plan.service_offering', 'service_plan.service_offering.service_broker'].map(
            fields,
          ),
        ],
        order: ['name'],
        labels: true,
      });
      return presentPage({ rows: [], total: 0 }, { query, links, present: () => ({}) });
    });
  }
}

function fields(resource: string): string {
  return `fields[${resource}]`;
}
