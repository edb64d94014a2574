import { notFound } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { Db } from '../tables.ts';
import { findServiceInstance, type ServiceInstance } from './store.ts';

/** Whether the caller may see it: in its own space, or in one that it is shared with. */
export function maySeeInstance(caller: Caller, instance: ServiceInstance): boolean {
  return (
    caller.may('service_instance.read', instance) ||
    instance.shared_spaces.some(({ guid, organization_guid }) =>
      caller.may('service_instance.read', { space_guid: guid, organization_guid }),
    )
  );
}

/** Errors: 404 "Service instance not found". */
export async function seeInstance(db: Db, caller: Caller, guid: string): Promise<ServiceInstance> {
  const found = await findServiceInstance(db, guid);
  if (!found || !maySeeInstance(caller, found)) throw notFound('Service instance');
  return found;
}

/** The instance, if the caller may change it. Errors: 404, 403. */
export async function writableInstance(db: Db, caller: Caller, guid: string): Promise<ServiceInstance> {
  const found = await seeInstance(db, caller, guid);
  caller.require('service_instance.write', found);
  return found;
}
