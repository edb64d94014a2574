import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { badQuery, type ListQuery, parseList, parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import { presentApp } from '../apps/presenter.ts';
import { appsWithin } from '../apps/store.ts';
import type { Deps } from '../deps.ts';
import { findDomain } from '../domains/store.ts';
import { recordAuditEvent } from '../events.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { appsOfRoute } from '../routes/destinations-store.ts';
import { seeRoute } from '../routes/endpoints.ts';
import { presentRoute } from '../routes/presenter.ts';
import { findRoute, routesByGuid } from '../routes/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { spacesByGuid } from '../spaces/store.ts';
import type { Trx } from '../tables.ts';
import { presentRoutePolicy } from './presenter.ts';
import { CreateRoutePolicy, ROUTE_POLICY_LIST, SOURCE, UpdateRoutePolicy } from './schema.ts';
import {
  deleteRoutePolicy,
  findRoutePolicy,
  insertRoutePolicy,
  listRoutePolicies,
  type RoutePolicy,
  sourceOf,
  updateRoutePolicy,
} from './store.ts';

type ByGuid = { Params: { guid: string } };

export function registerRoutePolicyEndpoints(server: FastifyInstance, { db, links, effects }: Deps): void {
  const see = async (caller: Caller, guid: string): Promise<RoutePolicy> =>
    caller.see('route.read', await findRoutePolicy(db, guid), 'Route policy');

  /** What the caller may not see, and what is no more, is left out. */
  const include = async (query: ListQuery, rows: readonly RoutePolicy[], caller: Caller) => {
    if (query.include.size === 0) return undefined;
    const included: Record<string, unknown[]> = {};
    if (query.include.has('source')) {
      const of = (type: RoutePolicy['source_type']): string[] =>
        rows.filter((row) => row.source_type === type).map((row) => row.source_guid);
      const [apps, spaces, organizations] = await Promise.all([
        appsWithin(db, of('app'), caller.scope('app.read')),
        spacesByGuid(db, of('space')),
        organizationsByGuid(db, of('org')),
      ]);
      included['apps'] = apps.map((row) => presentApp(row, links));
      included['spaces'] = spaces
        .filter(({ guid, organization_guid }) => caller.may('space.read', { space_guid: guid, organization_guid }))
        .map((row) => presentSpace(row, links));
      included['organizations'] = organizations
        .filter(({ guid }) => caller.may('organization.read', { organization_guid: guid }))
        .map((row) => presentOrganization(row, links));
    }
    if (query.include.has('route')) {
      const routes = await routesByGuid(
        db,
        rows.map((row) => row.route_guid),
      );
      included['routes'] = routes.map((row) => presentRoute(row, links));
    }
    return included;
  };

  const record = async (trx: Trx, what: string, policy: RoutePolicy, caller: Caller): Promise<void> => {
    const { guid, route_guid, space_guid, organization_guid } = policy;
    const source = sourceOf(policy);
    await recordAuditEvent(trx, {
      type: `audit.route_policy.${what}`,
      actor: caller.actor,
      target: { guid, type: 'route_policy', name: source },
      data: { request: { source, route_guid } },
      space_guid,
      organization_guid,
    });
  };

  server.get('/v3/route_policies', { config: { list: ROUTE_POLICY_LIST } }, async (request) => {
    const { caller } = request;
    const query = parseList(request, ROUTE_POLICY_LIST);
    const bad = query.filters['sources']?.filter((source) => !SOURCE.test(source)) ?? [];
    if (bad.length > 0) throw badQuery(`Sources contains invalid source format: ${bad.join(', ')}`);
    const page = await listRoutePolicies(db, query, caller.scope('route.read'));
    const included = await include(query, page.rows, caller);
    return presentPage(page, { query, links, present: (row) => presentRoutePolicy(row, links), included });
  });

  server.get<ByGuid>('/v3/route_policies/:guid', async (request) => {
    const query = parseShow(request, { include: ROUTE_POLICY_LIST.include ?? [] });
    const found = await see(request.caller, request.params.guid);
    const included = await include(query, [found], request.caller);
    return { ...presentRoutePolicy(found, links), ...(included && { included }) };
  });

  server.post('/v3/route_policies', { config: { body: CreateRoutePolicy } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateRoutePolicy, body);
    const route = seeRoute(caller, await findRoute(db, wanted.relationships.route.data.guid));
    caller.require('route_policy.write', route);
    const domain = await findDomain(db, route.domain_guid);
    if (!domain) throw notFound('Route');
    if (domain.internal) {
      throw unprocessable(
        'Cannot create route policies for routes on internal domains. Internal routes use container-to-container networking and bypass GoRouter.',
      );
    }
    if (!domain.enforce_route_policies) {
      throw unprocessable(
        `Cannot create route policies for route '${route.guid}': the route's domain does not have enforce_route_policies enabled.`,
      );
    }
    if (domain.route_policies_scope === 'space' && wanted.source.startsWith('cf:org:')) {
      throw unprocessable(`Source '${wanted.source}' is not allowed: domain's route_policies_scope is 'space'.`);
    }
    const created = await inTransaction(db, async (trx) => {
      const made = await findRoutePolicy(trx, await insertRoutePolicy(trx, route.guid, wanted));
      if (!made) throw notFound('Route policy');
      await record(trx, 'create', made, caller);
      return made;
    });
    await effects.routesChanged(await appsOfRoute(db, route.guid));
    return reply.code(201).send(presentRoutePolicy(created, links));
  });

  server.patch<ByGuid>(
    '/v3/route_policies/:guid',
    { config: { body: UpdateRoutePolicy } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      caller.require('route_policy.write', found);
      const { metadata } = parseBody(UpdateRoutePolicy, body);
      await inTransaction(db, async (trx) => {
        await updateRoutePolicy(trx, found, metadata);
        await record(trx, 'update', found, caller);
      });
      return presentRoutePolicy(await see(caller, params.guid), links);
    },
  );

  server.delete<ByGuid>('/v3/route_policies/:guid', async ({ params, caller }, reply) => {
    const found = await see(caller, params.guid);
    caller.require('route_policy.write', found);
    await inTransaction(db, async (trx) => {
      await deleteRoutePolicy(trx, found.guid);
      await record(trx, 'delete', found, caller);
    });
    await effects.routesChanged(await appsOfRoute(db, found.route_guid));
    return reply.code(204).send();
  });
}
