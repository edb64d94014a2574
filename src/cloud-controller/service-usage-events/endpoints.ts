import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { type Links, presentTime } from '../api/links.ts';
import { type Page, presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import {
  findServiceUsageEvent,
  listServiceUsageEvents,
  reseedServiceUsageEvents,
  type ServiceUsageEventRow,
} from './store.ts';

const LIST: ListSpec = {
  filters: ['guids', 'service_instance_types', 'service_offering_guids'],
  plain: ['after_guid'],
};

/** What service instances there were, for billing: read by those who see the whole platform. */
export function registerServiceUsageEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  server.get('/v3/service_usage_events', { config: { list: LIST } }, async (request) => {
    const query = parseList(request, LIST);
    const page: Page<ServiceUsageEventRow> | undefined = request.caller.may('platform.read')
      ? await listServiceUsageEvents(db, query, query.plain['after_guid'])
      : { rows: [], total: 0 };
    if (!page) throw unprocessable('After guid filter must be a valid service usage event guid.');
    return presentPage(page, { query, links, present: (row) => presentServiceUsageEvent(row, links) });
  });

  server.get<{ Params: { guid: string } }>('/v3/service_usage_events/:guid', async ({ params, caller }) => {
    const found = caller.may('platform.read') ? await findServiceUsageEvent(db, params.guid) : undefined;
    if (!found) throw notFound('Service usage event');
    return presentServiceUsageEvent(found, links);
  });

  server.post('/v3/service_usage_events/actions/destructively_purge_all_and_reseed', async ({ caller }, reply) => {
    caller.require('platform.write');
    await reseedServiceUsageEvents(db);
    return reply.code(200).send({});
  });
}

function presentServiceUsageEvent(row: ServiceUsageEventRow, links: Links): Record<string, unknown> {
  return {
    guid: row.guid,
    created_at: presentTime(row.created_at),
    updated_at: presentTime(row.created_at),
    state: row.state,
    space: { guid: row.space_guid, name: row.space_name },
    organization: { guid: row.organization_guid },
    service_instance: {
      guid: row.service_instance_guid,
      name: row.service_instance_name,
      type: row.service_instance_type,
    },
    service_plan: { guid: row.service_plan_guid, name: row.service_plan_name },
    service_offering: { guid: row.service_offering_guid, name: row.service_offering_name },
    service_broker: { guid: row.service_broker_guid, name: row.service_broker_name },
    links: { self: links.to(`/v3/service_usage_events/${row.guid}`) },
  };
}
