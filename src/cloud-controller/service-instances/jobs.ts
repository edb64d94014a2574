import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { BrokerAccess } from '../broker-client/client.ts';
import type { ProvisionBody } from '../broker-client/replies.ts';
import type { Deps } from '../deps.ts';
import { ActorSchema } from '../events.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import { bindingsAsChildren } from '../service-credential-bindings/children.ts';
import { accessTo, contextOf, targetOf } from '../service-operations/broker-access.ts';
import { endChildren } from '../service-operations/children.ts';
import { SUCCEEDED } from '../service-operations/operation.ts';
import { carryOn, Progress, runOperation, type Work } from '../service-operations/run.ts';
import { servicePlansByGuid } from '../service-plans/store.ts';
import type { Trx } from '../tables.ts';
import { recordInstanceEvent } from './managed.ts';
import { deleteServiceInstance, findServiceInstance, type ServiceInstance, updateServiceInstance } from './store.ts';

const MaintenanceInfo = z.object({ version: z.string().optional(), description: z.string().optional() });
const Change = z.object({
  name: z.string().optional(),
  tags: z.array(z.string()).nullish(),
  metadata: MetadataUpdate.optional(),
  service_plan_guid: z.string().optional(),
  maintenance_info: MaintenanceInfo.optional(),
});

const Payload = Progress.extend({
  guid: z.string(),
  actor: ActorSchema,
  parameters_sealed: z.string().optional(),
  /** As asked for, secrets hidden: for the audit event. */
  request: z.record(z.string(), z.unknown()).default({}),
  change: Change.default({}),
  /** Jobs that delete its bindings. */
  asked: z.record(z.string(), z.string()).default({}),
});
type Payload = z.infer<typeof Payload>;
/** What requests leave behind for `service_instance.*` jobs. */
export type InstanceJob = z.input<typeof Payload>;

/** The jobs that make, change and delete managed instances at their brokers. */
export function registerInstanceJobs(deps: Deps): void {
  const parse = (given: unknown): Payload => Payload.parse(given);
  deps.operations.register('service_instance.create', parse, async (payload, context) =>
    carryOn(payload, await createInstance(deps, payload, context)),
  );
  deps.operations.register('service_instance.update', parse, async (payload, context) =>
    carryOn(payload, await changeInstance(deps, payload, context)),
  );
  deps.operations.register('service_instance.delete', parse, async (payload, context) =>
    carryOn(payload, await removeInstance(deps, payload, context)),
  );
}

async function mustFind(deps: Deps, guid: string): Promise<ServiceInstance & { broker_guid: string }> {
  const instance = await findServiceInstance(deps.db, guid);
  if (!instance || instance.broker_guid === null) {
    throw new CfError('ResourceNotFound', `The service instance could not be found: ${guid}.`);
  }
  return { ...instance, broker_guid: instance.broker_guid };
}

function parametersOf({ vault }: Deps, payload: Payload): { parameters?: unknown } {
  const { parameters_sealed: sealed, guid } = payload;
  return sealed === undefined ? {} : { parameters: vault.open(sealed, guid) };
}

/** What is common to the three kinds of work on an instance. */
async function base(
  deps: Deps,
  instance: ServiceInstance & { broker_guid: string },
  context: JobContext,
): Promise<{
  access: BrokerAccess;
  user_guid: string | undefined;
  work: Pick<Work<ProvisionBody>, 'table' | 'guid' | 'broker_guid' | 'target' | 'maximum_polling_duration_s' | 'poll'>;
}> {
  const access = await accessTo(deps, instance.broker_guid, context.signal);
  const user_guid = context.user_guid ?? undefined;
  const target = targetOf(instance);
  return {
    access,
    user_guid,
    work: {
      table: 'service_instances',
      guid: instance.guid,
      broker_guid: instance.broker_guid,
      target,
      maximum_polling_duration_s: instance.maximum_polling_duration,
      poll: async (operation) => await deps.brokers.lastOperation(access, target, { operation, user_guid }),
    },
  };
}

/** What a broker said of an instance, as columns; nothing of what it left out. */
function said(body: ProvisionBody | undefined) {
  if (!body) return {};
  const { dashboard_url, metadata } = body;
  return {
    ...(dashboard_url !== undefined && { dashboard_url }),
    ...(metadata && { broker_provided_metadata: { ...metadata } }),
  };
}

/** What an asynchronous operation answered first; kept until it has succeeded. */
async function createInstance(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db } = deps;
  const instance = await mustFind(deps, payload.guid);
  const { access, user_guid, work } = await base(deps, instance, context);
  return await runOperation<ProvisionBody>(
    deps,
    {
      ...work,
      type: 'create',
      verb: 'provision',
      ask: async () => {
        const answer = await deps.brokers.provision(access, work.target, {
          user_guid,
          body: {
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            context: await contextOf(db, instance, instance),
            ...parametersOf(deps, payload),
            ...versionOf(instance.maintenance_info),
          },
        });
        if (answer.state === 'in progress') await keep(deps, instance, answer.body);
        return answer;
      },
      finish: async (body) => {
        await inTransaction(db, async (trx) => {
          await updateServiceInstance(trx, instance, said(body), SUCCEEDED);
          await recordInstanceEvent(trx, instance, payload.actor, { what: 'create', request: payload.request });
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
}

/** The dashboard can be there before the instance is. */
async function keep({ db }: Deps, instance: ServiceInstance, body: ProvisionBody): Promise<void> {
  const columns = said(body);
  if (Object.keys(columns).length > 0) await updateServiceInstance(db, instance, columns);
}

function versionOf(info: { version?: string | undefined }): { maintenance_info?: { version: string } } {
  return info.version === undefined ? {} : { maintenance_info: { version: info.version } };
}

async function changeInstance(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db } = deps;
  const { change } = payload;
  const instance = await mustFind(deps, payload.guid);
  const { access, user_guid, work } = await base(deps, instance, context);
  const [plan] = change.service_plan_guid === undefined ? [] : await servicePlansByGuid(db, [change.service_plan_guid]);
  return await runOperation<ProvisionBody>(
    deps,
    {
      ...work,
      type: 'update',
      verb: 'update',
      ask: async () =>
        await deps.brokers.update(access, work.target, {
          user_guid,
          body: {
            plan_id: plan?.catalog_id ?? work.target.plan_id,
            context: await contextOf(db, instance, { ...instance, name: change.name ?? instance.name }),
            previous_values: {
              plan_id: work.target.plan_id,
              service_id: work.target.service_id,
              organization_id: instance.organization_guid,
              space_id: instance.space_guid,
              ...versionOf(instance.maintenance_info),
            },
            ...parametersOf(deps, payload),
            ...(change.maintenance_info && versionOf(change.maintenance_info)),
          },
        }),
      finish: async (body) => {
        await inTransaction(db, async (trx) => {
          await updateServiceInstance(trx, instance, { ...changed(change), ...said(body) }, SUCCEEDED);
          await recordInstanceEvent(trx, instance, payload.actor, { what: 'update', request: payload.request });
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
}

function changed(change: z.infer<typeof Change>) {
  const { service_plan_guid, maintenance_info, ...fields } = change;
  return {
    ...fields,
    ...(service_plan_guid !== undefined && { service_plan_guid }),
    ...(maintenance_info && { maintenance_info }),
  };
}

/** First what is bound to it, each by a job of its own, then the instance itself. */
async function removeInstance(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db } = deps;
  const instance = await findServiceInstance(db, payload.guid);
  // Somebody purged it.
  if (!instance) return undefined;
  const { access, user_guid, work } = await base(deps, await mustFind(deps, payload.guid), context);
  const by = { actor: payload.actor, user_guid: context.user_guid };
  const unbound = await endChildren(deps, await bindingsAsChildren(deps, instance.guid, by), payload.asked);
  if (unbound.state === 'under way') return { again_in_ms: CHILDREN_MS, payload: { asked: unbound.asked } };
  return await runOperation(
    deps,
    {
      ...work,
      type: 'delete',
      verb: 'deprovision',
      ask: async () => {
        if (unbound.state === 'failed') {
          throw new CfError('UnableToPerform', unbound.faults.join('\n'));
        }
        return await deps.brokers.remove(access, work.target, user_guid);
      },
      finish: async () => {
        await inTransaction(db, async (trx) => {
          await removeRow(trx, instance, payload);
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
}

const CHILDREN_MS = 250;

async function removeRow(trx: Trx, instance: ServiceInstance, payload: Payload): Promise<void> {
  await deleteServiceInstance(trx, instance.guid);
  await recordInstanceEvent(trx, instance, payload.actor, { what: 'delete', request: payload.request });
}
