import type { DropletExited } from '#contracts/dea.ts';
import type { StartRequest, StopRequest } from '#contracts/health-manager.ts';
import { recordAuditEvent } from '../events.ts';
import type { Db } from '../tables.ts';
import type { ProcessRow } from '../tables-apps.ts';
import { findAppInSpace } from './start-facts.ts';

/** What to do about a start that the health manager asks for; the database has the last word. */
export function judgeStart(
  request: StartRequest,
  process: Pick<ProcessRow, 'version' | 'instances' | 'state' | 'started_as'> | undefined,
): { start: true } | { start: false; why: string } {
  if (!process) return { start: false, why: 'no such process' };
  if (process.state !== 'STARTED') return { start: false, why: 'stopped' };
  if (process.version !== request.version) return { start: false, why: 'another version' };
  if (process.started_as === null) return { start: false, why: 'not staged' };
  if (request.instance_index >= process.instances) return { start: false, why: 'index beyond instances' };
  return { start: true };
}

/** Whether an instance that the health manager wants gone may go. Source: cloud_controller_ng's hm9000 respondent. */
export function judgeStop(
  request: StopRequest,
  process: Pick<ProcessRow, 'version' | 'instances' | 'state'> | undefined,
): boolean {
  if (!process || process.state !== 'STARTED') return true;
  return request.is_duplicate || process.version !== request.version || request.instance_index >= process.instances;
}

const MAX_DESCRIPTION = 4096;
const MAX_LINES = 10;

/** Writes both events of a crash, `audit.app.process.crash` and `app.crash`. Nothing for an app that is gone. */
export async function recordCrash(db: Db, event: DropletExited): Promise<void> {
  const app = await findAppInSpace(db, event.app);
  const process = await db
    .selectFrom('processes')
    .select(['guid', 'type'])
    .where('guid', '=', event.droplet)
    .executeTakeFirst();
  if (!app || !process) return;
  const data = {
    instance: event.instance,
    index: event.index,
    cell_id: event.dea,
    exit_status: event.exit_status,
    exit_description: event.exit_description.slice(0, MAX_DESCRIPTION),
    reason: event.reason,
    ...(event.last_output && { last_output: event.last_output.slice(-MAX_LINES).map((line) => line.slice(0, 500)) }),
  };
  const common = {
    target: { guid: app.guid, type: 'app', name: app.name },
    space_guid: app.space_guid,
    organization_guid: app.organization_guid,
  };
  await db.transaction().execute(async (trx) => {
    await recordAuditEvent(trx, {
      ...common,
      type: 'audit.app.process.crash',
      actor: { guid: process.guid, type: 'process', name: process.type },
      data,
    });
    await recordAuditEvent(trx, {
      ...common,
      type: 'app.crash',
      actor: { guid: app.guid, type: 'app', name: app.name },
      data,
    });
  });
}
