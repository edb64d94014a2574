import { unprocessable } from '#contracts/cf-errors.ts';
import { findJob } from '../jobs/store.ts';
import type { Db } from '../tables.ts';

/** Whether a job works on the broker: its catalog is read, or it is being changed or deleted. */
export async function isBrokerBusy(db: Db, job_guid: string | null): Promise<boolean> {
  if (job_guid === null) return false;
  const job = await findJob(db, job_guid);
  return job !== undefined && (job.state === 'PROCESSING' || job.state === 'POLLING');
}

/** Errors: 422 while a job works on the broker. */
export async function requireBrokerAtRest(db: Db, broker_guid: string): Promise<void> {
  const row = await db
    .selectFrom('service_brokers')
    .select('job_guid')
    .where('guid', '=', broker_guid)
    .executeTakeFirst();
  if (!row || !(await isBrokerBusy(db, row.job_guid))) return;
  throw unprocessable(
    'The service instance cannot be created because there is an operation in progress for the service broker.',
  );
}
