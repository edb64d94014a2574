import { randomUUID } from 'node:crypto';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { parseBody } from '../api/body.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { routesOfInstance } from '../service-route-bindings/store.ts';
import { begun } from '../service-operations/operation.ts';
import type { FoundSpace } from '../spaces/store.ts';
import type { Trx } from '../tables.ts';
import { type CreateUserProvided, UpdateUserProvided } from './schema.ts';
import {
  deleteServiceInstance,
  insertServiceInstance,
  type ServiceInstance,
  updateServiceInstance,
  userProvidedOfSpace,
} from './store.ts';

const HIDDEN = '[PRIVATE DATA HIDDEN]';

/** Makes a user-provided instance: there at once, since no broker is asked. Returns its guid. */
export async function createUserProvided(
  deps: Deps,
  caller: Caller,
  wanted: CreateUserProvided,
  space: FoundSpace,
): Promise<string> {
  const { db, vault } = deps;
  const guid = randomUUID();
  return await inTransaction(db, async (trx) => {
    await insertServiceInstance(trx, {
      guid,
      name: wanted.name,
      type: 'user-provided',
      space_guid: space.guid,
      tags: wanted.tags,
      credentials_sealed: vault.seal(wanted.credentials ?? {}, guid),
      syslog_drain_url: orNone(wanted.syslog_drain_url),
      route_service_url: orNone(wanted.route_service_url),
      metadata: wanted.metadata,
      operation: begun('create', 'succeeded'),
    });
    const place = { guid, name: wanted.name, space_guid: space.guid, organization_guid: space.organization_guid };
    await recordUserProvided(trx, place, caller, { what: 'create', request: hide(wanted) });
    return guid;
  });
}

export async function updateUserProvided(
  deps: Deps,
  caller: Caller,
  body: unknown,
  instance: ServiceInstance,
): Promise<void> {
  const { db, vault, effects } = deps;
  const wanted = parseBody(UpdateUserProvided, body);
  const { credentials, syslog_drain_url, route_service_url, ...fields } = wanted;
  const app_guids = await inTransaction(db, async (trx) => {
    const bound = await routesOfInstance(trx, instance.guid);
    const url = orNone(route_service_url);
    if (bound.route_guids.length > 0 && route_service_url !== undefined && url === null) {
      throw unprocessable('Route service url cannot be removed while the service instance is bound to routes.');
    }
    await updateServiceInstance(
      trx,
      instance,
      {
        ...fields,
        ...(credentials !== undefined && { credentials_sealed: vault.seal(credentials ?? {}, instance.guid) }),
        ...(syslog_drain_url !== undefined && { syslog_drain_url: orNone(syslog_drain_url) }),
        ...(route_service_url !== undefined && { route_service_url: url }),
      },
      begun('update', 'succeeded'),
    );
    await recordUserProvided(trx, instance, caller, { what: 'update', request: hide(wanted) });
    return route_service_url === undefined ? [] : bound.app_guids;
  });
  await effects.routesChanged(app_guids);
}

/** Removes a user-provided instance with all that is bound to it, here and in spaces that it is shared with. */
export async function deleteUserProvided(deps: Deps, caller: Caller, instance: ServiceInstance): Promise<void> {
  const { db, effects } = deps;
  const app_guids = await inTransaction(db, async (trx) => {
    const affected = await removeUserProvided(trx, instance.guid);
    await recordUserProvided(trx, instance, caller, { what: 'delete', request: {} });
    return affected;
  });
  await effects.routesChanged(app_guids);
}

/** Returns the apps whose routes lost their route service. */
export async function removeUserProvided(trx: Trx, guid: string): Promise<string[]> {
  const { app_guids } = await routesOfInstance(trx, guid);
  await trx.deleteFrom('service_route_bindings').where('service_instance_guid', '=', guid).execute();
  await trx.deleteFrom('service_credential_bindings').where('service_instance_guid', '=', guid).execute();
  await deleteServiceInstance(trx, guid);
  return app_guids;
}

/** As removeUserProvided, for all of a space. */
export async function removeUserProvidedOfSpace(trx: Trx, space_guid: string): Promise<string[]> {
  const affected: string[] = [];
  for (const guid of await userProvidedOfSpace(trx, space_guid))
    affected.push(...(await removeUserProvided(trx, guid)));
  return affected;
}

export async function recordUserProvided(
  trx: Trx,
  instance: Pick<ServiceInstance, 'guid' | 'name' | 'space_guid' | 'organization_guid'>,
  caller: Pick<Caller, 'actor'>,
  event: { what: 'create' | 'update' | 'delete' | 'show'; request: unknown },
): Promise<void> {
  await recordAuditEvent(trx, {
    type: `audit.user_provided_service_instance.${event.what}`,
    actor: caller.actor,
    target: { guid: instance.guid, type: 'user_provided_service_instance', name: instance.name },
    data: { request: event.request },
    space_guid: instance.space_guid,
    organization_guid: instance.organization_guid,
  });
}

function hide(wanted: Record<string, unknown>): Record<string, unknown> {
  return { ...wanted, ...('credentials' in wanted && { credentials: HIDDEN }) };
}

/** An empty URL is none. */
function orNone(url: string | null | undefined): string | null {
  return url === undefined || url === null || url === '' ? null : url;
}
