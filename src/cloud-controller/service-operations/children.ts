import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { findJob } from '../jobs/store.ts';
import type { Trx } from '../tables.ts';

/** Something that must end before its parent can: a binding of an instance, an instance in a space. */
export interface Child {
  guid: string;
  /** Leaves the job behind that ends it, or finds the one that does so already; undefined when it is gone by now. */
  begin(trx: Trx): Promise<string | undefined>;
}

/** Jobs by the guid of what they end; part of the parent's payload. */
export type AskedChildren = Readonly<Record<string, string>>;

export type ChildrenEnd =
  | { state: 'ended' }
  | { state: 'under way'; asked: AskedChildren }
  | { state: 'failed'; faults: string[] };

/**
 * Sees to it that children end, each by a job of its own, without waiting: called again and again with those that are left,
 * and what was asked for so far. When some cannot be ended, says why once all others have.
 */
export async function endChildren(
  { db, jobs }: Pick<Deps, 'db' | 'jobs'>,
  children: readonly Child[],
  asked: AskedChildren,
): Promise<ChildrenEnd> {
  const held: Record<string, string> = { ...asked };
  const faults: string[] = [];
  let under_way = 0;
  for (const child of children) {
    const job_guid = held[child.guid] ?? (await inTransaction(db, async (trx) => await child.begin(trx)));
    if (job_guid === undefined) continue;
    held[child.guid] = job_guid;
    const job = await findJob(db, job_guid);
    if (job?.state === 'FAILED') faults.push(job.errors[0]?.detail ?? 'An unexpected error occurred.');
    else if (job) under_way += 1;
    else faults.push(`The job ${job_guid} is gone.`);
  }
  jobs.wake();
  if (under_way > 0) return { state: 'under way', asked: held };
  return faults.length > 0 ? { state: 'failed', faults } : { state: 'ended' };
}
