import { randomUUID } from 'node:crypto';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Deps } from '../deps.ts';
import type { Actor } from '../events.ts';
import { checkKeyQuota } from '../service-instances/quota.ts';
import { lockServiceInstance, type ServiceInstance } from '../service-instances/store.ts';
import { targetOf } from '../service-operations/broker-access.ts';
import { mitigateOrphan } from '../service-operations/orphans.ts';
import { begun, hasFailedCreate, isBusy } from '../service-operations/operation.ts';
import type { Trx } from '../tables.ts';
import { checkBindable, recordBindingEvent } from './create.ts';
import type { BindingJob } from './jobs.ts';
import type { CreateKeyBinding } from './schema.ts';
import {
  deleteCredentialBinding,
  findKey,
  insertCredentialBinding,
  keyNameTaken,
  lockCredentialBinding,
  updateCredentialBinding,
} from './store.ts';

/** Who asks, for events and for the broker. */
export interface By {
  actor: Actor;
  user_guid: string | null;
}

/** Leaves the job behind that has the broker bind; to be called before the binding's row is written. Returns its guid. */
export async function enqueueBind(
  { jobs, vault }: Pick<Deps, 'jobs' | 'vault'>,
  trx: Trx,
  binding: { guid: string; type: 'app' | 'key'; parameters: Record<string, unknown> | null | undefined },
  by: By,
): Promise<string> {
  const { guid, parameters } = binding;
  const payload: BindingJob = {
    guid,
    actor: by.actor,
    ...(parameters != null && { parameters_sealed: vault.seal(parameters, guid) }),
  };
  return await jobs.enqueue(trx, {
    operation: `${KINDS[binding.type]}.create`,
    resource: { type: 'service_credential_bindings', guid },
    payload,
    user_guid: by.user_guid,
  });
}

/** Writes a key that is to be, and the job that has the broker make it. Returns the job's guid. Errors: 422. */
export async function createKey(
  deps: Pick<Deps, 'jobs' | 'vault'>,
  trx: Trx,
  { instance, wanted, by }: { instance: ServiceInstance; wanted: CreateKeyBinding; by: By },
): Promise<string> {
  checkBindable(instance, 'Service plan does not allow bindings.');
  await checkKeyQuota(trx, instance.space_guid);
  const before = await findKey(trx, instance.guid, wanted.name);
  if (before && !hasFailedCreate(before)) throw keyExists(before, wanted.name);
  if (before) {
    await deleteCredentialBinding(trx, before.guid);
    const orphan = { broker_guid: instance.broker_guid ?? '', target: targetOf(instance, before.guid) };
    await mitigateOrphan(deps, trx, { ...orphan, user_guid: by.user_guid });
  }
  const guid = randomUUID();
  const job_guid = await enqueueBind(deps, trx, { guid, type: 'key', parameters: wanted.parameters }, by);
  await insertCredentialBinding(trx, {
    guid,
    type: 'key',
    name: wanted.name,
    service_instance_guid: instance.guid,
    app_guid: null,
    metadata: wanted.metadata,
    operation: begun('create', 'initial', job_guid),
  });
  const request = { ...wanted, ...(wanted.parameters != null && { parameters: '[PRIVATE DATA HIDDEN]' }) };
  const { space_guid, organization_guid } = instance;
  const about = { guid, type: 'key' as const, name: wanted.name, space_guid, organization_guid };
  await recordBindingEvent(trx, about, by.actor, { what: 'start_create', data: { request } });
  return job_guid;
}

function keyExists(before: { operation_type: string }, name: string): CfError {
  if (before.operation_type !== 'delete') return keyNameTaken(name);
  return unprocessable(
    `The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with the name '${name}' that is getting deleted or its deletion failed.`,
  );
}

const KINDS = { app: 'service_bindings', key: 'service_keys' } as const;

/**
 * Unbinds: at once from a user-provided instance, otherwise by a job, whose guid is returned. A binding that is being made can
 * be deleted: its making ends with that. Errors: 422 while it is being deleted already, or its instance is busy.
 */
export async function unbind(
  deps: Pick<Deps, 'jobs'>,
  trx: Trx,
  guid: string,
  options: By & { with_instance?: boolean },
): Promise<string | undefined> {
  const binding = await lockCredentialBinding(trx, guid);
  if (!binding) throw notFound('Service credential binding');
  const { actor, user_guid } = options;
  if (binding.instance_type === 'user-provided') {
    await deleteCredentialBinding(trx, guid);
    await recordBindingEvent(trx, binding, actor, { what: 'delete' });
    return undefined;
  }
  if (isBusy(binding) && binding.operation_type === 'delete') {
    throw unprocessable('There is an operation in progress for the service binding.');
  }
  if (options.with_instance !== true) {
    const instance = await lockServiceInstance(trx, binding.service_instance_guid);
    if (instance && isBusy(instance)) {
      throw unprocessable('There is an operation in progress for the service instance.');
    }
  }
  const payload: BindingJob = { guid, actor };
  const job_guid = await deps.jobs.enqueue(trx, {
    operation: `${KINDS[binding.type]}.delete`,
    resource: { type: 'service_credential_bindings', guid },
    payload,
    user_guid,
  });
  await updateCredentialBinding(trx, guid, begun('delete', 'initial', job_guid));
  await recordBindingEvent(trx, binding, actor, { what: 'start_delete' });
  return job_guid;
}

/** Errors: 404 that says what became of it, unless it was made. */
export function requireMade(binding: { type: 'app' | 'key'; operation_type: string; operation_state: string }): void {
  if (binding.operation_type === 'create' && binding.operation_state === 'succeeded') return;
  const what = binding.type === 'app' ? 'binding' : 'key';
  const operation = binding.operation_type === 'create' ? 'Creation' : 'Deletion';
  throw new CfError('ResourceNotFound', `${operation} of service ${what} ${binding.operation_state}`);
}
