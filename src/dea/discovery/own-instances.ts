import type { Instance } from '../instance.ts';
import type { OwnInstance } from './plan.ts';

/** Those that have a container, tasks too: they may be a policy's source. Only who is healthy is found by name. */
export function ownInstances(instances: readonly Pick<Instance, 'record' | 'isRoutable'>[]): OwnInstance[] {
  return instances.flatMap(({ record, isRoutable }) => {
    const { start, handle, network } = record;
    if (!network) return [];
    const { app, instance, index } = start;
    const uris = isRoutable ? start.internal_uris : [];
    const has_internal_routes = start.internal_uris.length > 0;
    return [{ app, instance, index, handle, address: network.container_ip, uris, has_internal_routes }];
  });
}
