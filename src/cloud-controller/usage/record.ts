import { randomUUID } from 'node:crypto';
import type { Db } from '../tables.ts';
import type { ProcessRow } from '../tables-apps.ts';

interface UsedApp {
  guid: string;
  name: string;
  space_guid: string;
  space_name: string;
  organization_guid: string;
}

/** Writes what processes hold from now on, one usage event each. */
export async function recordProcessUsage(
  trx: Db,
  app: UsedApp,
  processes: readonly ProcessRow[],
  state: 'STARTED' | 'STOPPED',
): Promise<void> {
  if (processes.length === 0) return;
  await trx
    .insertInto('app_usage_events')
    .values(
      processes.map((process) => ({
        guid: randomUUID(),
        state,
        previous_state: state === 'STARTED' ? 'STOPPED' : 'STARTED',
        app_guid: app.guid,
        app_name: app.name,
        process_guid: process.guid,
        process_type: process.type,
        space_guid: app.space_guid,
        space_name: app.space_name,
        organization_guid: app.organization_guid,
        buildpack_guid: null,
        buildpack_name: null,
        task_guid: null,
        task_name: null,
        memory_in_mb_per_instance: process.memory_in_mb,
        previous_memory_in_mb_per_instance: process.memory_in_mb,
        instance_count: process.instances,
        previous_instance_count: process.instances,
      })),
    )
    .execute();
}

/** Writes that staging or a task begins or ends to hold memory. */
export async function recordWorkUsage(
  trx: Db,
  app: UsedApp,
  work: {
    state: 'STAGING_STARTED' | 'STAGING_STOPPED' | 'TASK_STARTED' | 'TASK_STOPPED';
    memory_in_mb: number;
    task?: { guid: string; name: string };
  },
): Promise<void> {
  await trx
    .insertInto('app_usage_events')
    .values({
      guid: randomUUID(),
      state: work.state,
      previous_state: null,
      app_guid: app.guid,
      app_name: app.name,
      process_guid: null,
      process_type: null,
      space_guid: app.space_guid,
      space_name: app.space_name,
      organization_guid: app.organization_guid,
      buildpack_guid: null,
      buildpack_name: null,
      task_guid: work.task?.guid ?? null,
      task_name: work.task?.name ?? null,
      memory_in_mb_per_instance: work.memory_in_mb,
      previous_memory_in_mb_per_instance: null,
      instance_count: 1,
      previous_instance_count: null,
    })
    .execute();
}
