import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, parseList, parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { countUsage, findOrganization, isEntitled, organizationsByGuid } from '../organizations/store.ts';
import { presentUserPage } from '../users/presenter.ts';
import { listUsers, USER_LIST } from '../users/store.ts';
import { registerSpaceDelete } from './delete.ts';
import { removeUnmappedRoutes } from './delete-store.ts';
import { presentSpace } from './presenter.ts';
import { CreateSpace, SetIsolationSegment, SPACE_LIST, UpdateFeature, UpdateSpace } from './schema.ts';
import { type FoundSpace, findSpace, insertSpace, listSpaces, updateSpace } from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerSpaceEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, effects, jobs, operations } = deps;
  const delete_space = registerSpaceDelete(deps);
  const see = async (caller: Caller, guid: string): Promise<FoundSpace> =>
    caller.see('space.read', await findSpace(db, guid), 'Space');
  const include = async (query: ListQuery, rows: FoundSpace[]): Promise<Record<string, unknown[]> | undefined> => {
    if (query.include.size === 0) return undefined;
    const organizations = await organizationsByGuid(
      db,
      rows.map((row) => row.organization_guid),
    );
    return { organizations: organizations.map((row) => presentOrganization(row, links)) };
  };

  server.get('/v3/spaces', { config: { list: SPACE_LIST } }, async (request) => {
    const query = parseList(request, SPACE_LIST);
    const page = await listSpaces(db, query, request.caller.scope('space.read'));
    const included = await include(query, page.rows);
    return presentPage(page, { query, links, present: (row) => presentSpace(row, links), included });
  });

  server.get<ByGuid>('/v3/spaces/:guid', async (request) => {
    const query = parseShow(request, { include: ['org', 'organization'] });
    const found = await see(request.caller, request.params.guid);
    const included = await include(query, [found]);
    return { ...presentSpace(found, links), ...(included && { included }) };
  });

  server.post('/v3/spaces', { config: { body: CreateSpace } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateSpace, body);
    const organization = await findOrganization(db, wanted.relationships.organization.data.guid);
    if (!organization || !caller.may('organization.read', organization)) {
      throw unprocessable('Invalid organization. Ensure the organization exists and you have access to it.');
    }
    caller.require('space.create', organization);
    const created = await inTransaction(db, async (trx) => {
      const space = await insertSpace(trx, wanted);
      await recordAuditEvent(trx, { type: 'audit.space.create', ...about(space, caller), data: { request: wanted } });
      return space;
    });
    return reply.code(201).send(presentSpace(created, links));
  });

  server.patch<ByGuid>('/v3/spaces/:guid', { config: { body: UpdateSpace } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('space.update', found);
    const wanted = parseBody(UpdateSpace, body);
    const updated = await inTransaction(db, async (trx) => {
      const space = await updateSpace(trx, found, wanted);
      await recordAuditEvent(trx, { type: 'audit.space.update', ...about(space, caller), data: { request: wanted } });
      return space;
    });
    return presentSpace(updated, links);
  });

  server.delete<ByGuid>('/v3/spaces/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('space.delete', found);
    return await delete_space(found, caller, reply);
  });

  const Unmapped = z.object({ space_guid: z.string() });
  operations.register(
    'space.delete_unmapped_routes',
    (given) => Unmapped.parse(given),
    async ({ space_guid }, context) =>
      await inTransaction(db, async (trx) => {
        await removeUnmappedRoutes(trx, space_guid);
        await context.complete(trx);
      }),
  );
  server.delete<ByGuid>('/v3/spaces/:guid/routes', async (request, reply) => {
    const { caller, params } = request;
    const query = parseList(request, { plain: ['unmapped'], timestamps: false });
    if (query.plain['unmapped'] !== 'true') {
      throw unprocessable(
        "Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes.",
      );
    }
    const found = await see(caller, params.guid);
    caller.require('route.write', found);
    const job_guid = await jobs.enqueue(db, {
      operation: 'space.delete_unmapped_routes',
      resource: { type: 'spaces', guid: found.guid },
      payload: { space_guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });

  server.get<ByGuid>('/v3/spaces/:guid/users', { config: { list: USER_LIST } }, async (request) => {
    const found = await see(request.caller, request.params.guid);
    const query = parseList(request, USER_LIST);
    const page = await listUsers(db, query, { space_guid: found.guid });
    return await presentUserPage(page, query, deps);
  });

  server.get<ByGuid>('/v3/spaces/:guid/usage_summary', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    const usage = await countUsage(db, { space_guids: [found.guid] });
    const path = `/v3/spaces/${found.guid}`;
    return {
      usage_summary: { ...(await effects.usageOf([found.guid])), ...usage },
      links: { self: links.to(`${path}/usage_summary`), space: links.to(path) },
    };
  });

  const presentFeature = (space: FoundSpace): Record<string, unknown> => ({
    name: 'ssh',
    description: 'Enable SSHing into apps in the space.',
    enabled: space.allow_ssh,
  });
  server.get<ByGuid>('/v3/spaces/:guid/features', async ({ params, caller }) => ({
    resources: [presentFeature(await see(caller, params.guid))],
  }));
  type ByName = { Params: { guid: string; name: string } };
  server.get<ByName>('/v3/spaces/:guid/features/:name', async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    if (params.name !== 'ssh') throw notFound('Feature');
    return presentFeature(found);
  });
  server.patch<ByName>(
    '/v3/spaces/:guid/features/:name',
    { config: { body: UpdateFeature } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('space.update', found);
      if (params.name !== 'ssh') throw notFound('Feature');
      const { enabled } = parseBody(UpdateFeature, body);
      await updateSpace(db, found, { allow_ssh: enabled });
      return presentFeature({ ...found, allow_ssh: enabled });
    },
  );

  const presentSegment = (guid: string, segment_guid: string | null): Record<string, unknown> => ({
    data: segment_guid === null ? null : { guid: segment_guid },
    links: {
      self: links.to(`/v3/spaces/${guid}/relationships/isolation_segment`),
      ...(segment_guid !== null && { related: links.to(`/v3/isolation_segments/${segment_guid}`) }),
    },
  });
  const segment_path = '/v3/spaces/:guid/relationships/isolation_segment';
  server.get<ByGuid>(segment_path, async ({ params, caller }) => {
    const found = await see(caller, params.guid);
    return presentSegment(found.guid, found.isolation_segment_guid);
  });
  server.patch<ByGuid>(segment_path, { config: { body: SetIsolationSegment } }, async ({ params, body, caller }) => {
    const found = await see(caller, params.guid);
    caller.require('space.isolate', found);
    const segment_guid = parseBody(SetIsolationSegment, body).data?.guid ?? null;
    if (segment_guid !== null && !(await isEntitled(db, found.organization_guid, segment_guid))) {
      throw unprocessable(
        `Unable to assign isolation segment with guid '${segment_guid}'. Ensure it has been entitled to the organization that this space belongs to.`,
      );
    }
    await updateSpace(db, found, { isolation_segment_guid: segment_guid });
    return presentSegment(found.guid, segment_guid);
  });
}

function about(space: { guid: string; name: string; organization_guid: string }, caller: Caller) {
  return {
    actor: caller.actor,
    target: { guid: space.guid, type: 'space', name: space.name },
    space_guid: space.guid,
    organization_guid: space.organization_guid,
  };
}
