import type { Deps } from '../deps.ts';
import type { Child } from '../service-operations/children.ts';
import { isBusy } from '../service-operations/operation.ts';
import { guidsOfRouteBindings, lockRouteBinding } from '../service-route-bindings/store.ts';
import { unbindRoute } from '../service-route-bindings/managed.ts';
import { type By, unbind } from './managed.ts';
import { guidsOfBindings, lockCredentialBinding } from './store.ts';

/** The bindings of an instance, as what ends before it does. */
export async function bindingsAsChildren(deps: Deps, service_instance_guid: string, by: By): Promise<Child[]> {
  const credential = await guidsOfBindings(deps.db, { service_instance_guid });
  const route = await guidsOfRouteBindings(deps.db, service_instance_guid);
  return [
    ...credential.map((guid) => credentialChild(deps, guid, by)),
    ...route.map((guid) => routeChild(deps, guid, by)),
  ];
}

/** The bindings of an app, likewise. */
export async function appBindingsAsChildren(deps: Deps, app_guid: string, by: By): Promise<Child[]> {
  const guids = await guidsOfBindings(deps.db, { app_guid });
  return guids.map((guid) => credentialChild(deps, guid, by));
}

/** One of them. */
export function credentialChild(deps: Deps, guid: string, by: By): Child {
  return {
    guid,
    begin: async (trx) => {
      const binding = await lockCredentialBinding(trx, guid);
      if (!binding) return undefined;
      if (isBusy(binding) && binding.operation_type === 'delete') return binding.operation_job_guid ?? undefined;
      return await unbind(deps, trx, guid, { ...by, with_instance: true });
    },
  };
}

/** The binding of a route, likewise. */
export function routeChild(deps: Deps, guid: string, by: By): Child {
  return {
    guid,
    begin: async (trx) => {
      const binding = await lockRouteBinding(trx, guid);
      if (!binding) return undefined;
      if (isBusy(binding) && binding.operation_type === 'delete') return binding.operation_job_guid ?? undefined;
      return await unbindRoute(deps, trx, guid, { ...by, with_instance: true });
    },
  };
}
