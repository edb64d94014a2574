import { unprocessable } from '#contracts/cf-errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { removeBroker } from '../service-brokers/jobs.ts';
import { serviceBrokersByGuid } from '../service-brokers/store.ts';
import { bindingOfRoute } from '../service-route-bindings/store.ts';
import { appBindingsAsChildren, routeChild } from '../service-credential-bindings/children.ts';
import type { By } from '../service-credential-bindings/managed.ts';
import { type AskedChildren, type Child, endChildren } from '../service-operations/children.ts';
import { isBusy } from '../service-operations/operation.ts';
import { enqueueInstanceDelete } from './managed.ts';
import { lockServiceInstance } from './store.ts';

/** How often a parent looks whether its children have ended. */
const WAIT_MS = 250;

/**
 * Takes services out of spaces: managed instances with their bindings, what apps of the spaces are bound to elsewhere, and
 * brokers that belong to the spaces. Each goes by a job of its own. Undefined when all are gone; otherwise what the caller's job
 * is to end with, to be called again with the payload's `asked`.
 * Errors: 422 with the reasons why some could not be deleted.
 */
export async function emptySpacesOfServices(
  deps: Deps,
  what: { space_guids: readonly string[]; asked: AskedChildren; failed: string },
  by: By,
): Promise<Extract<JobOutcome, { again_in_ms: number }> | undefined> {
  const children = await servicesIn(deps, what.space_guids, by);
  const end = await endChildren(deps, children, what.asked);
  if (end.state === 'under way') return { again_in_ms: WAIT_MS, payload: { asked: end.asked } };
  if (end.state === 'failed') throw unprocessable(`${what.failed}\n\n${end.faults.join('\n')}`);
  await removeBrokersOf(deps, what.space_guids, by);
  return undefined;
}

/** As emptySpacesOfServices, for all that an app is bound to. */
export async function releaseApp(
  deps: Deps,
  what: { app_guid: string; asked: AskedChildren },
  by: By,
): Promise<Extract<JobOutcome, { again_in_ms: number }> | undefined> {
  const end = await endChildren(deps, await appBindingsAsChildren(deps, what.app_guid, by), what.asked);
  if (end.state === 'under way') return { again_in_ms: WAIT_MS, payload: { asked: end.asked } };
  if (end.state === 'failed') {
    throw unprocessable(
      `Deletion of the app failed because one or more bindings could not be deleted.\n\n${end.faults.join('\n')}`,
    );
  }
  return undefined;
}

/** As emptySpacesOfServices, for the service that a route is bound to. */
export async function releaseRoute(
  deps: Deps,
  what: { route_guid: string; asked: AskedChildren },
  by: By,
): Promise<Extract<JobOutcome, { again_in_ms: number }> | undefined> {
  const binding = await bindingOfRoute(deps.db, what.route_guid);
  const end = await endChildren(deps, binding ? [routeChild(deps, binding.guid, by)] : [], what.asked);
  if (end.state === 'under way') return { again_in_ms: WAIT_MS, payload: { asked: end.asked } };
  if (end.state === 'failed') throw unprocessable(end.faults);
  return undefined;
}

async function servicesIn(deps: Deps, space_guids: readonly string[], by: By): Promise<Child[]> {
  const { db } = deps;
  const instances = await db
    .selectFrom('service_instances')
    .select('guid')
    .where('space_guid', 'in', [...space_guids, ''])
    .where('type', '=', 'managed')
    .orderBy('id')
    .execute();
  // Of instances in these spaces the bindings go with them.
  const elsewhere = await db
    .selectFrom('service_credential_bindings')
    .innerJoin('apps', 'apps.guid', 'service_credential_bindings.app_guid')
    .innerJoin('service_instances', 'service_instances.guid', 'service_credential_bindings.service_instance_guid')
    .select('apps.guid')
    .distinct()
    .where('apps.space_guid', 'in', [...space_guids, ''])
    .where('service_instances.space_guid', 'not in', [...space_guids, ''])
    .execute();
  const bindings = await Promise.all(elsewhere.map(async (app) => await appBindingsAsChildren(deps, app.guid, by)));
  return [...instances.map(({ guid }) => instanceChild(deps, guid, by)), ...bindings.flat()];
}

function instanceChild(deps: Deps, guid: string, by: By): Child {
  return {
    guid,
    begin: async (trx) => {
      const instance = await lockServiceInstance(trx, guid);
      if (!instance) return undefined;
      const isGoing = isBusy(instance) && instance.operation_type === 'delete';
      if (isGoing) return instance.operation_job_guid ?? undefined;
      return await enqueueInstanceDelete(deps, trx, guid, by);
    },
  };
}

async function removeBrokersOf({ db }: Deps, space_guids: readonly string[], { actor }: By): Promise<void> {
  const rows = await db
    .selectFrom('service_brokers')
    .select('guid')
    .where('space_guid', 'in', [...space_guids, ''])
    .execute();
  const brokers = await serviceBrokersByGuid(
    db,
    rows.map((row) => row.guid),
  );
  await inTransaction(db, async (trx) => {
    for (const broker of brokers) await removeBroker(trx, broker, actor);
  });
}
