import type { BrokerAccess, BrokerTarget } from '../broker-client/client.ts';
import type { Deps } from '../deps.ts';
import type { JobContext } from '../jobs/registry.ts';
import { findServiceInstance, type ServiceInstance } from '../service-instances/store.ts';
import { accessTo, targetOf } from './broker-access.ts';
import type { Work } from './run.ts';
import type { OperationTable } from './store.ts';

/** A binding of any kind, its instance, and how its broker is asked about it. */
export interface BindingAtBroker<Binding> {
  binding: Binding;
  instance: ServiceInstance & { broker_guid: string };
  access: BrokerAccess;
  target: BrokerTarget;
  user_guid: string | undefined;
  /** What all operations on it have in common. */
  work: Pick<Work<unknown>, 'table' | 'guid' | 'broker_guid' | 'target' | 'maximum_polling_duration_s' | 'poll'>;
}

/** Undefined when the binding, or what it binds, is gone, or no broker knows of it. */
export async function bindingAtBroker<Binding extends { guid: string; service_instance_guid: string }>(
  deps: Deps,
  { table, binding }: { table: OperationTable; binding: Binding | undefined },
  context: JobContext,
): Promise<BindingAtBroker<Binding> | undefined> {
  const instance = binding && (await findServiceInstance(deps.db, binding.service_instance_guid));
  if (!binding || !instance || instance.broker_guid === null) return undefined;
  const { broker_guid } = instance;
  const access = await accessTo(deps, broker_guid, context.signal);
  const user_guid = context.user_guid ?? undefined;
  const target = targetOf(instance, binding.guid);
  const work = {
    table,
    guid: binding.guid,
    broker_guid,
    target,
    maximum_polling_duration_s: instance.maximum_polling_duration,
    poll: async (operation: string | undefined) =>
      await deps.brokers.lastOperation(access, target, { operation, user_guid }),
  };
  return { binding, instance: { ...instance, broker_guid }, access, target, user_guid, work };
}
