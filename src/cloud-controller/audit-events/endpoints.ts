import type { FastifyInstance } from 'fastify';
import { type Links, presentCommon } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList, splitValues } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import { type AuditEventRow, findAuditEvent, listAuditEvents } from './store.ts';
import { notFound } from '#contracts/cf-errors.ts';

const AUDIT_EVENT_LIST: ListSpec = {
  filters: ['types', 'target_guids', 'space_guids', 'organization_guids'],
  plain: ['target_guids[not]'],
};

export function registerAuditEventEndpoints(server: FastifyInstance, { db, links }: Deps): void {
  server.get('/v3/audit_events', { config: { list: AUDIT_EVENT_LIST } }, async (request) => {
    const { caller } = request;
    const query = parseList(request, AUDIT_EVENT_LIST);
    const excluded = query.plain['target_guids[not]'];
    const page = await listAuditEvents(db, query, {
      spaces: caller.scope('space.events'),
      organizations: caller.scope('organization.events'),
      ...(excluded !== undefined && { not_target_guids: splitValues(excluded) }),
    });
    return presentPage(page, { query, links, present: (row) => presentAuditEvent(row, links) });
  });

  server.get<{ Params: { guid: string } }>('/v3/audit_events/:guid', async ({ params, caller }) => {
    const found = await findAuditEvent(db, params.guid);
    // What is the platform's alone has no place, and is seen by those who see everything.
    const maySee = found && caller.may(found.space_guid === null ? 'organization.events' : 'space.events', found);
    if (!found || !maySee) throw notFound('Event');
    return presentAuditEvent(found, links);
  });
}

export function presentAuditEvent(row: AuditEventRow, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    type: row.type,
    actor: { guid: row.actor_guid, type: row.actor_type, name: row.actor_name },
    target: { guid: row.target_guid, type: row.target_type, name: row.target_name },
    data: row.data,
    space: row.space_guid === null ? null : { guid: row.space_guid },
    organization: row.organization_guid === null ? null : { guid: row.organization_guid },
    links: { self: links.to(`/v3/audit_events/${row.guid}`) },
  };
}
