import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListQuery, parseList, parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { maySeeDomain } from '../domains/endpoints.ts';
import { presentDomain } from '../domains/presenter.ts';
import { domainsByGuid, findDomain } from '../domains/store.ts';
import { ActorSchema, recordAuditEvent } from '../events.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { findSpace, spacesByGuid } from '../spaces/store.ts';
import { createRoute } from './create.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { releaseRoute } from '../service-instances/empty-space.ts';
import { carryOn } from '../service-operations/run.ts';
import { presentRoutePolicy } from '../route-policies/presenter.ts';
import { policiesOfRoutes } from '../route-policies/store.ts';
import { presentRoute } from './presenter.ts';
import { CreateRoute, ROUTE_LIST, UpdateRoute } from './schema.ts';
import { findRoute, listRoutes, removeRoute, type Route, updateRoute } from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerRouteEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, operations, jobs, effects } = deps;

  const include = async (
    query: ListQuery,
    rows: Route[],
    caller: Caller,
  ): Promise<Record<string, unknown[]> | undefined> => {
    if (query.include.size === 0) return undefined;
    const included: Record<string, unknown[]> = {};
    if (query.include.has('domain')) {
      const domains = await domainsByGuid(
        db,
        rows.map((row) => row.domain_guid),
      );
      const readable = (organization_guid: string): boolean => caller.may('organization.read', { organization_guid });
      included['domains'] = domains.map((row) => presentDomain(row, links, readable));
    }
    if (query.include.has('space') || query.include.has('space.organization')) {
      const spaces = await spacesByGuid(
        db,
        rows.map((row) => row.space_guid),
      );
      included['spaces'] = spaces.map((row) => presentSpace(row, links));
    }
    if (query.include.has('space.organization')) {
      const organizations = await organizationsByGuid(
        db,
        rows.map((row) => row.organization_guid),
      );
      included['organizations'] = organizations.map((row) => presentOrganization(row, links));
    }
    if (query.include.has('route_policies')) {
      const policies = await policiesOfRoutes(
        db,
        rows.map((row) => row.guid),
      );
      included['route_policies'] = policies.map((row) => presentRoutePolicy(row, links));
    }
    return included;
  };

  server.get('/v3/routes', { config: { list: ROUTE_LIST } }, async (request) => {
    const query = parseList(request, ROUTE_LIST);
    const page = await listRoutes(db, query, { scope: request.caller.scope('route.read') });
    const included = await include(query, page.rows, request.caller);
    return presentPage(page, { query, links, present: (row) => presentRoute(row, links), included });
  });

  server.get<ByGuid>('/v3/routes/:guid', async (request) => {
    const query = parseShow(request, { include: ROUTE_LIST.include ?? [] });
    const found = seeRoute(request.caller, await findRoute(db, request.params.guid));
    const included = await include(query, [found], request.caller);
    return { ...presentRoute(found, links), ...(included && { included }) };
  });

  server.post('/v3/routes', { config: { body: CreateRoute } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateRoute, body);
    const space = await findSpace(db, wanted.relationships.space.data.guid);
    if (!space || !caller.may('space.read', space)) {
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
    }
    const domain = await findDomain(db, wanted.relationships.domain.data.guid);
    if (!domain || !maySeeDomain(caller, domain)) {
      throw unprocessable('Invalid domain. Ensure that the domain exists and you have access to it.');
    }
    caller.require('route.write', space);
    if (wanted.options?.loadbalancing === 'hash') await requireFeature(db, 'hash_based_routing', caller);
    const { options, metadata } = wanted;
    const address = { host: wanted.host ?? '', path: wanted.path ?? '', port: wanted.port ?? null };
    const guid = await createRoute(deps, caller, { ...address, domain, space, options, metadata });
    return reply.code(201).send(presentRoute(seeRoute(caller, await findRoute(db, guid)), links));
  });

  server.patch<ByGuid>('/v3/routes/:guid', { config: { body: UpdateRoute } }, async ({ params, body, caller }) => {
    const found = seeRoute(caller, await findRoute(db, params.guid));
    caller.require('route.write', found);
    const wanted = parseBody(UpdateRoute, body);
    if (wanted.options?.loadbalancing === 'hash') await requireFeature(db, 'hash_based_routing', caller);
    await inTransaction(db, async (trx) => {
      await updateRoute(trx, found, wanted);
      await recordAuditEvent(trx, {
        type: 'audit.route.update',
        actor: caller.actor,
        target: { guid: found.guid, type: 'route', name: found.host },
        data: { request: wanted },
        space_guid: found.space_guid,
        organization_guid: found.organization_guid,
      });
    });
    if (wanted.options) await effects.routesChanged(found.destinations.map(({ app_guid }) => app_guid));
    return presentRoute(seeRoute(caller, await findRoute(db, found.guid)), links);
  });

  const Payload = z.object({
    guid: z.string(),
    actor: ActorSchema,
    /** The job that unbinds it from its service. */
    asked: z.record(z.string(), z.string()).default({}),
  });
  operations.register(
    'route.delete',
    (given) => Payload.parse(given),
    async (payload, context): Promise<JobOutcome> => {
      const { guid, actor, asked } = payload;
      const found = await findRoute(db, guid);
      if (!found) return undefined;
      const waiting = await releaseRoute(deps, { route_guid: guid, asked }, { actor, user_guid: context.user_guid });
      if (waiting) return carryOn(payload, waiting);
      const app_guids = await inTransaction(db, async (trx) => {
        const affected = await removeRoute(trx, guid);
        await recordAuditEvent(trx, {
          type: 'audit.route.delete-request',
          actor,
          target: { guid, type: 'route', name: found.host },
          data: { request: { recursive: true } },
          space_guid: found.space_guid,
          organization_guid: found.organization_guid,
        });
        await context.complete(trx);
        return affected;
      });
      await effects.routesChanged(app_guids);
      return undefined;
    },
  );
  server.delete<ByGuid>('/v3/routes/:guid', async ({ params, caller }, reply) => {
    const found = seeRoute(caller, await findRoute(db, params.guid));
    caller.require('route.write', found);
    const job_guid = await jobs.enqueue(db, {
      operation: 'route.delete',
      resource: { type: 'routes', guid: found.guid },
      payload: { guid: found.guid, actor: caller.actor },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });
}

/** A route is seen by those of its own space and of the spaces that it is shared with. */
export function seeRoute(caller: Caller, found: Route | undefined): Route {
  const isShared = found?.shared_space_guids.some((space_guid) => caller.may('route.read', { space_guid })) ?? false;
  return found && isShared ? found : caller.see('route.read', found, 'Route');
}
