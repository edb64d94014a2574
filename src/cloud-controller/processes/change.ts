import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { checkQuota } from '../apps/quota.ts';
import { metadataColumns } from '../api/metadata.ts';
import { activeDeployment } from '../deployments/active.ts';
import { recordAuditEvent, type Actor } from '../events.ts';
import { recordProcessUsage } from '../usage/record.ts';
import type { FoundApp } from '../apps/store.ts';
import type { AppsSide } from '../runtime/apps-side.ts';
import type { Db, Trx } from '../tables.ts';
import type { ProcessHealthCheck, ProcessRow } from '../tables-apps.ts';
import type { ProcessScale, ProcessUpdate } from './schema.ts';
import { processesOfApp, updateProcess } from './store.ts';

/** Errors: 422 when a deployment is under way and the process is of its type. */
export async function refuseWhileDeploying(db: Db, process: ProcessRow, verb: 'scale' | 'update'): Promise<void> {
  if (process.type !== 'web' || !(await activeDeployment(db, process.app_guid))) return;
  throw unprocessable(`Cannot ${verb} this process while a deployment is in flight.`);
}

/** Instances change at once; memory and the like at the next start. Errors: 422 with the quota's words. */
export async function scaleProcess(
  trx: Trx,
  target: { app: FoundApp; process: ProcessRow },
  wanted: ProcessScale,
  actor: Actor,
): Promise<ProcessRow> {
  const { app, process } = target;
  const change = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
  const next = { ...process, ...change };
  const others = (await processesOfApp(trx, app.guid)).filter(({ guid }) => guid !== process.guid);
  await checkQuota(trx, app, { processes: [...others, next], starting: false });
  const updated = await updateProcess(trx, process.guid, change);
  if (process.state === 'STARTED') await recordProcessUsage(trx, app, [updated], 'STARTED');
  await recordProcessEvent(trx, { app, process }, actor, { what: 'scale', data: { request: wanted } });
  return updated;
}

/** Tells the DEAs of the instances that are now wanted, or are not any more. */
export function carryOutScale(apps: AppsSide, before: ProcessRow, after: ProcessRow): void {
  if (after.state !== 'STARTED' || before.instances === after.instances) return;
  if (after.instances < before.instances) {
    const indices = Array.from({ length: before.instances - after.instances }, (_, at) => after.instances + at);
    apps.dispatcher.stopIndices(after, indices);
  }
  apps.dispatcher.startMissing([after.guid]);
}

export async function changeProcess(
  trx: Trx,
  target: { app: FoundApp; process: ProcessRow },
  wanted: ProcessUpdate,
  actor: Actor,
): Promise<ProcessRow> {
  const { app, process } = target;
  const { health_check, readiness_health_check, metadata } = wanted;
  const updated = await updateProcess(trx, process.guid, {
    ...(wanted.command !== undefined && { command: wanted.command }),
    ...(health_check && { health_check: JSON.stringify(mergeCheck(process.health_check, health_check)) }),
    ...(readiness_health_check && {
      readiness_health_check: JSON.stringify(mergeCheck(process.readiness_health_check, readiness_health_check)),
    }),
    ...metadataColumns(process, metadata),
  });
  const data = { request: { ...wanted, ...(wanted.command !== undefined && { command: '[PRIVATE DATA HIDDEN]' }) } };
  await recordProcessEvent(trx, { app, process }, actor, { what: 'update', data });
  return updated;
}

/** What is not said stays, save that another type begins anew. */
function mergeCheck(
  current: ProcessHealthCheck,
  wanted: { type?: ProcessHealthCheck['type'] | undefined; data: Record<string, unknown> },
): ProcessHealthCheck {
  const type = wanted.type ?? current.type;
  const kept = type === current.type ? current.data : { timeout: current.data.timeout ?? null };
  return { type, data: { ...kept, ...wanted.data } };
}

export async function recordProcessEvent(
  trx: Db,
  target: { app: FoundApp; process: Pick<ProcessRow, 'guid' | 'type'> },
  actor: Actor,
  event: { what: string; data: Record<string, unknown> },
): Promise<void> {
  const { app, process } = target;
  await recordAuditEvent(trx, {
    type: `audit.app.process.${event.what}`,
    actor,
    target: { guid: app.guid, type: 'app', name: app.name },
    data: { process_guid: process.guid, process_type: process.type, ...event.data },
    space_guid: app.space_guid,
    organization_guid: app.organization_guid,
  });
}

export const instanceNotFound = (): CfError => new CfError('ResourceNotFound', 'Instance not found');
