import { sql } from 'kysely';
import type { Db } from '../tables.ts';
import type { OperationColumns, OperationState } from '../tables-services.ts';

/** What operations are done to. */
export type OperationTable = 'service_instances' | 'service_credential_bindings' | 'service_route_bindings';

export async function findOperation(
  db: Db,
  table: OperationTable,
  guid: string,
): Promise<OperationColumns | undefined> {
  const { rows } = await sql<OperationColumns>`
    select operation_type, operation_state, operation_description, operation_created_at, operation_updated_at,
      operation_job_guid
    from ${sql.table(table)} where guid = ${guid}`.execute(db);
  return rows[0];
}

const MAX_DESCRIPTION = 10_000;

/** Writes how an operation goes on, if the job is the one that does it. False: another has taken over, or it is gone. */
export async function moveOperation(
  db: Db,
  of: { table: OperationTable; guid: string; job_guid: string },
  to: { state: OperationState; description: string },
): Promise<boolean> {
  const description = to.description.replaceAll('\0', '').toWellFormed().slice(0, MAX_DESCRIPTION);
  const { numAffectedRows } = await sql`
    update ${sql.table(of.table)}
    set operation_state = ${to.state}, operation_description = ${description}, operation_updated_at = now(),
      updated_at = now()
    where guid = ${of.guid} and operation_job_guid = ${of.job_guid}`.execute(db);
  return (numAffectedRows ?? 0n) > 0n;
}

export interface LostOperation {
  guid: string;
  operation_type: 'create' | 'update' | 'delete';
  job_guid: string;
}

/** Operations under way whose job has ended or is no more: nobody would ever end them. */
export async function lostOperations(db: Db, table: OperationTable): Promise<LostOperation[]> {
  const { rows } = await sql<LostOperation>`
    select t.guid, t.operation_type, t.operation_job_guid as job_guid
    from ${sql.table(table)} t left join jobs j on j.guid = t.operation_job_guid
    where t.operation_state in ('initial', 'in progress') and t.operation_job_guid is not null
      and coalesce(j.state in ('COMPLETE', 'FAILED'), true)`.execute(db);
  return rows;
}
