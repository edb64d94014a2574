import { sql } from 'kysely';
import { isInPermittedSpace, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import type { Db } from '../tables.ts';
import type { TaskRow } from '../tables-apps.ts';

export interface FoundTask extends TaskRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function tasksWithPlace(db: Db) {
  return db
    .selectFrom('tasks')
    .innerJoin('apps', 'apps.guid', 'tasks.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('tasks')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ]);
}

export async function findTask(db: Db, guid: string): Promise<FoundTask | undefined> {
  return await tasksWithPlace(db).where('tasks.guid', '=', guid).executeTakeFirst();
}

export async function listTasks(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; app_guid?: string },
): Promise<Page<FoundTask>> {
  let statement = tasksWithPlace(db).where(isInPermittedSpace(within.scope, 'apps.space_guid'));
  if (within.app_guid !== undefined) statement = statement.where('tasks.app_guid', '=', within.app_guid);
  return await selectPage(statement, {
    query,
    table: 'tasks',
    filters: {
      guids: 'tasks.guid',
      names: 'tasks.name',
      states: 'tasks.state',
      app_guids: 'tasks.app_guid',
      space_guids: 'apps.space_guid',
      organization_guids: 'spaces.organization_guid',
      sequence_ids: (values) => sql<boolean>`tasks.sequence_id::text = any(${values}::text[])`,
    },
  });
}

/** Takes the tasks that wait for a DEA and that nobody looks for one for. */
export async function leaseTasks(db: Db, lease_s: number): Promise<TaskRow[]> {
  const { rows } = await sql<TaskRow>`
    update tasks set leased_until = now() + make_interval(secs => ${lease_s})
    where guid in (
      select guid from tasks
      where state = 'PENDING' and dea is null and (leased_until is null or leased_until < now())
      order by id limit 20 for update skip locked
    )
    returning *`.execute(db);
  return rows;
}

/** False when it was cancelled or ended meanwhile. */
export async function noteRunning(db: Db, guid: string, dea: string): Promise<boolean> {
  const result = await db
    .updateTable('tasks')
    .set({ state: 'RUNNING', dea, leased_until: null, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .where('state', '=', 'PENDING')
    .executeTakeFirst();
  if (result.numUpdatedRows > 0n) return true;
  const task = await db.selectFrom('tasks').select('state').where('guid', '=', guid).executeTakeFirst();
  return task?.state === 'SUCCEEDED' || task?.state === 'FAILED';
}

/** Of a task that has not ended: whether it is cancelled now, and where it runs. Undefined when it has. */
export async function cancelTask(db: Db, guid: string): Promise<TaskRow | undefined> {
  return await db
    .updateTable('tasks')
    .set({ state: 'CANCELING', updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .where('state', 'in', ['PENDING', 'RUNNING', 'CANCELING'])
    .returningAll()
    .executeTakeFirst();
}
