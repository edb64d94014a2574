import { type Actor, recordAuditEvent } from '../events.ts';
import { routesOfInstance } from '../service-route-bindings/store.ts';
import type { Trx } from '../tables.ts';
import { deleteServiceInstance, lockServiceInstance } from './store.ts';

/**
 * Forgets an instance with all that is bound to it, without a word to the broker, whatever is being done to it. Returns the apps
 * whose routes lost a route service.
 */
export async function purgeInstance(trx: Trx, guid: string, actor: Actor): Promise<string[]> {
  const instance = await lockServiceInstance(trx, guid);
  if (!instance) return [];
  const { app_guids } = await routesOfInstance(trx, guid);
  await trx.deleteFrom('service_route_bindings').where('service_instance_guid', '=', guid).execute();
  await trx.deleteFrom('service_credential_bindings').where('service_instance_guid', '=', guid).execute();
  await deleteServiceInstance(trx, guid);
  const type = instance.type === 'managed' ? 'service_instance' : 'user_provided_service_instance';
  await recordAuditEvent(trx, {
    type: `audit.${type}.purge`,
    actor,
    target: { guid, type, name: instance.name },
    data: { request: { purge: true } },
    space_guid: instance.space_guid,
    organization_guid: instance.organization_guid,
  });
  return app_guids;
}
