import type { FastifyInstance } from 'fastify';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { parseList } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { faultOfProtocol, mergeDestinations } from './destinations.ts';
import {
  appsByGuid,
  deleteDestination,
  type DestinationApp,
  insertDestinations,
  keepDestinations,
  setDestinationProtocol,
} from './destinations-store.ts';
import { seeRoute } from './endpoints.ts';
import { presentDestination, presentDestinations } from './presenter.ts';
import { InsertDestinations, type NewDestination, ReplaceDestinations, UpdateDestination } from './schema.ts';
import { findRoute, type Route } from './store.ts';

type ByGuid = { Params: { guid: string } };
type ByDestination = { Params: { guid: string; destination_guid: string } };

/** Which apps a route leads to. */
export function registerDestinationEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, effects } = deps;
  const path = '/v3/routes/:guid/destinations';
  const see = async (caller: Caller, guid: string): Promise<Route> => seeRoute(caller, await findRoute(db, guid));
  const toWrite = async (caller: Caller, guid: string): Promise<Route> => {
    const route = await see(caller, guid);
    const isShared = route.shared_space_guids.some((space_guid) => caller.may('route.write', { space_guid }));
    if (!isShared) caller.require('route.write', route);
    return route;
  };

  server.get<ByGuid>(path, async (request) => {
    const query = parseList(request, { filters: ['guids', 'app_guids'], timestamps: false });
    const route = await see(request.caller, request.params.guid);
    const { guids, app_guids } = query.filters;
    const destinations = route.destinations.filter(
      (one) => (guids?.includes(one.guid) ?? true) && (app_guids?.includes(one.app_guid) ?? true),
    );
    return presentDestinations({ ...route, destinations }, links);
  });

  server.post<ByGuid>(path, { config: { body: InsertDestinations } }, async ({ params, body, caller }) => {
    const { destinations } = parseBody(InsertDestinations, body);
    const route = await toWrite(caller, params.guid);
    return await change(caller, route, { add: destinations, replace: false });
  });
  server.patch<ByGuid>(path, { config: { body: ReplaceDestinations } }, async ({ params, body, caller }) => {
    const { destinations } = parseBody(ReplaceDestinations, body);
    const route = await toWrite(caller, params.guid);
    return await change(caller, route, { add: destinations, replace: true });
  });

  const change = async (
    caller: Caller,
    route: Route,
    wanted: { add: NewDestination[]; replace: boolean },
  ): Promise<Record<string, unknown>> => {
    const apps = await destinationApps(deps, { caller, route, wanted: wanted.add });
    const { added, kept_guids, removed } = mergeDestinations(route, wanted);
    await inTransaction(db, async (trx) => {
      if (wanted.replace) await keepDestinations(trx, route.guid, kept_guids);
      await insertDestinations(trx, route.guid, added);
      for (const { app_guid, process_type } of added) {
        const app = apps.get(app_guid);
        if (app) await recordMapping(trx, { kind: 'map', caller, route, app, process_type });
      }
      for (const { app_guid, process_type } of removed) {
        const app = (await appsByGuid(trx, [app_guid]))[0];
        if (app) await recordMapping(trx, { kind: 'unmap', caller, route, app, process_type });
      }
    });
    await effects.routesChanged([...new Set([...added, ...removed].map(({ app_guid }) => app_guid))]);
    return presentDestinations(await see(caller, route.guid), links);
  };

  server.patch<ByDestination>(
    `${path}/:destination_guid`,
    { config: { body: UpdateDestination } },
    async ({ params, body, caller }) => {
      const route = await toWrite(caller, params.guid);
      const { protocol } = parseBody(UpdateDestination, body);
      const destination = route.destinations.find(({ guid }) => guid === params.destination_guid);
      if (!destination) throw notFound('Destination');
      const fault = faultOfProtocol(route, protocol);
      if (fault !== undefined) throw unprocessable(fault);
      await setDestinationProtocol(db, destination.guid, protocol);
      await effects.routesChanged([destination.app_guid]);
      return presentDestination({ ...destination, protocol }, route);
    },
  );

  server.delete<ByDestination>(`${path}/:destination_guid`, async ({ params, caller }, reply) => {
    const route = await toWrite(caller, params.guid);
    const destination = route.destinations.find(({ guid }) => guid === params.destination_guid);
    if (!destination) {
      throw unprocessable('Unable to unmap route from destination. Ensure the route has a destination with this guid.');
    }
    await inTransaction(db, async (trx) => {
      await deleteDestination(trx, destination.guid);
      const [app] = await appsByGuid(trx, [destination.app_guid]);
      const { process_type } = destination;
      if (app) await recordMapping(trx, { kind: 'unmap', caller, route, app, process_type });
    });
    await effects.routesChanged([destination.app_guid]);
    return reply.code(204).send();
  });
}

/** Errors: 422 for apps that are not there or hidden, and for those of other spaces than the route's. */
async function destinationApps(
  { db }: Deps,
  asked: { caller: Caller; route: Route; wanted: readonly NewDestination[] },
): Promise<Map<string, DestinationApp>> {
  const { caller, route } = asked;
  const guids = [...new Set(asked.wanted.map(({ app }) => app.guid))];
  const apps = new Map((await appsByGuid(db, guids)).map((app) => [app.guid, app]));
  const list = (missing: string[]): string => missing.map((guid) => `"${guid}"`).join(', ');
  const absent = guids.filter((guid) => !apps.has(guid));
  if (absent.length > 0) throw unprocessable(`App(s) with guid(s) ${list(absent)} do not exist.`);
  const hidden = [...apps.values()].filter((app) => !caller.may('route.write', app)).map((app) => app.guid);
  if (hidden.length > 0) throw unprocessable(`App(s) with guid(s) ${list(hidden)} you do not have access.`);
  const spaces = new Set([route.space_guid, ...route.shared_space_guids]);
  if ([...apps.values()].some((app) => !spaces.has(app.space_guid))) {
    throw unprocessable("Routes destinations must be in either the route's space or the route's shared spaces");
  }
  return apps;
}

async function recordMapping(
  trx: Parameters<typeof recordAuditEvent>[0],
  mapping: { kind: 'map' | 'unmap'; caller: Caller; route: Route; app: DestinationApp; process_type: string },
): Promise<void> {
  const { kind, caller, route, app, process_type } = mapping;
  await recordAuditEvent(trx, {
    type: `audit.app.${kind}-route`,
    actor: caller.actor,
    target: { guid: app.guid, type: 'app', name: app.name },
    data: { route_guid: route.guid, process_type },
    space_guid: app.space_guid,
    organization_guid: app.organization_guid,
  });
}
