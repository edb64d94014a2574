import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { Domain } from '../domains/store.ts';
import { recordAuditEvent } from '../events.ts';
import { requireFeature } from '../feature-flags/store.ts';
import type { FoundSpace } from '../spaces/store.ts';
import type { Db } from '../tables.ts';
import { type Counted, faultOfAddress, requirePort, requireRoom, type RouteAddress } from './check.ts';
import { choosePort, groupOf } from './router-groups.ts';
import type { RouteOptionsUpdate } from './schema.ts';
import type { MetadataUpdate } from '../api/metadata.ts';
import { countRoutes, findDomainNamed, insertRoute, isReserved, takenPorts } from './store.ts';

export interface RouteWanted extends RouteAddress {
  domain: Domain;
  space: FoundSpace;
  options?: RouteOptionsUpdate | undefined;
  metadata?: MetadataUpdate | undefined;
}

/**
 * Makes a route in the caller's name, with its audit event; permissions on the space are checked before. Returns its guid.
 * Errors: 422 with the reason in the API's words; 403 when the feature is off.
 */
export async function createRoute(deps: Deps, caller: Caller, wanted: RouteWanted): Promise<string> {
  await requireFeature(deps.db, 'route_creation', caller);
  return await inTransaction(deps.db, async (trx) => await createRouteIn(trx, deps, caller, wanted));
}

/** As createRoute, within a transaction of the caller's. */
export async function createRouteIn(
  db: Db,
  deps: Pick<Deps, 'config'>,
  caller: Caller,
  wanted: RouteWanted,
): Promise<string> {
  const { domain, space } = wanted;
  const isAvailable =
    domain.organization_guid === null ||
    domain.organization_guid === space.organization_guid ||
    domain.shared_organization_guids.includes(space.organization_guid);
  const counted = await countRoutes(db, space.guid);
  if (!isAvailable) {
    throw unprocessable(
      `Invalid domain. Domain '${domain.name}' is not available in organization '${counted.organization.name}'.`,
    );
  }
  const fault = faultOfAddress(wanted, { domain, system_domain: deps.config.system_domain });
  if (fault !== undefined) throw unprocessable(fault);
  const { host } = wanted;
  if (host !== '' && host !== '*' && wanted.path === '') {
    const taken = await findDomainNamed(db, `${host}.${domain.name}`);
    if (taken !== undefined) throw unprocessable(`Route conflicts with domain '${taken}'.`);
  }
  requireRoom(counted);
  const port = await portFor(db, deps, { ...wanted, counted });
  const guid = await insertRoute(db, { ...wanted, port, space_guid: space.guid });
  await recordAuditEvent(db, {
    type: 'audit.route.create',
    actor: caller.actor,
    target: { guid, type: 'route', name: host },
    data: { request: { host, path: wanted.path, port, domain_guid: domain.guid, space_guid: space.guid } },
    space_guid: space.guid,
    organization_guid: space.organization_guid,
  });
  return guid;
}

/** The port of a route on a domain of TCP routes; null for any other. */
async function portFor(
  trx: Db,
  { config }: Pick<Deps, 'config'>,
  { domain, port, counted }: { domain: Domain; port: number | null; counted: Counted },
): Promise<number | null> {
  if (domain.router_group_guid === null) return port;
  const group = groupOf(config, domain.router_group_guid);
  if (!group) throw unprocessable(`The router group of domain '${domain.name}' is not there any more.`);
  requirePort(counted);
  const taken = await takenPorts(trx, group.guid);
  // Whose port it is already is told in the words that the cf CLI looks for.
  if (port !== null && taken.has(port) && (await isReserved(trx, domain.guid, { host: '', path: '', port })))
    return port;
  return choosePort(group, { wanted: port, taken, random: Math.random });
}
