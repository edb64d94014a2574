import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { ListQuery } from '../api/list.ts';
import { isInPermittedSpace, type Page, selectPage } from '../api/list-store.ts';
import type { Scope } from '../api/permissions.ts';
import type { CloudControllerConfig } from '../config.ts';
import type { Db } from '../tables.ts';
import type { ProcessRow } from '../tables-apps.ts';

export interface FoundProcess extends ProcessRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function processesWithPlace(db: Db) {
  return (
    db
      .selectFrom('processes')
      .leftJoin('apps', 'apps.guid', 'processes.app_guid')
      .leftJoin('spaces', 'spaces.guid', 'apps.space_guid')
      .leftJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
      .selectAll('processes')
      .select([
        'apps.space_guid as space_guid',
        'spaces.organization_guid as organization_guid',
        'organizations.suspended as organization_suspended',
      ])
      // Each has its place; as outer joins those that nothing asks for are left out by PostgreSQL.
      .$castTo<FoundProcess>()
  );
}

export async function findProcess(db: Db, guid: string): Promise<FoundProcess | undefined> {
  return await processesWithPlace(db).where('processes.guid', '=', guid).executeTakeFirst();
}

/** The newest process of a type: during a rolling deployment there are several of the type web. */
export async function findProcessOfType(db: Db, app_guid: string, type: string): Promise<FoundProcess | undefined> {
  return await processesWithPlace(db)
    .where('processes.app_guid', '=', app_guid)
    .where('processes.type', '=', type)
    .orderBy('processes.id', 'desc')
    .executeTakeFirst();
}

export async function processesOfApp(db: Db, app_guid: string): Promise<ProcessRow[]> {
  return await db.selectFrom('processes').selectAll().where('app_guid', '=', app_guid).orderBy('id').execute();
}

export async function listProcesses(
  db: Db,
  query: ListQuery,
  within: { scope: Scope; app_guid?: string },
): Promise<Page<FoundProcess>> {
  let statement = processesWithPlace(db).where(isInPermittedSpace(within.scope, 'apps.space_guid'));
  if (within.app_guid !== undefined) statement = statement.where('processes.app_guid', '=', within.app_guid);
  return await selectPage(statement, {
    query,
    table: 'processes',
    filters: {
      guids: 'processes.guid',
      types: 'processes.type',
      app_guids: 'processes.app_guid',
      space_guids: 'apps.space_guid',
      organization_guids: 'spaces.organization_guid',
    },
  });
}

export type ProcessDefaults = Pick<CloudControllerConfig, 'defaults'>;

export interface NewProcess {
  guid?: string;
  app_guid: string;
  type: string;
  instances?: number;
  command?: string | null;
}

/** A new process of an app, as the platform's defaults have it: one instance for web, none for others. */
export async function insertProcess(trx: Db, process: NewProcess, { defaults }: ProcessDefaults): Promise<ProcessRow> {
  const isWeb = process.type === 'web';
  return await trx
    .insertInto('processes')
    .values({
      guid: process.guid ?? randomUUID(),
      app_guid: process.app_guid,
      type: process.type,
      version: randomUUID(),
      instances: process.instances ?? (isWeb ? 1 : 0),
      command: process.command ?? null,
      memory_in_mb: defaults.app_memory_mb,
      disk_in_mb: defaults.app_disk_mb,
      log_rate_limit_in_bytes_per_second: defaults.app_log_rate_limit_bytes_per_second,
      health_check: JSON.stringify({ type: isWeb ? 'port' : 'process', data: {} }),
      readiness_health_check: JSON.stringify({ type: 'process', data: {} }),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export type ProcessChange = Partial<{
  state: ProcessRow['state'];
  version: string;
  command: string | null;
  instances: number;
  memory_in_mb: number;
  disk_in_mb: number;
  log_rate_limit_in_bytes_per_second: number;
  health_check: string;
  readiness_health_check: string;
  started_as: string;
  revision_guid: string | null;
  deployment_guid: string | null;
  labels: string;
  annotations: string;
}>;

export async function updateProcess(trx: Db, guid: string, change: ProcessChange): Promise<ProcessRow> {
  return await trx
    .updateTable('processes')
    .set({ ...change, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .returningAll()
    .executeTakeFirstOrThrow();
}

export async function deleteProcesses(trx: Db, guids: readonly string[]): Promise<ProcessRow[]> {
  if (guids.length === 0) return [];
  return await trx.deleteFrom('processes').where('guid', 'in', guids).returningAll().execute();
}
