import { unprocessable } from '#contracts/cf-errors.ts';
import type { FoundApp } from '../apps/store.ts';
import { lockApp } from '../apps/store.ts';
import type { MetadataUpdate } from '../api/metadata.ts';
import { type Actor, recordAuditEvent } from '../events.ts';
import { hasFailedCreate, isBusy } from '../service-operations/operation.ts';
import type { ServiceInstance } from '../service-instances/store.ts';
import type { Trx } from '../tables.ts';
import type { ServiceCredentialBindingRow } from '../tables-services.ts';
import {
  bindingsBetween,
  type CredentialBinding,
  deleteCredentialBinding,
  insertCredentialBinding,
  isBindingNameTaken,
  type NewCredentialBinding,
} from './store.ts';

/** Bindings of one app to one instance, so that credentials can be rotated. */
const MAX_BINDINGS = 5;

export interface WantedAppBinding {
  guid: string;
  name: string | null;
  strategy: 'single' | 'multiple';
  metadata: MetadataUpdate | undefined;
  operation: NewCredentialBinding['operation'];
}

/**
 * Writes the binding of an app to an instance, after all that speaks against it. Returns bindings of an earlier try that
 * failed, which were removed here and may be left over at the broker.
 * Errors: 422 with Cloud Foundry's texts, which the cf CLI compares.
 */
export async function createAppBinding(
  trx: Trx,
  instance: ServiceInstance,
  app: Pick<FoundApp, 'guid' | 'space_guid'>,
  wanted: WantedAppBinding,
): Promise<ServiceCredentialBindingRow[]> {
  const spaces = [instance.space_guid, ...instance.shared_spaces.map(({ guid }) => guid)];
  if (!spaces.includes(app.space_guid)) throw unprocessable('The service instance and the app are in different spaces');
  checkBindable(instance, 'Service plan does not allow bindings');
  // Held until the end, so that two bindings at once do not pass the same checks.
  await lockApp(trx, app.guid);
  const failed: ServiceCredentialBindingRow[] = [];
  let standing = 0;
  for (const binding of await bindingsBetween(trx, app.guid, instance.guid)) {
    if (hasFailedCreate(binding)) {
      await deleteCredentialBinding(trx, binding.guid);
      failed.push(binding);
      continue;
    }
    standing += 1;
    checkStanding(binding, wanted);
  }
  if (wanted.strategy === 'multiple' && standing >= MAX_BINDINGS) {
    throw unprocessable(
      `The app has too many bindings to this service instance (limit: ${MAX_BINDINGS}). Consider deleting existing/orphaned bindings.`,
    );
  }
  if (wanted.name !== null) await checkName(trx, wanted.name, { app, instance });
  await insertCredentialBinding(trx, {
    guid: wanted.guid,
    type: 'app',
    name: wanted.name,
    service_instance_guid: instance.guid,
    app_guid: app.guid,
    metadata: wanted.metadata,
    operation: wanted.operation,
  });
  return failed;
}

/** Errors: 422 when the plan cannot be bound, or the instance is not there yet or any more. */
export function checkBindable(instance: ServiceInstance, unbindable: string): void {
  if (instance.type === 'user-provided') return;
  if (instance.plan_bindable === false) throw unprocessable(unbindable);
  if (hasFailedCreate(instance)) throw unprocessable('Service instance not found');
  if (isBusy(instance)) throw unprocessable('There is an operation in progress for the service instance');
}

function checkStanding(binding: ServiceCredentialBindingRow, wanted: WantedAppBinding): void {
  if (binding.operation_type === 'delete') {
    throw unprocessable(
      wanted.strategy === 'multiple'
        ? 'A binding for this service instance and app is getting deleted or its deletion failed'
        : 'The binding is getting deleted or its deletion failed',
    );
  }
  if (wanted.strategy === 'single') throw unprocessable('The app is already bound to the service instance');
  if (isBusy(binding)) {
    throw unprocessable(
      `There is already a binding in progress for this service instance and app (binding guid: ${binding.guid})`,
    );
  }
  if (binding.name !== wanted.name) {
    throw unprocessable('The binding name cannot be changed for the same app and service instance');
  }
}

async function checkName(
  trx: Trx,
  name: string,
  { app, instance }: { app: { guid: string }; instance: { guid: string } },
): Promise<void> {
  const what = { app_guid: app.guid, name, service_instance_guid: instance.guid };
  if (!(await isBindingNameTaken(trx, what))) return;
  throw unprocessable(
    `The binding name is invalid. Binding names must be unique for a given service instance and app. The app already has a binding with name '${name}'.`,
  );
}

/** `audit.service_binding.create`, `audit.service_key.delete`… */
export async function recordBindingEvent(
  trx: Trx,
  binding: Pick<CredentialBinding, 'guid' | 'type' | 'name' | 'space_guid' | 'organization_guid'>,
  actor: Actor,
  event: { what: string; data?: Record<string, unknown> },
): Promise<void> {
  const type = binding.type === 'app' ? 'service_binding' : 'service_key';
  await recordAuditEvent(trx, {
    type: `audit.${type}.${event.what}`,
    actor,
    target: { guid: binding.guid, type, name: binding.name ?? '' },
    data: event.data ?? {},
    space_guid: binding.space_guid,
    organization_guid: binding.organization_guid,
  });
}
