import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { currentRequest } from '#kernel/request-scope.ts';
import type { Db, JobError, JobRow } from '../tables.ts';

export interface NewJob {
  operation: string;
  /** What the job's link leads to: `{ type: 'organizations', guid }`, `type` as in its path. */
  resource?: { type: string; guid: string } | undefined;
  payload: unknown;
  user_guid: string | null;
}

/** Puts a job into the queue, in the transaction of the request that asks for it. Returns its guid. */
export async function insertJob(db: Db, job: NewJob): Promise<string> {
  const guid = randomUUID();
  await db
    .insertInto('jobs')
    .values({
      guid,
      operation: job.operation,
      resource_type: job.resource?.type ?? null,
      resource_guid: job.resource?.guid ?? null,
      payload: JSON.stringify(job.payload ?? {}),
      user_guid: job.user_guid,
      request_id: currentRequest()?.request_id ?? null,
      locked_by: null,
      locked_until: null,
    })
    .execute();
  return guid;
}

export async function findJob(db: Db, guid: string): Promise<JobRow | undefined> {
  return await db.selectFrom('jobs').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** The oldest thousand that have not ended. */
export async function jobsUnderWay(db: Db) {
  return await db
    .selectFrom('jobs')
    .select(['guid', 'operation', 'state', 'created_at', 'attempts'])
    .where('state', 'in', ['PROCESSING', 'POLLING'] as const)
    .orderBy('id')
    .limit(1000)
    .$narrowType<{ state: 'PROCESSING' | 'POLLING' }>()
    .execute();
}

/** Takes the oldest job that is due and of these operations, and that nobody holds. */
export async function takeJob(
  db: Db,
  worker: { name: string; lease_s: number; operations: readonly string[] },
): Promise<JobRow | undefined> {
  const { rows } = await sql<JobRow>`
    update jobs set locked_by = ${worker.name}, locked_until = now() + make_interval(secs => ${worker.lease_s}),
      attempts = attempts + 1
    where guid = (
      select guid from jobs
      where state in ('PROCESSING', 'POLLING') and run_at <= now() and (locked_until is null or locked_until < now())
        and operation = any(${worker.operations}::text[])
      order by run_at, id limit 1 for update skip locked
    )
    returning *`.execute(db);
  return rows[0];
}

/** Whether the lease is still ours, renewed. */
export async function renewLease(db: Db, held: { guid: string; name: string; lease_s: number }): Promise<boolean> {
  const result = await db
    .updateTable('jobs')
    .set({ locked_until: sql<Date>`now() + make_interval(secs => ${held.lease_s})` })
    .where('guid', '=', held.guid)
    .where('locked_by', '=', held.name)
    .where('state', 'in', ['PROCESSING', 'POLLING'])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

type End = { state: 'COMPLETE'; warnings: readonly string[] } | { state: 'FAILED'; errors: readonly JobError[] };

/** Ends a job that is still held by `name`. False when it isn't: another worker has it, or it ended. */
export async function endJob(db: Db, held: { guid: string; name: string }, end: End): Promise<boolean> {
  const result = await db
    .updateTable('jobs')
    .set({
      state: end.state,
      locked_by: null,
      locked_until: null,
      updated_at: sql<Date>`now()`,
      ...(end.state === 'COMPLETE'
        ? { warnings: JSON.stringify(end.warnings.map((detail) => ({ detail }))) }
        : { errors: JSON.stringify(end.errors) }),
    })
    .where('guid', '=', held.guid)
    .where('locked_by', '=', held.name)
    .where('state', 'in', ['PROCESSING', 'POLLING'])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Puts a job back, to be taken again after a while. Attempts count anew when it goes on of its own will. */
export async function postponeJob(
  db: Db,
  held: { guid: string; name: string },
  again: { in_ms: number; state: 'PROCESSING' | 'POLLING'; payload?: unknown },
): Promise<void> {
  await db
    .updateTable('jobs')
    .set({
      state: again.state,
      run_at: sql<Date>`now() + make_interval(secs => ${again.in_ms / 1000})`,
      locked_by: null,
      locked_until: null,
      updated_at: sql<Date>`now()`,
      ...(again.state === 'POLLING' && { attempts: 0 }),
      ...(again.payload !== undefined && { payload: JSON.stringify(again.payload) }),
    })
    .where('guid', '=', held.guid)
    .where('locked_by', '=', held.name)
    .execute();
}

/** Ends, as an operator, a job in whatever hands; its worker finds its lease gone. False: no such job, or it had ended. */
export async function cancelJob(db: Db, guid: string): Promise<boolean> {
  const result = await db
    .updateTable('jobs')
    .set({
      state: 'FAILED',
      locked_by: null,
      locked_until: null,
      updated_at: sql<Date>`now()`,
      errors: JSON.stringify([{ code: 10009, title: 'CF-UnableToPerform', detail: 'An operator ended this job.' }]),
    })
    .where('guid', '=', guid)
    .where('state', 'in', ['PROCESSING', 'POLLING'])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Fails what has been going on without a step for longer than allowed (one that polls takes as long as its polling), and forgets what ended long ago. */
export async function sweepJobs(db: Db, limits: { timeout_s: number; retention_days: number }): Promise<void> {
  const error = JSON.stringify([{ code: 290006, title: 'CF-JobTimeout', detail: 'The job execution has timed out.' }]);
  await sql`
    update jobs set state = 'FAILED', errors = ${error}::jsonb, locked_by = null, locked_until = null, updated_at = now()
    where state in ('PROCESSING', 'POLLING')
      and greatest(updated_at, run_at) < now() - make_interval(secs => ${limits.timeout_s})`.execute(db);
  await sql`
    delete from jobs where state in ('COMPLETE', 'FAILED')
      and updated_at < now() - make_interval(days => ${limits.retention_days})`.execute(db);
}
