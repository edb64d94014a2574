import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentTime } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { type FeatureFlag, findFeatureFlag, isFeatureFlag, listFeatureFlags, setFeatureFlag } from './store.ts';

const UpdateFeatureFlag = z.strictObject({
  enabled: z.boolean().optional(),
  custom_error_message: z.string().max(250).nullable().optional(),
});
type ByName = { Params: { name: string } };

const FEATURE_FLAG_LIST: ListSpec = { order: ['name'] };

export function registerFeatureFlagEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  server.get('/v3/feature_flags', { config: { list: FEATURE_FLAG_LIST } }, async (request) => {
    const query = parseList(request, FEATURE_FLAG_LIST);
    const flags = (await listFeatureFlags(db)).sort((one, other) => one.name.localeCompare(other.name));
    if (query.order_by?.direction === 'desc') flags.reverse();
    const first = (query.page - 1) * query.per_page;
    const page = { rows: flags.slice(first, first + query.per_page), total: flags.length };
    return presentPage(page, { query, links, present: (flag) => presentFeatureFlag(flag, links) });
  });

  server.get<ByName>('/v3/feature_flags/:name', async ({ params }) => {
    if (!isFeatureFlag(params.name)) throw notFound('Feature flag');
    return presentFeatureFlag(await findFeatureFlag(db, params.name), links);
  });

  server.patch<ByName>(
    '/v3/feature_flags/:name',
    { config: { body: UpdateFeatureFlag } },
    async ({ params, body, caller }) => {
      if (!isFeatureFlag(params.name)) throw notFound('Feature flag');
      const { name } = params;
      caller.require('platform.write');
      const wanted = parseBody(UpdateFeatureFlag, body);
      await setFeatureFlag(db, { name, ...wanted });
      await recordAuditEvent(db, {
        type: 'audit.feature_flag.update',
        actor: caller.actor,
        target: { guid: name, type: 'feature_flag', name },
        data: { request: wanted },
      });
      return presentFeatureFlag(await findFeatureFlag(db, name), links);
    },
  );
}

function presentFeatureFlag(flag: FeatureFlag, links: Links): Record<string, unknown> {
  return {
    name: flag.name,
    enabled: flag.enabled,
    updated_at: flag.updated_at === null ? null : presentTime(flag.updated_at),
    custom_error_message: flag.custom_error_message,
    links: { self: links.to(`/v3/feature_flags/${flag.name}`) },
  };
}
