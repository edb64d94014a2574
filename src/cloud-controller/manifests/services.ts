import { randomUUID } from 'node:crypto';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { FoundApp } from '../apps/store.ts';
import type { Deps } from '../deps.ts';
import { findJob } from '../jobs/store.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { createAppBinding, recordBindingEvent } from '../service-credential-bindings/create.ts';
import { enqueueBind } from '../service-credential-bindings/managed.ts';
import { bindingsBetween } from '../service-credential-bindings/store.ts';
import { findServiceInstanceByName } from '../service-instances/store.ts';
import { begun, hasFailedCreate } from '../service-operations/operation.ts';
import { checkParameters } from '../service-parameters/check.ts';
import type { Db, Trx } from '../tables.ts';
import type { ManifestApp, ManifestService } from './parse.ts';

interface Context {
  deps: Pick<Deps, 'jobs' | 'vault'>;
  caller: Caller;
}

export interface BindingUnderWay {
  app: string;
  service: string;
  job_guid: string;
}

/**
 * Binds an app to the services that a manifest lists; those that it is bound to already stay. Returns the jobs of those that a
 * broker is asked for.
 * Errors: 422 beginning `For service 'x': `.
 */
export async function bindServices(
  trx: Trx,
  app: FoundApp,
  wanted: ManifestApp,
  context: Context,
): Promise<BindingUnderWay[]> {
  const under_way: BindingUnderWay[] = [];
  for (const service of wanted.services) {
    try {
      const job_guid = await bindService(trx, app, service, context);
      if (job_guid !== undefined) under_way.push({ app: app.name, service: service.name, job_guid });
    } catch (error) {
      if (!(error instanceof CfError) || error.status !== 422) throw error;
      throw unprocessable(error.details.map((detail) => `For service '${service.name}': ${detail}`));
    }
  }
  return under_way;
}

async function bindService(
  trx: Trx,
  app: FoundApp,
  service: ManifestService,
  { deps, caller }: Context,
): Promise<string | undefined> {
  deps.vault.requireKey();
  const instance = await findServiceInstanceByName(trx, app.space_guid, service.name);
  if (!instance) throw unprocessable(`Service instance '${service.name}' not found`);
  const standing = await bindingsBetween(trx, app.guid, instance.guid);
  if (standing.some((binding) => !hasFailedCreate(binding))) return undefined;
  const isManaged = instance.type === 'managed';
  if (!isManaged && service.parameters) {
    throw unprocessable('Binding parameters are not supported for user-provided service instances');
  }
  await checkParameters(trx, instance.service_plan_guid, ['service_binding', 'create'], service.parameters);
  const guid = randomUUID();
  const name = service.binding_name ?? null;
  const by = { actor: caller.actor, user_guid: caller.guid };
  const binding = { guid, type: 'app' as const, parameters: service.parameters };
  const job_guid = isManaged ? await enqueueBind(deps, trx, binding, by) : undefined;
  await createAppBinding(trx, instance, app, {
    guid,
    name,
    strategy: 'single',
    metadata: undefined,
    operation: begun('create', isManaged ? 'initial' : 'succeeded', job_guid),
  });
  const { space_guid, organization_guid } = app;
  const about = { guid, type: 'app' as const, name, space_guid, organization_guid };
  const event = { what: isManaged ? 'start_create' : 'create', data: { manifest_triggered: true } };
  await recordBindingEvent(trx, about, caller.actor, event);
  return job_guid;
}

const WAIT_MS = 250;

/** What a manifest's job ends with while brokers still bind; undefined when all have. Errors: 422 for one that failed. */
export async function awaitBindings(
  db: Db,
  bindings: readonly BindingUnderWay[],
): Promise<Extract<JobOutcome, { again_in_ms: number }> | undefined> {
  const jobs = await Promise.all(
    bindings.map(async (binding) => ({ ...binding, job: await findJob(db, binding.job_guid) })),
  );
  if (jobs.some(({ job }) => job?.state === 'PROCESSING' || job?.state === 'POLLING')) return { again_in_ms: WAIT_MS };
  const faults = jobs.flatMap(({ app, service, job }) =>
    job?.state === 'FAILED'
      ? [`For application '${app}': For service '${service}': ${job.errors[0]?.detail ?? ''}`]
      : [],
  );
  if (faults.length > 0) throw unprocessable(faults);
  return undefined;
}
