import { randomUUID } from 'node:crypto';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import type { CloudControllerConfig } from '../config.ts';
import { type Actor, recordAuditEvent } from '../events.ts';
import { isolationSegmentOf } from '../isolation-segments/store.ts';
import { deleteProcesses, insertProcess, processesOfApp, updateProcess } from '../processes/store.ts';
import { captureRevision } from '../revisions/capture.ts';
import type { AppsSide } from '../runtime/apps-side.ts';
import type { Db, Trx } from '../tables.ts';
import type { AppRow, DropletRow, ProcessRow, SidecarSpec, StartedAs } from '../tables-apps.ts';
import { recordProcessUsage } from '../usage/record.ts';
import { checkQuota } from './quota.ts';
import { type FoundApp, lockApp, updateApp } from './store.ts';

/** What a change of an app left to be told the DEAs once it is committed. */
export interface Aftermath {
  /** Versions whose instances go. */
  stop: Pick<ProcessRow, 'guid' | 'version'>[];
  /** Processes that are no more. */
  gone: Pick<ProcessRow, 'guid' | 'version' | 'app_guid'>[];
  /** Processes whose desired state is to be told, and missing instances started. */
  start: string[];
  say?: string;
}

export const NOTHING: Aftermath = { stop: [], gone: [], start: [] };

export function carryOut(apps: AppsSide, app_guid: string, aftermath: Aftermath): void {
  if (aftermath.say !== undefined) apps.say(app_guid, aftermath.say);
  for (const process of aftermath.stop) apps.dispatcher.stopVersion(process);
  for (const process of aftermath.gone) apps.dispatcher.stopGone(process);
  apps.dispatcher.startMissing(aftermath.start);
}

export interface LifecycleContext {
  config: CloudControllerConfig;
  actor: Actor;
}

/** Errors: 422 when there is no droplet; quota errors. Starting a started app changes nothing. */
export async function startApp(trx: Trx, app: FoundApp, context: LifecycleContext): Promise<Aftermath> {
  const current = await lockApp(trx, app.guid);
  if (!current) throw notFound('App');
  await requireDroplet(trx, current);
  if (current.state === 'STARTED') return NOTHING;
  await updateApp(trx, app.guid, { state: 'STARTED' });
  const started = await startProcesses(trx, app, context);
  await recordAppEvent(trx, app, context.actor, 'start');
  return { ...NOTHING, start: started.map(({ guid }) => guid), say: `Starting app with guid ${app.guid}` };
}

export async function stopApp(trx: Trx, app: FoundApp, context: LifecycleContext): Promise<Aftermath> {
  const current = await lockApp(trx, app.guid);
  if (!current) throw notFound('App');
  if (current.state === 'STOPPED') return NOTHING;
  await updateApp(trx, app.guid, { state: 'STOPPED' });
  const processes = await processesOfApp(trx, app.guid);
  const stopped: ProcessRow[] = [];
  for (const process of processes) {
    if (process.state === 'STARTED') stopped.push(await updateProcess(trx, process.guid, { state: 'STOPPED' }));
  }
  await recordProcessUsage(trx, app, stopped, 'STOPPED');
  await recordAppEvent(trx, app, context.actor, 'stop');
  const start = stopped.map(({ guid }) => guid);
  return { ...NOTHING, stop: stopped, start, say: `Stopping app with guid ${app.guid}` };
}

/** All instances go, and come back with what is now set. */
export async function restartApp(trx: Trx, app: FoundApp, context: LifecycleContext): Promise<Aftermath> {
  const current = await lockApp(trx, app.guid);
  if (!current) throw notFound('App');
  await requireDroplet(trx, current);
  const before = (await processesOfApp(trx, app.guid)).filter((process) => process.state === 'STARTED');
  await updateApp(trx, app.guid, { state: 'STARTED' });
  const started = await startProcesses(trx, app, context);
  await recordAppEvent(trx, app, context.actor, 'restart');
  const start = started.map(({ guid }) => guid);
  return { ...NOTHING, stop: before, start, say: `Restarting app with guid ${app.guid}` };
}

/** Gives every process a new version with what is now set, and makes a revision when that differs from the last. */
async function startProcesses(trx: Trx, app: FoundApp, context: LifecycleContext): Promise<ProcessRow[]> {
  const current = await trx.selectFrom('apps').selectAll().where('guid', '=', app.guid).executeTakeFirstOrThrow();
  const droplet = await requireDroplet(trx, current);
  const processes = await processesOfApp(trx, app.guid);
  await checkQuota(trx, app, { processes, starting: true });
  const revision = await captureRevision(trx, current, { droplet, keep: context.config.limits.revisions_kept });
  const from = { droplet, ...(await startedWith(trx, app.guid)) };
  const started: ProcessRow[] = [];
  for (const process of processes) {
    const as = startedAs(current, process, from);
    started.push(
      await updateProcess(trx, process.guid, {
        state: 'STARTED',
        version: randomUUID(),
        started_as: JSON.stringify(as),
        revision_guid: revision?.guid ?? process.revision_guid,
      }),
    );
  }
  await recordProcessUsage(trx, app, started, 'STARTED');
  return started;
}

export interface StartedWith {
  sidecars: readonly SidecarSpec[];
  isolation_segment: string | null;
}

/** What all processes of an app are started with besides what its row says. */
export async function startedWith(db: Db, app_guid: string): Promise<StartedWith> {
  const [sidecars, isolation_segment] = [await sidecarsOf(db, app_guid), await isolationSegmentOf(db, app_guid)];
  return { sidecars, isolation_segment };
}

/** What instances of a process would be started with now. */
export function startedAs(app: AppRow, process: ProcessRow, from: { droplet: DropletRow } & StartedWith): StartedAs {
  return {
    droplet_guid: from.droplet.guid,
    command: process.command ?? from.droplet.process_types?.[process.type] ?? '',
    environment_variables: app.environment_variables,
    memory_in_mb: process.memory_in_mb,
    disk_in_mb: process.disk_in_mb,
    log_rate_limit_in_bytes_per_second: process.log_rate_limit_in_bytes_per_second,
    health_check: process.health_check,
    readiness_health_check: process.readiness_health_check,
    sidecars: from.sidecars.filter((sidecar) => sidecar.process_types.includes(process.type)),
    isolation_segment: from.isolation_segment,
  };
}

export async function sidecarsOf(db: Db, app_guid: string): Promise<SidecarSpec[]> {
  return await db
    .selectFrom('sidecars')
    .select(['name', 'command', 'process_types', 'memory_in_mb'])
    .where('app_guid', '=', app_guid)
    .orderBy('id')
    .execute();
}

export async function requireDroplet(db: Db, app: AppRow): Promise<DropletRow> {
  const droplet =
    app.droplet_guid === null
      ? undefined
      : await db.selectFrom('droplets').selectAll().where('guid', '=', app.droplet_guid).executeTakeFirst();
  if (droplet?.state !== 'STAGED') throw unprocessable('Assign a droplet before starting this app.');
  return droplet;
}

/**
 * Makes a droplet the app's current one; it runs from the next start on. Processes follow its process types: new ones are
 * made, and those go that it does not name and that nobody gave a command.
 */
export async function assignDroplet(
  trx: Trx,
  app: FoundApp,
  droplet_guid: string,
  context: LifecycleContext,
): Promise<{ app: AppRow; aftermath: Aftermath }> {
  if (!(await lockApp(trx, app.guid))) throw notFound('App');
  const droplet = await trx.selectFrom('droplets').selectAll().where('guid', '=', droplet_guid).executeTakeFirst();
  if (droplet?.app_guid !== app.guid || droplet.state !== 'STAGED') {
    throw unprocessable('Unable to assign current droplet. Ensure the droplet exists and belongs to this app.');
  }
  const updated = await updateApp(trx, app.guid, { droplet_guid });
  const gone = await matchProcesses(trx, updated, droplet, context);
  await recordAppEvent(trx, app, context.actor, { what: 'droplet.mapped', data: { request: { droplet_guid } } });
  return { app: updated, aftermath: { ...NOTHING, gone } };
}

async function matchProcesses(
  trx: Trx,
  app: AppRow,
  droplet: DropletRow,
  context: LifecycleContext,
): Promise<ProcessRow[]> {
  const types = new Set(['web', ...Object.keys(droplet.process_types ?? {})]);
  const processes = await processesOfApp(trx, app.guid);
  const known = new Set(processes.map((process) => process.type));
  for (const type of types) {
    if (known.has(type)) continue;
    const made = await insertProcess(trx, { app_guid: app.guid, type }, context.config);
    if (app.state !== 'STARTED') continue;
    const as = startedAs(app, made, { droplet, ...(await startedWith(trx, app.guid)) });
    await updateProcess(trx, made.guid, { state: 'STARTED', started_as: JSON.stringify(as) });
  }
  const unnamed = processes.filter((process) => !types.has(process.type) && process.command === null);
  return await deleteProcesses(
    trx,
    unnamed.map(({ guid }) => guid),
  );
}

export async function recordAppEvent(
  trx: Db,
  app: { guid: string; name: string; space_guid: string; organization_guid: string },
  actor: Actor,
  event: string | { what: string; data: Record<string, unknown> },
): Promise<void> {
  const { what, data } = typeof event === 'string' ? { what: event, data: {} } : event;
  await recordAuditEvent(trx, {
    type: `audit.app.${what}`,
    actor,
    target: { guid: app.guid, type: 'app', name: app.name },
    data,
    space_guid: app.space_guid,
    organization_guid: app.organization_guid,
  });
}
