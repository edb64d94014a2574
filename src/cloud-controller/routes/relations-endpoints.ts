import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { maySeeDomain } from '../domains/endpoints.ts';
import { findDomain } from '../domains/store.ts';
import { recordAuditEvent } from '../events.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { findSpace, spacesByGuid } from '../spaces/store.ts';
import { appsByGuid } from './destinations-store.ts';
import { seeRoute } from './endpoints.ts';
import { presentRoute, routeUrl } from './presenter.ts';
import { MoveRoute, ROUTE_LIST, ShareRoute } from './schema.ts';
import { findRoute, listRoutes, moveRoute, type Route, shareRoute, unshareRoute } from './store.ts';

type ByGuid = { Params: { guid: string } };

/** Whose routes: those of one app, those shared with other spaces, and those that move. */
export function registerRouteRelationEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, effects } = deps;

  server.get<ByGuid>('/v3/apps/:guid/routes', { config: { list: ROUTE_LIST } }, async (request) => {
    const { caller, params } = request;
    const query = parseList(request, ROUTE_LIST);
    const [app] = await appsByGuid(db, [params.guid]);
    if (!app || !caller.may('app.read', app)) throw notFound('App');
    const page = await listRoutes(db, query, { scope: { everywhere: true }, app_guid: app.guid });
    return presentPage(page, { query, links, present: (row) => presentRoute(row, links) });
  });

  const shares_path = '/v3/routes/:guid/relationships/shared_spaces';
  const presentShares = (guid: string, space_guids: readonly string[]): Record<string, unknown> => ({
    data: space_guids.map((space_guid) => ({ guid: space_guid })),
    links: { self: links.to(`/v3/routes/${guid}/relationships/shared_spaces`) },
  });

  server.get<ByGuid>(shares_path, async ({ params, caller }) => {
    await requireFeature(db, 'route_sharing', caller);
    const route = seeRoute(caller, await findRoute(db, params.guid));
    return presentShares(route.guid, route.shared_space_guids);
  });

  server.post<ByGuid>(shares_path, { config: { body: ShareRoute } }, async ({ params, body, caller }) => {
    await requireFeature(db, 'route_sharing', caller);
    const route = seeRoute(caller, await findRoute(db, params.guid));
    caller.require('route.share', route);
    const space_guids = parseBody(ShareRoute, body).data.map(({ guid }) => guid);
    for (const space_guid of space_guids) {
      const fault = await faultOfTarget(caller, space_guid);
      if (fault !== undefined) {
        throw unprocessable(`Unable to share route '${routeUrl(route)}' with spaces ['${space_guid}']. ${fault}`);
      }
      if (space_guid === route.space_guid) {
        throw unprocessable(
          `Unable to share route '${routeUrl(route)}' with space '${space_guid}'. Routes cannot be shared into the space where they were created.`,
        );
      }
    }
    await inTransaction(db, async (trx) => {
      await shareRoute(trx, route.guid, space_guids);
      await record(trx, { type: 'audit.route.share', route, caller, data: { target_space_guids: space_guids } });
    });
    return presentShares(route.guid, [...new Set([...route.shared_space_guids, ...space_guids])]);
  });

  type Shared = { Params: { guid: string; space_guid: string } };
  server.delete<Shared>(`${shares_path}/:space_guid`, async ({ params, caller }, reply) => {
    await requireFeature(db, 'route_sharing', caller);
    const route = seeRoute(caller, await findRoute(db, params.guid));
    caller.require('route.share', route);
    const { space_guid } = params;
    const fault =
      space_guid === route.space_guid
        ? 'Routes cannot be removed from the space that owns them.'
        : await faultOfTarget(caller, space_guid);
    if (fault !== undefined) {
      throw unprocessable(`Unable to unshare route '${routeUrl(route)}' from space '${space_guid}'. ${fault}`);
    }
    if (!route.shared_space_guids.includes(space_guid)) {
      throw unprocessable(
        `Unable to unshare route '${routeUrl(route)}' from space '${space_guid}'. Ensure the space exists and the route is shared with it.`,
      );
    }
    const app_guids = await inTransaction(db, async (trx) => {
      await record(trx, { type: 'audit.route.unshare', route, caller, data: { target_space_guid: space_guid } });
      return await unshareRoute(trx, route.guid, space_guid);
    });
    await effects.routesChanged(app_guids);
    return reply.code(204).send();
  });

  server.patch<ByGuid>(
    '/v3/routes/:guid/relationships/space',
    { config: { body: MoveRoute } },
    async ({ params, body, caller }) => {
      await requireFeature(db, 'route_sharing', caller);
      const route = seeRoute(caller, await findRoute(db, params.guid));
      caller.require('route.move', route);
      const space_guid = parseBody(MoveRoute, body).data.guid;
      const refuse = (why: string): Error =>
        unprocessable(`Unable to transfer owner of route '${routeUrl(route)}' to space '${space_guid}'. ${why}`);
      const fault = await faultOfTarget(caller, space_guid);
      if (fault !== undefined) throw refuse(fault);
      const [space] = await spacesByGuid(db, [space_guid]);
      const domain = await findDomain(db, route.domain_guid);
      const mayUse =
        domain &&
        maySeeDomain(caller, domain) &&
        (domain.organization_guid === null ||
          [domain.organization_guid, ...domain.shared_organization_guids].includes(space?.organization_guid ?? ''));
      if (!space || !mayUse) throw refuse("Target space does not have access to route's domain");
      await inTransaction(db, async (trx) => {
        if (space.guid !== route.space_guid) await moveRoute(trx, route, space.guid);
        await record(trx, {
          type: 'audit.route.transfer-owner',
          route,
          caller,
          data: { target_space_guid: space_guid },
        });
      });
      return {
        data: { guid: space_guid },
        links: {
          self: links.to(`/v3/routes/${route.guid}/relationships/space`),
          related: presentSpaceLink(space_guid),
        },
      };
    },
  );
  const presentSpaceLink = (guid: string): { href: string } => links.to(`/v3/spaces/${guid}`);

  const faultOfTarget = async (caller: Caller, space_guid: string): Promise<string | undefined> => {
    const space = await findSpace(db, space_guid);
    if (!space || !caller.may('space.read', space)) return 'Ensure the space exists and that you have access to it.';
    if (!caller.may('route.write', space)) return "You don't have write permission for the target space.";
    if (space.organization_suspended === true && !caller.isAdmin) return 'The target organization is suspended.';
    return undefined;
  };
}

async function record(
  trx: Parameters<typeof recordAuditEvent>[0],
  event: { type: string; route: Route; caller: Caller; data: Record<string, unknown> },
): Promise<void> {
  const { type, route, caller, data } = event;
  await recordAuditEvent(trx, {
    type,
    actor: caller.actor,
    target: { guid: route.guid, type: 'route', name: route.host },
    data,
    space_guid: route.space_guid,
    organization_guid: route.organization_guid,
  });
}
