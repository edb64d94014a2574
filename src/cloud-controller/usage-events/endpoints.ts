import type { FastifyInstance } from 'fastify';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { type Links, presentTime } from '../api/links.ts';
import { type Page, presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import { countUsage } from '../organizations/store.ts';
import { type AppUsageEventRow, findAppUsageEvent, listAppUsageEvents, reseedAppUsageEvents } from './store.ts';
import { allSpaceGuids, countPrivateDomains } from './summary-store.ts';

const APP_USAGE_EVENT_LIST: ListSpec = { filters: ['guids'], plain: ['after_guid'] };

export function registerUsageEndpoints(server: FastifyInstance, { db, links, effects }: Deps): void {
  server.get('/v3/info/usage_summary', async ({ caller }) => {
    caller.require('platform.read');
    const space_guids = await allSpaceGuids(db);
    const usage = await countUsage(db, { space_guids });
    const domains = await countPrivateDomains(db);
    return {
      usage_summary: { ...(await effects.usageOf(space_guids)), ...usage, domains },
      links: { self: links.to('/v3/info/usage_summary') },
    };
  });

  server.get('/v3/app_usage_events', { config: { list: APP_USAGE_EVENT_LIST } }, async (request) => {
    const query = parseList(request, APP_USAGE_EVENT_LIST);
    const page: Page<AppUsageEventRow> | undefined = request.caller.may('platform.read')
      ? await listAppUsageEvents(db, query, query.plain['after_guid'])
      : { rows: [], total: 0 };
    if (!page) throw unprocessable('After guid filter must be a valid app usage event guid.');
    return presentPage(page, { query, links, present: (row) => presentAppUsageEvent(row, links) });
  });

  server.get<{ Params: { guid: string } }>('/v3/app_usage_events/:guid', async ({ params, caller }) => {
    const found = caller.may('platform.read') ? await findAppUsageEvent(db, params.guid) : undefined;
    if (!found) throw notFound('App usage event');
    return presentAppUsageEvent(found, links);
  });

  server.post('/v3/app_usage_events/actions/destructively_purge_all_and_reseed', async ({ caller }, reply) => {
    if (!caller.isAdmin) throw new CfError('NotAuthorized', 'You are not authorized to perform the requested action');
    await reseedAppUsageEvents(db);
    return reply.code(200).send();
  });
}

function presentAppUsageEvent(row: AppUsageEventRow, links: Links): Record<string, unknown> {
  return {
    guid: row.guid,
    created_at: presentTime(row.created_at),
    updated_at: presentTime(row.created_at),
    state: { current: row.state, previous: row.previous_state },
    app: { guid: row.app_guid, name: row.app_name },
    process: { guid: row.process_guid, type: row.process_type },
    space: { guid: row.space_guid, name: row.space_name },
    organization: { guid: row.organization_guid },
    buildpack: { guid: row.buildpack_guid, name: row.buildpack_name },
    task: { guid: row.task_guid, name: row.task_name },
    memory_in_mb_per_instance: {
      current: row.memory_in_mb_per_instance,
      previous: row.previous_memory_in_mb_per_instance,
    },
    instance_count: { current: row.instance_count, previous: row.previous_instance_count },
    links: { self: links.to(`/v3/app_usage_events/${row.guid}`) },
  };
}
