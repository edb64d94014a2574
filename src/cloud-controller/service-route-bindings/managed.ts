import { z } from 'zod';
import { CfError, notFound, unprocessable } from '#contracts/cf-errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { BindBody } from '../broker-client/replies.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { type Actor, ActorSchema, recordAuditEvent } from '../events.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import { appsOfRoute } from '../routes/destinations-store.ts';
import { routeUrl } from '../routes/presenter.ts';
import { findRoute } from '../routes/store.ts';
import { lockServiceInstance } from '../service-instances/store.ts';
import { bindingAtBroker } from '../service-operations/binding-at-broker.ts';
import { contextOf } from '../service-operations/broker-access.ts';
import { begun, isBusy, SUCCEEDED } from '../service-operations/operation.ts';
import { carryOn, Progress, runOperation } from '../service-operations/run.ts';
import type { Trx } from '../tables.ts';
import {
  deleteRouteBinding,
  findRouteBinding,
  lockRouteBinding,
  type RouteBinding,
  updateRouteBinding,
} from './store.ts';

const Payload = Progress.extend({
  guid: z.string(),
  actor: ActorSchema,
  parameters_sealed: z.string().optional(),
});
type Payload = z.infer<typeof Payload>;
export type RouteBindingJob = z.input<typeof Payload>;

interface By {
  actor: Actor;
  user_guid: string | null;
}

/** Leaves the job behind that binds a route at the broker; before the binding's row is written. */
export async function enqueueRouteBind(
  { jobs, vault }: Pick<Deps, 'jobs' | 'vault'>,
  trx: Trx,
  binding: { guid: string; parameters: Record<string, unknown> | null | undefined },
  by: By,
): Promise<string> {
  const { guid, parameters } = binding;
  const payload: RouteBindingJob = {
    guid,
    actor: by.actor,
    ...(parameters != null && { parameters_sealed: vault.seal(parameters, guid) }),
  };
  return await jobs.enqueue(trx, {
    operation: 'service_route_bindings.create',
    resource: { type: 'service_route_bindings', guid },
    payload,
    user_guid: by.user_guid,
  });
}

/** Unbinds at once from a user-provided instance; otherwise by a job, whose guid is returned. Errors: 422 while one is. */
export async function unbindRoute(
  { jobs }: Pick<Deps, 'jobs'>,
  trx: Trx,
  guid: string,
  options: By & { with_instance?: boolean },
): Promise<string | undefined> {
  const binding = await lockRouteBinding(trx, guid);
  if (!binding) throw notFound('Service route binding');
  const { actor, user_guid } = options;
  if (binding.instance_type === 'user-provided') {
    await deleteRouteBinding(trx, guid);
    await recordRouteBindingEvent(trx, binding, actor, 'delete');
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
  const payload: RouteBindingJob = { guid, actor };
  const job_guid = await jobs.enqueue(trx, {
    operation: 'service_route_bindings.delete',
    resource: { type: 'service_route_bindings', guid },
    payload,
    user_guid,
  });
  await updateRouteBinding(trx, guid, begun('delete', 'initial', job_guid));
  return job_guid;
}

export function registerRouteBindingJobs(deps: Deps): void {
  const parse = (given: unknown): Payload => Payload.parse(given);
  deps.operations.register('service_route_bindings.create', parse, async (payload, context) =>
    carryOn(payload, await bindRoute(deps, payload, context)),
  );
  deps.operations.register('service_route_bindings.delete', parse, async (payload, context) =>
    carryOn(payload, await removeRouteBinding(deps, payload, context)),
  );
}

async function find(deps: Deps, guid: string, context: JobContext) {
  const binding = await findRouteBinding(deps.db, guid);
  return await bindingAtBroker(deps, { table: 'service_route_bindings', binding }, context);
}

async function bindRoute(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db, brokers, vault, effects } = deps;
  const found = await find(deps, payload.guid, context);
  if (!found) throw new CfError('ResourceNotFound', `The binding could not be found: ${payload.guid}`);
  const { binding, access, user_guid, target, work } = found;
  const route = await findRoute(db, binding.route_guid);
  const { parameters_sealed: sealed } = payload;
  const outcome = await runOperation<BindBody>(
    deps,
    {
      ...work,
      type: 'create',
      verb: 'bind',
      ask: async () =>
        await brokers.bind(access, target, {
          user_guid,
          body: {
            bind_resource: { route: route ? routeUrl(route) : '' },
            context: await contextOf(db, binding),
            ...(sealed !== undefined && { parameters: vault.open(sealed, binding.guid) }),
          },
        }),
      finish: async (body) => {
        const made = body ?? (await brokers.fetchBinding(access, target, user_guid));
        const url = made.route_service_url;
        if (url !== undefined && (!URL.canParse(url) || new URL(url).protocol !== 'https:')) {
          const text = 'The service broker returned an invalid response: route_service_url must be a valid https URL';
          throw new BrokerTrouble('undeclared', text);
        }
        await inTransaction(db, async (trx) => {
          await updateRouteBinding(trx, binding.guid, {
            route_service_url: url ?? null,
            ...SUCCEEDED,
          });
          await recordRouteBindingEvent(trx, binding, payload.actor, 'create');
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
  if (outcome === undefined) await effects.routesChanged(await appsOfRoute(db, binding.route_guid));
  return outcome;
}

async function removeRouteBinding(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db, brokers, effects } = deps;
  const found = await find(deps, payload.guid, context);
  if (!found) return undefined;
  const { access, user_guid, target, work } = found;
  const outcome = await runOperation(
    deps,
    {
      ...work,
      type: 'delete',
      verb: 'unbind',
      ask: async () => await brokers.remove(access, target, user_guid),
      finish: async () => {
        await inTransaction(db, async (trx) => {
          await deleteRouteBinding(trx, payload.guid);
          await recordRouteBindingEvent(trx, found.binding, payload.actor, 'delete');
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
  if (outcome === undefined) await effects.routesChanged(await appsOfRoute(db, found.binding.route_guid));
  return outcome;
}

export async function recordRouteBindingEvent(
  trx: Trx,
  binding: Pick<RouteBinding, 'guid' | 'space_guid' | 'organization_guid'>,
  actor: Actor,
  what: string,
): Promise<void> {
  await recordAuditEvent(trx, {
    type: `audit.service_route_binding.${what}`,
    actor,
    target: { guid: binding.guid, type: 'service_route_binding', name: '' },
    space_guid: binding.space_guid,
    organization_guid: binding.organization_guid,
  });
}
