import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import {
  type Aftermath,
  assignDroplet,
  type LifecycleContext,
  NOTHING,
  recordAppEvent,
  startedWith,
  startApp,
  startedAs,
} from '../apps/lifecycle.ts';
import { checkQuota } from '../apps/quota.ts';
import { type FoundApp, lockApp, updateApp } from '../apps/store.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import { processesOfApp, updateProcess } from '../processes/store.ts';
import { captureRevision } from '../revisions/capture.ts';
import { findRevision } from '../revisions/endpoints.ts';
import type { Trx } from '../tables.ts';
import type { AppRow, DeploymentRow, ProcessRow, RevisionRow } from '../tables-apps.ts';
import { activeDeployment } from './active.ts';
import { endDeployment } from './driver.ts';
import { targetOf } from './plan.ts';

export interface DeploymentWanted {
  droplet_guid: string | undefined;
  revision_guid: string | undefined;
  strategy: 'rolling' | 'canary';
  max_in_flight: number;
  web_instances: number | undefined;
  memory_in_mb: number | undefined;
  disk_in_mb: number | undefined;
  log_rate_limit_in_bytes_per_second: number | undefined;
  canary_steps: { instance_weight: number }[];
  metadata: MetadataUpdate | undefined;
}

/** Begins a deployment; one of a stopped app is at its end at once. A deployment under way is superseded. */
export async function createDeployment(
  trx: Trx,
  app: FoundApp,
  wanted: DeploymentWanted,
  context: LifecycleContext,
): Promise<{ deployment: DeploymentRow; aftermath: Aftermath }> {
  const current = await lockApp(trx, app.guid);
  if (!current) throw notFound('App');
  const rollback = await rollbackOf(trx, current, wanted.revision_guid);
  const droplet_guid = rollback?.droplet_guid ?? wanted.droplet_guid ?? current.droplet_guid;
  if (droplet_guid === null) {
    throw unprocessable(
      'Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.',
    );
  }
  if (rollback) await restoreRevision(trx, app, rollback);
  const { app: assigned, aftermath } = await assignDroplet(trx, app, droplet_guid, context);
  await recordAppEvent(trx, app, context.actor, { what: 'deployment.create', data: { droplet_guid } });
  const base = { previous_droplet_guid: current.droplet_guid, droplet_guid };
  if (current.state === 'STOPPED') {
    const { start, say } = await startApp(trx, app, context);
    const web = await newestWeb(trx, app.guid);
    const deployment = await insertDeployment(trx, app, wanted, { ...base, new_process: web, isDone: true, web });
    return { deployment, aftermath: { ...aftermath, start, ...(say !== undefined && { say }) } };
  }
  const droplet = await trx
    .selectFrom('droplets')
    .selectAll()
    .where('guid', '=', droplet_guid)
    .executeTakeFirstOrThrow();
  const revision = await captureRevision(trx, assigned, {
    droplet,
    keep: context.config.limits.revisions_kept,
    ...(rollback && { rollback_to: rollback.version }),
  });
  const running = await activeDeployment(trx, app.guid);
  if (running) await endDeployment(trx, running.guid, 'SUPERSEDED', null);
  const web = await newestWeb(trx, app.guid);
  const settled = running?.web_instances ?? web.instances;
  const web_instances = wanted.web_instances ?? settled;
  const plan = { strategy: wanted.strategy, web_instances, canary_step: 1, canary_steps: wanted.canary_steps };
  const instances = Math.min(wanted.max_in_flight, targetOf(plan));
  const made = await insertWebProcess(trx, web, { wanted, instances });
  const processes = await processesOfApp(trx, app.guid);
  await checkQuota(trx, app, { processes, starting: false });
  const started = await updateProcess(trx, made.guid, {
    started_as: JSON.stringify(startedAs(assigned, made, { droplet, ...(await startedWith(trx, app.guid)) })),
    revision_guid: revision?.guid ?? null,
  });
  const deployment = await insertDeployment(trx, app, wanted, {
    ...base,
    new_process: started,
    isDone: false,
    web: { ...web, instances: settled },
    ...(revision && { revision }),
  });
  await updateProcess(trx, started.guid, { deployment_guid: deployment.guid });
  const say = `Creating deployment for app with guid ${app.guid}`;
  return { deployment, aftermath: { ...NOTHING, ...aftermath, start: [started.guid], say } };
}

async function newestWeb(trx: Trx, app_guid: string): Promise<ProcessRow> {
  const webs = (await processesOfApp(trx, app_guid)).filter((process) => process.type === 'web');
  const newest = webs.at(-1);
  if (!newest) throw unprocessable('The app has no web process to deploy');
  return newest;
}

/** A second web process beside the old one, with its settings and those that the deployment changes. */
async function insertWebProcess(
  trx: Trx,
  old: ProcessRow,
  { wanted, instances }: { wanted: DeploymentWanted; instances: number },
): Promise<ProcessRow> {
  return await trx
    .insertInto('processes')
    .values({
      guid: randomUUID(),
      app_guid: old.app_guid,
      type: 'web',
      state: 'STARTED',
      version: randomUUID(),
      command: old.command,
      user: old.user,
      instances,
      memory_in_mb: wanted.memory_in_mb ?? old.memory_in_mb,
      disk_in_mb: wanted.disk_in_mb ?? old.disk_in_mb,
      log_rate_limit_in_bytes_per_second:
        wanted.log_rate_limit_in_bytes_per_second ?? old.log_rate_limit_in_bytes_per_second,
      health_check: JSON.stringify(old.health_check),
      readiness_health_check: JSON.stringify(old.readiness_health_check),
      labels: JSON.stringify(old.labels),
      annotations: JSON.stringify(old.annotations),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

async function insertDeployment(
  trx: Trx,
  app: FoundApp,
  wanted: DeploymentWanted,
  made: {
    droplet_guid: string;
    previous_droplet_guid: string | null;
    new_process: ProcessRow;
    web: ProcessRow;
    isDone: boolean;
    revision?: RevisionRow;
  },
): Promise<DeploymentRow> {
  const { memory_in_mb, disk_in_mb, log_rate_limit_in_bytes_per_second, web_instances } = wanted;
  const options = { memory_in_mb, disk_in_mb, log_rate_limit_in_bytes_per_second, web_instances };
  return await trx
    .insertInto('deployments')
    .values({
      guid: randomUUID(),
      app_guid: app.guid,
      strategy: wanted.strategy,
      status_value: made.isDone ? 'FINALIZED' : 'ACTIVE',
      status_reason: made.isDone ? 'DEPLOYED' : 'DEPLOYING',
      max_in_flight: wanted.max_in_flight,
      web_instances: wanted.web_instances ?? made.web.instances,
      options: JSON.stringify(options),
      canary_steps: JSON.stringify(wanted.canary_steps),
      droplet_guid: made.droplet_guid,
      previous_droplet_guid: made.previous_droplet_guid,
      revision_guid: made.revision?.guid ?? made.new_process.revision_guid,
      revision_version: made.revision?.version ?? null,
      new_process_guid: made.new_process.guid,
      original_web_instances: made.web.instances,
      error: null,
      ...metadataColumns(undefined, wanted.metadata),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Errors: 422 when it cannot be gone back to. */
async function rollbackOf(
  trx: Trx,
  app: AppRow,
  guid: string | undefined,
): Promise<(RevisionRow & { droplet_guid: string }) | undefined> {
  if (guid === undefined) return undefined;
  if (!app.revisions_enabled) {
    throw unprocessable('Cannot create deployment from a revision for an app without revisions enabled');
  }
  const revision = await findRevision(trx, guid);
  if (revision?.app_guid !== app.guid) throw unprocessable('The revision does not exist');
  const { droplet_guid } = revision;
  if (!revision.deployable || droplet_guid === null) {
    throw unprocessable('Unable to deploy this revision, the droplet for this revision is no longer available.');
  }
  return { ...revision, droplet_guid };
}

/** Environment, commands and sidecars as the revision has them; its droplet is assigned by who calls. */
async function restoreRevision(trx: Trx, app: FoundApp, revision: RevisionRow): Promise<void> {
  await updateApp(trx, app.guid, { environment_variables: JSON.stringify(revision.environment_variables) });
  for (const process of await processesOfApp(trx, app.guid)) {
    const kept = revision.processes[process.type];
    if (kept) await updateProcess(trx, process.guid, { command: kept.command });
  }
  await trx.deleteFrom('sidecars').where('app_guid', '=', app.guid).execute();
  for (const sidecar of revision.sidecars) {
    await trx
      .insertInto('sidecars')
      .values({
        guid: randomUUID(),
        app_guid: app.guid,
        name: sidecar.name,
        command: sidecar.command,
        process_types: JSON.stringify(sidecar.process_types),
        memory_in_mb: sidecar.memory_in_mb,
      })
      .onConflict((conflict) => conflict.constraint('sidecars_name').doUpdateSet({ updated_at: sql<Date>`now()` }))
      .execute();
  }
}
