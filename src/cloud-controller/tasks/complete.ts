import { sql } from 'kysely';
import type { TaskResult } from '#contracts/cloud-controller.ts';
import { findAppInSpace } from '../runtime/start-facts.ts';
import type { Db } from '../tables.ts';
import type { TaskRow } from '../tables-apps.ts';
import { recordWorkUsage } from '../usage/record.ts';

/** Takes a DEA's word for how a task ended. A task that was being cancelled has failed for that reason. */
export async function completeTask(
  db: Db,
  guid: string,
  result: Pick<TaskResult, 'failed' | 'failure_reason'>,
): Promise<'taken' | 'unknown' | 'ended'> {
  return await db.transaction().execute(async (trx) => {
    const task = await trx.selectFrom('tasks').selectAll().where('guid', '=', guid).forUpdate().executeTakeFirst();
    if (!task) return 'unknown';
    if (task.state === 'SUCCEEDED' || task.state === 'FAILED') return 'ended';
    const isCancelled = task.state === 'CANCELING';
    const failure_reason = isCancelled ? 'task was cancelled' : result.failed ? result.failure_reason : null;
    await trx
      .updateTable('tasks')
      .set({
        state: isCancelled || result.failed ? 'FAILED' : 'SUCCEEDED',
        failure_reason,
        leased_until: null,
        updated_at: sql<Date>`now()`,
      })
      .where('guid', '=', guid)
      .execute();
    await recordTaskUsage(trx, task, 'TASK_STOPPED');
    return 'taken';
  });
}

export async function recordTaskUsage(trx: Db, task: TaskRow, state: 'TASK_STARTED' | 'TASK_STOPPED'): Promise<void> {
  const app = await findAppInSpace(trx, task.app_guid);
  if (!app) return;
  const { guid, name } = task;
  await recordWorkUsage(trx, app, { state, memory_in_mb: task.memory_in_mb, task: { guid, name } });
}
