import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { createApp, refuseBuildpackData } from '../apps/endpoints.ts';
import { checkBuildpacks, checkStack } from '../apps/lifecycle-data.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { mergeEnvironment } from '../apps/schema.ts';
import { featureColumns, isAppFeature } from '../apps/settings-endpoints.ts';
import { findApp, type FoundApp, updateApp } from '../apps/store.ts';
import { metadataColumns } from '../api/metadata.ts';
import type { Caller } from '../api/caller.ts';
import type { Deps } from '../deps.ts';
import { changeProcess, refuseWhileDeploying, scaleProcess } from '../processes/change.ts';
import { processSchemas } from '../processes/schema.ts';
import { findProcessOfType, insertProcess } from '../processes/store.ts';
import type { FoundSpace } from '../spaces/store.ts';
import type { Trx } from '../tables.ts';
import { parseBody } from '../api/body.ts';
import type { ManifestApp, ManifestProcess, ManifestSidecar } from './parse.ts';
import { applyRoutes } from './routes.ts';
import { bindServices } from './services.ts';

export interface ApplyContext {
  deps: Pick<Deps, 'config' | 'jobs' | 'vault'>;
  caller: Caller;
  space: FoundSpace;
}

/** What the job has to tell the DEAs once all is committed. */
export interface Applied {
  app_guid: string;
  created: boolean;
  routes_changed: boolean;
  /** Processes whose number of instances changed, with the number before. */
  scaled: { guid: string; instances_before: number }[];
  /** Jobs that bind it to services, with the services' names. */
  bindings: { app: string; service: string; job_guid: string }[];
}

/**
 * Makes apps as a manifest wants them, in the order of its apps: all of it, or nothing. What it does not mention stays.
 * Errors: 422 beginning `For application 'x': `.
 */
export async function applyManifest(
  trx: Trx,
  wanted: readonly ManifestApp[],
  context: ApplyContext,
): Promise<Applied[]> {
  const applied: Applied[] = [];
  for (const app of wanted) {
    try {
      applied.push(await applyApp(trx, app, context));
    } catch (error) {
      throw named(error, app.name);
    }
  }
  return applied;
}

function named(error: unknown, name: string): unknown {
  if (!(error instanceof CfError) || error.status !== 422) return error;
  return new CfError(
    error.title,
    error.details.map((detail) => `For application '${name}': ${detail}`),
    { cause: error },
  );
}

async function applyApp(trx: Trx, wanted: ManifestApp, context: ApplyContext): Promise<Applied> {
  const { caller, space, deps } = context;
  const known = await trx
    .selectFrom('apps')
    .select('guid')
    .where('space_guid', '=', space.guid)
    .where(sql<boolean>`lower(name) = lower(${wanted.name})`)
    .executeTakeFirst();
  const found = known ? await findApp(trx, known.guid) : undefined;
  const app =
    found ??
    (await createApp(trx, deps, {
      name: wanted.name,
      space_guid: space.guid,
      lifecycle: {
        type: wanted.lifecycle_type ?? 'buildpack',
        data: { buildpacks: wanted.buildpacks, stack: wanted.stack },
      },
      caller,
    }));
  await applySettings(trx, app, wanted);
  const scaled: Applied['scaled'] = [];
  for (const process of wanted.processes) {
    const change = await applyProcess(trx, app, process, context);
    if (change) scaled.push(change);
  }
  for (const sidecar of wanted.sidecars) await applySidecar(trx, app, sidecar);
  const routes_changed = await applyRoutes(trx, app, wanted, context);
  const bindings = await bindServices(trx, app, wanted, context);
  const request = { manifest: { name: wanted.name } };
  await recordAppEvent(trx, app, caller.actor, { what: 'apply_manifest', data: { request } });
  return { app_guid: app.guid, created: found === undefined, routes_changed, scaled, bindings };
}

async function applySettings(trx: Trx, app: FoundApp, wanted: ManifestApp): Promise<void> {
  const unknown = Object.keys(wanted.features ?? {}).find((name) => !isAppFeature(name));
  if (unknown !== undefined) throw unprocessable(`Features '${unknown}' is not a valid app feature`);
  if (wanted.lifecycle_type !== undefined && wanted.lifecycle_type !== app.lifecycle_type)
    throw unprocessable('Lifecycle type cannot be changed');
  if (app.lifecycle_type === 'docker') refuseBuildpackData(wanted);
  if (wanted.stack !== undefined) await checkStack(trx, wanted.stack);
  if (wanted.buildpacks) await checkBuildpacks(trx, wanted.buildpacks);
  await updateApp(trx, app.guid, {
    ...featureColumns(wanted.features ?? {}),
    ...(wanted.stack !== undefined && { stack: wanted.stack }),
    ...(wanted.buildpacks && { buildpacks: JSON.stringify(wanted.buildpacks) }),
    ...(wanted.env && {
      environment_variables: JSON.stringify(mergeEnvironment(app.environment_variables, wanted.env)),
    }),
    ...metadataColumns(app, wanted.metadata),
  });
}

async function applyProcess(
  trx: Trx,
  app: FoundApp,
  wanted: ManifestProcess,
  { deps, caller }: ApplyContext,
): Promise<Applied['scaled'][number] | undefined> {
  const { config } = deps;
  const found = await findProcessOfType(trx, app.guid, wanted.type);
  const process = found ?? (await insertProcess(trx, { app_guid: app.guid, type: wanted.type }, config));
  const { command, health_check, readiness_health_check } = wanted;
  const schemas = processSchemas(config);
  const update = parseBody(schemas.update, {
    ...(command !== undefined && { command: command === '' ? null : command }),
    ...(health_check && { health_check }),
    ...(readiness_health_check && { readiness_health_check }),
  });
  const changed =
    Object.keys(update).length === 0 ? process : await changeProcess(trx, { app, process }, update, caller.actor);
  const scale = parseBody(schemas.scale, {
    ...(wanted.instances !== undefined && { instances: wanted.instances }),
    ...(wanted.memory_in_mb !== undefined && { memory_in_mb: wanted.memory_in_mb }),
    ...(wanted.disk_in_mb !== undefined && { disk_in_mb: wanted.disk_in_mb }),
    ...(wanted.log_rate_limit_in_bytes_per_second !== undefined && {
      log_rate_limit_in_bytes_per_second: wanted.log_rate_limit_in_bytes_per_second,
    }),
  });
  if (Object.keys(scale).length === 0) return undefined;
  const isSame = Object.entries(scale).every(([name, value]) =>
    Object.entries(changed).some(([key, held]) => key === name && held === value),
  );
  if (isSame) return undefined;
  await refuseWhileDeploying(trx, process, 'scale');
  const scaled = await scaleProcess(trx, { app, process: changed }, scale, caller.actor);
  return scaled.instances === process.instances
    ? undefined
    : { guid: process.guid, instances_before: process.instances };
}

async function applySidecar(trx: Trx, app: FoundApp, wanted: ManifestSidecar): Promise<void> {
  const columns = {
    ...(wanted.command !== undefined && { command: wanted.command }),
    ...(wanted.process_types && { process_types: JSON.stringify(wanted.process_types) }),
    ...(wanted.memory_in_mb !== undefined && { memory_in_mb: wanted.memory_in_mb }),
  };
  const found = await trx
    .selectFrom('sidecars')
    .select('guid')
    .where('app_guid', '=', app.guid)
    .where('name', '=', wanted.name)
    .executeTakeFirst();
  if (found) {
    await trx
      .updateTable('sidecars')
      .set({ ...columns, updated_at: sql<Date>`now()` })
      .where('guid', '=', found.guid)
      .execute();
    return;
  }
  if (wanted.command === undefined || !wanted.process_types) {
    throw unprocessable(`Sidecar "${wanted.name}": Command and process types can't be blank`);
  }
  await trx
    .insertInto('sidecars')
    .values({
      guid: randomUUID(),
      app_guid: app.guid,
      name: wanted.name,
      command: wanted.command,
      process_types: JSON.stringify(wanted.process_types),
      memory_in_mb: wanted.memory_in_mb ?? null,
    })
    .execute();
}
