import { randomUUID } from 'node:crypto';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { type Actor, recordAuditEvent } from '../events.ts';
import { requireBrokerAtRest } from '../service-brokers/at-rest.ts';
import { begun, hasFailedCreate, isBusy } from '../service-operations/operation.ts';
import { checkParameters } from '../service-parameters/check.ts';
import { findServicePlan, isPlanUsableIn, type ServicePlan } from '../service-plans/store.ts';
import { planViewer } from '../service-plans/visible-store.ts';
import type { FoundSpace } from '../spaces/store.ts';
import type { Trx } from '../tables.ts';
import type { InstanceJob } from './jobs.ts';
import { checkInstanceQuota, checkPlanQuota } from './quota.ts';
import type { CreateManaged, UpdateManaged } from './schema.ts';
import { insertServiceInstance, lockServiceInstance, type ServiceInstance, updateServiceInstance } from './store.ts';

const HIDDEN = '[PRIVATE DATA HIDDEN]';

/** Writes an instance that is to be, and the job that has the broker make it. Returns the job's guid. */
export async function createManaged(
  deps: Deps,
  caller: Caller,
  wanted: CreateManaged,
  space: FoundSpace,
): Promise<string> {
  const { db, jobs, vault } = deps;
  const plan = await usablePlan(deps, caller, wanted.relationships.service_plan.data.guid, space);
  await checkParameters(db, plan.guid, ['service_instance', 'create'], wanted.parameters);
  const guid = randomUUID();
  return await inTransaction(db, async (trx) => {
    await requireBrokerAtRest(trx, plan.broker_guid);
    await checkInstanceQuota(trx, space.guid, plan);
    const payload: InstanceJob = {
      guid,
      actor: caller.actor,
      ...(wanted.parameters != null && { parameters_sealed: vault.seal(wanted.parameters, guid) }),
      request: hide(wanted),
    };
    const job_guid = await jobs.enqueue(trx, {
      operation: 'service_instance.create',
      resource: { type: 'service_instances', guid },
      payload,
      user_guid: caller.guid,
    });
    await insertServiceInstance(trx, {
      guid,
      name: wanted.name,
      type: 'managed',
      space_guid: space.guid,
      service_plan_guid: plan.guid,
      tags: wanted.tags,
      maintenance_info: plan.maintenance_info,
      metadata: wanted.metadata,
      operation: begun('create', 'initial', job_guid),
    });
    const place = { guid, name: wanted.name, space_guid: space.guid, organization_guid: space.organization_guid };
    await recordInstanceEvent(trx, place, caller.actor, { what: 'start_create', request: hide(wanted) });
    return job_guid;
  });
}

/**
 * Changes an instance: at once what the broker need not know, otherwise by a job, whose guid is returned.
 * Errors: 409 while another operation is under way, 422 for what the plan does not allow.
 */
export async function updateManaged(
  deps: Deps,
  caller: Caller,
  wanted: UpdateManaged,
  instance: ServiceInstance,
): Promise<string | undefined> {
  const { db, jobs, vault } = deps;
  const plan_guid = wanted.relationships?.service_plan?.data.guid;
  const plan = plan_guid === undefined ? undefined : await newPlan(deps, caller, plan_guid, instance);
  const isOtherPlan = plan !== undefined && plan.guid !== instance.service_plan_guid;
  checkMaintenance(wanted, instance, isOtherPlan);
  const plan_then = plan?.guid ?? instance.service_plan_guid;
  await checkParameters(db, plan_then, ['service_instance', 'update'], wanted.parameters);
  const isRenamed = wanted.name !== undefined && wanted.name !== instance.name;
  if (isRenamed && instance.shared_spaces.length > 0) {
    throw new CfError(
      'SharedServiceInstanceCannotBeRenamed',
      'Service instances that have been shared cannot be renamed',
    );
  }
  const isUpgrade =
    wanted.maintenance_info !== undefined && wanted.maintenance_info.version !== instance.maintenance_info.version;
  const asksBroker =
    isOtherPlan || isUpgrade || wanted.parameters != null || (isRenamed && instance.allow_context_updates === true);
  return await inTransaction(db, async (trx) => {
    const now = await lockServiceInstance(trx, instance.guid);
    if (!now) throw notFound('Service instance');
    if (isBusy(now)) throw operationInProgress(now);
    if (hasFailedCreate(now)) throw notFound('Service instance');
    if (plan && isOtherPlan) await checkPlanQuota(trx, instance.space_guid, plan);
    const { name, tags, metadata } = wanted;
    const request = hide(wanted);
    if (!asksBroker) {
      await updateServiceInstance(trx, now, { name, tags, metadata }, begun('update', 'succeeded'));
      await recordInstanceEvent(trx, now, caller.actor, { what: 'update', request });
      return undefined;
    }
    if (isRenamed) await requireNameFree(trx, wanted.name ?? '', instance.space_guid);
    const payload: InstanceJob = {
      guid: instance.guid,
      actor: caller.actor,
      ...(wanted.parameters != null && { parameters_sealed: vault.seal(wanted.parameters, instance.guid) }),
      request,
      change: {
        ...(name !== undefined && { name }),
        ...(tags !== undefined && { tags }),
        ...(metadata !== undefined && { metadata }),
        ...(plan && isOtherPlan && { service_plan_guid: plan.guid, maintenance_info: plan.maintenance_info }),
        ...(isUpgrade && { maintenance_info: now.plan_maintenance_info ?? {} }),
      },
    };
    const job_guid = await jobs.enqueue(trx, {
      operation: 'service_instance.update',
      resource: { type: 'service_instances', guid: instance.guid },
      payload,
      user_guid: caller.guid,
    });
    await updateServiceInstance(trx, now, {}, begun('update', 'initial', job_guid));
    await recordInstanceEvent(trx, now, caller.actor, { what: 'start_update', request });
    return job_guid;
  });
}

async function requireNameFree(trx: Trx, name: string, space_guid: string): Promise<void> {
  const taken = await trx
    .selectFrom('service_instances')
    .select('guid')
    .where('name', '=', name)
    .where('space_guid', '=', space_guid)
    .executeTakeFirst();
  if (taken) throw unprocessable(`The service instance name is taken: ${name}.`);
}

/**
 * Leaves the job behind that deletes an instance with its bindings. An instance that is being made can be deleted: its making
 * ends with that. Undefined when there is none any more. Errors: 409 while another operation is under way.
 */
export async function enqueueInstanceDelete(
  { jobs }: Pick<Deps, 'jobs'>,
  trx: Trx,
  guid: string,
  by: { actor: Actor; user_guid: string | null },
): Promise<string | undefined> {
  const instance = await lockServiceInstance(trx, guid);
  if (!instance) return undefined;
  if (isBusy(instance) && instance.operation_type !== 'create') throw operationInProgress(instance);
  const payload: InstanceJob = { guid, actor: by.actor };
  const job_guid = await jobs.enqueue(trx, {
    operation: 'service_instance.delete',
    resource: { type: 'service_instances', guid },
    payload,
    user_guid: by.user_guid,
  });
  await updateServiceInstance(trx, instance, {}, begun('delete', 'initial', job_guid));
  await recordInstanceEvent(trx, instance, by.actor, { what: 'start_delete', request: {} });
  return job_guid;
}

/** Errors: 409 that the CLI knows by its title. */
export function operationInProgress(instance: { name: string }): CfError {
  return new CfError(
    'AsyncServiceInstanceOperationInProgress',
    `An operation for service instance ${instance.name} is in progress.`,
  );
}

/** `audit.service_instance.create`, … */
export async function recordInstanceEvent(
  trx: Trx,
  instance: Pick<ServiceInstance, 'guid' | 'name' | 'space_guid' | 'organization_guid'>,
  actor: Actor,
  event: { what: string; request: unknown },
): Promise<void> {
  await recordAuditEvent(trx, {
    type: `audit.service_instance.${event.what}`,
    actor,
    target: { guid: instance.guid, type: 'service_instance', name: instance.name },
    data: { request: event.request },
    space_guid: instance.space_guid,
    organization_guid: instance.organization_guid,
  });
}

/** Errors: 422 when the caller does not see the plan, it is no longer offered, or it is not for that space. */
async function usablePlan(
  { db }: Deps,
  caller: Caller,
  guid: string,
  space: { guid: string; name: string },
): Promise<ServicePlan> {
  const plan = await findServicePlan(db, guid, planViewer(caller));
  if (!plan) {
    throw unprocessable(
      'Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.',
    );
  }
  if (!plan.available) {
    throw unprocessable(
      `Invalid service plan. The service plan '${plan.name}' with guid '${plan.guid}' has been removed from the service broker's catalog. It is not possible to create new service instances using this plan.`,
    );
  }
  if (!(await isPlanUsableIn(db, plan.guid, space.guid)) && !isAdminsOwn(caller, plan)) {
    throw unprocessable(
      `Invalid service plan. This could be due to a space-scoped broker which is offering the service plan '${plan.name}' with guid '${plan.guid}' in another space or that the plan is not enabled in this organization. Ensure that the service plan is visible in your current space '${space.name}' with guid '${space.guid}'.`,
    );
  }
  return plan;
}

/** Plans that nobody else sees are for admins to try. */
function isAdminsOwn(caller: Caller, plan: ServicePlan): boolean {
  return caller.isAdmin && plan.visibility_type === 'admin';
}

async function newPlan(deps: Deps, caller: Caller, guid: string, instance: ServiceInstance): Promise<ServicePlan> {
  const space = { guid: instance.space_guid, name: instance.space_name };
  const plan = await usablePlan(deps, caller, guid, space);
  if (plan.service_offering_guid !== instance.offering_guid) {
    throw new CfError('InvalidRelation', 'service plan relates to a different service offering');
  }
  if (plan.guid !== instance.service_plan_guid && instance.plan_updateable !== true) {
    throw new CfError('ServicePlanNotUpdateable', 'The service does not support changing plans.');
  }
  return plan;
}

function checkMaintenance(wanted: UpdateManaged, instance: ServiceInstance, isOtherPlan: boolean): void {
  const version = wanted.maintenance_info?.version;
  if (version === undefined) return;
  if (isOtherPlan) {
    throw new CfError(
      'MaintenanceInfoNotUpdatableWhenChangingPlan',
      'maintenance_info should not be changed when switching to different plan.',
    );
  }
  const offered = instance.plan_maintenance_info?.version;
  if (offered === undefined) {
    throw new CfError(
      'MaintenanceInfoNotSupported',
      'The service broker does not support upgrades for service instances created from this plan.',
    );
  }
  if (offered !== version) {
    throw new CfError(
      'MaintenanceInfoConflict',
      'maintenance_info.version requested is invalid. Please ensure the catalog is up to date and you are providing a version supported by this service plan.',
    );
  }
}

function hide(wanted: Record<string, unknown>): Record<string, unknown> {
  return { ...wanted, ...(wanted['parameters'] != null && { parameters: HIDDEN }) };
}
