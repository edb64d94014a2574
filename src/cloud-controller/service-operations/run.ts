import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { isDatabaseAway } from '#db/database.ts';
import { describeError } from '#kernel/errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { BrokerTarget } from '../broker-client/client.ts';
import type { Answer, LastOperation } from '../broker-client/replies.ts';
import { BrokerTrouble, type Trouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import type { OperationType } from '../tables-services.ts';
import { mitigateOrphan } from './orphans.ts';
import { findOperation, moveOperation, type OperationTable } from './store.ts';

/** How far an operation is; part of its job's payload, so that it goes on wherever a worker died. */
export const Progress = z.object({
  phase: z.enum(['ask', 'poll']).default('ask'),
  /** What the broker calls it. */
  operation: z.string().optional(),
  deadline_ms: z.number().optional(),
  interval_s: z.number().optional(),
});
export type Progress = z.infer<typeof Progress>;

/** One operation on one thing, as its kind knows it. */
export interface Work<Body> {
  table: OperationTable;
  guid: string;
  type: OperationType;
  /** As errors name it: `provision could not be completed: …`. */
  verb: 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind';
  broker_guid: string;
  target: BrokerTarget;
  /** Of the plan. */
  maximum_polling_duration_s: number | null;
  ask(): Promise<Answer<Body>>;
  poll(operation: string | undefined): Promise<LastOperation>;
  /** Writes what came of it and completes the job, in one transaction. Without a body it ended asynchronously. */
  finish(body: Body | undefined): Promise<void>;
}

type Dependencies = Pick<Deps, 'db' | 'jobs' | 'config' | 'clock'>;

/**
 * Carries out an operation at a broker, one step per call: asks, and polls until there is an end. Called again after its worker
 * died, it asks again with the same guid, which brokers answer as if it were the first time.
 * Errors: the CfError that ends the job; the row says `failed` by then, and what may be left at the broker has a job.
 */
export async function runOperation<Body>(
  deps: Dependencies,
  work: Work<Body>,
  progress: Progress,
  context: JobContext,
): Promise<JobOutcome> {
  const found = await findOperation(deps.db, work.table, work.guid);
  if (found?.operation_job_guid !== context.job_guid) throw cancelled(work, found?.operation_type);
  // It failed, and the worker died before the job said so.
  if (found.operation_state === 'failed') throw unableTo(work, found.operation_description);
  try {
    if (progress.phase === 'poll') return await pollOnce(deps, work, progress, context);
    const answer = await work.ask();
    if (answer.state === 'in progress') {
      const operation = operationIn(answer.body);
      return await beginPolling(deps, work, { operation, context });
    }
    await requireCharge(deps, work, context);
    await work.finish(answer.body);
    return undefined;
  } catch (error) {
    // Neither is an answer: another try will tell.
    const isOurs = !(error instanceof BrokerTrouble) && (isDatabaseAway(error) || context.signal.aborted);
    if (isOurs || error instanceof Cancelled) throw error;
    return await fail(deps, work, error, context);
  }
}

/** Another operation took over: a deletion, or somebody purged it. */
class Cancelled extends CfError {}

function cancelled(work: Pick<Work<unknown>, 'verb'>, by: OperationType | undefined): Cancelled {
  const why = by === undefined ? 'it was deleted' : `${by} in progress`;
  return new Cancelled('UnableToPerform', `${work.verb} could not be completed: ${why}`);
}

function unableTo(work: Pick<Work<unknown>, 'verb'>, why: string): CfError {
  return new CfError('UnableToPerform', `${work.verb} could not be completed: ${why}`);
}

/** What the broker made for an operation that is not wanted any more is deleted there. */
async function requireCharge<Body>(deps: Dependencies, work: Work<Body>, context: JobContext): Promise<void> {
  const found = await findOperation(deps.db, work.table, work.guid);
  if (found?.operation_job_guid !== context.job_guid) await abandon(deps, work, context);
}

async function abandon<Body>(deps: Dependencies, work: Work<Body>, context: JobContext): Promise<never> {
  if (work.type === 'create') {
    await inTransaction(deps.db, async (trx) => await mitigateOrphan(deps, trx, orphanOf(work, context)));
    deps.jobs.wake();
  }
  const found = await findOperation(deps.db, work.table, work.guid);
  throw cancelled(work, found?.operation_type);
}

function orphanOf<Body>(work: Work<Body>, context: JobContext) {
  return { broker_guid: work.broker_guid, target: work.target, user_guid: context.user_guid };
}

async function beginPolling<Body>(
  deps: Dependencies,
  work: Work<Body>,
  { operation, context }: { operation: string | undefined; context: JobContext },
): Promise<JobOutcome> {
  const { poll_interval_s, poll_duration_max_s } = deps.config.brokers;
  const of = { table: work.table, guid: work.guid, job_guid: context.job_guid };
  if (!(await moveOperation(deps.db, of, { state: 'in progress', description: '' }))) {
    return await abandon(deps, work, context);
  }
  const longest_s = Math.min(poll_duration_max_s, work.maximum_polling_duration_s ?? poll_duration_max_s);
  const progress: Progress = {
    phase: 'poll',
    operation,
    deadline_ms: deps.clock.now() + longest_s * 1000,
    interval_s: poll_interval_s,
  };
  return { again_in_ms: Math.min(poll_interval_s, longest_s) * 1000, payload: progress };
}

async function pollOnce<Body>(
  deps: Dependencies,
  work: Work<Body>,
  progress: Progress,
  context: JobContext,
): Promise<JobOutcome> {
  const last = await work.poll(progress.operation);
  if (last.state === 'gone') {
    if (work.type !== 'delete') throw new BrokerTrouble('failed_later', 'The service broker says that it is gone.');
    await work.finish(undefined);
    return undefined;
  }
  if (last.state === 'succeeded') {
    await requireCharge(deps, work, context);
    await work.finish(undefined);
    return undefined;
  }
  if (last.state === 'failed') throw new BrokerTrouble('failed_later', last.description);
  return await pollAgain(deps, work, { progress, last, context });
}

async function pollAgain<Body>(
  deps: Dependencies,
  work: Work<Body>,
  {
    progress,
    last,
    context,
  }: {
    progress: Progress;
    last: Extract<LastOperation, { retry_after_s: number | undefined }>;
    context: JobContext;
  },
): Promise<JobOutcome> {
  const { poll_backoff_rate, poll_interval_max_s, poll_interval_s, poll_duration_max_s } = deps.config.brokers;
  const now_ms = deps.clock.now();
  const deadline_ms = progress.deadline_ms ?? now_ms + poll_duration_max_s * 1000;
  if (now_ms >= deadline_ms) {
    throw new BrokerTrouble('overdue', `Service Broker failed to ${work.verb} within the required time.`);
  }
  if ('description' in last && last.description !== '') {
    const of = { table: work.table, guid: work.guid, job_guid: context.job_guid };
    await moveOperation(deps.db, of, { state: 'in progress', description: last.description });
  }
  const interval_s = Math.min(poll_interval_max_s, (progress.interval_s ?? poll_interval_s) * poll_backoff_rate);
  const wanted_s = Math.min(poll_interval_max_s, Math.max(interval_s, last.retry_after_s ?? 0));
  return {
    again_in_ms: Math.max(1, Math.min(wanted_s * 1000, deadline_ms - now_ms)),
    payload: { ...progress, deadline_ms, interval_s },
  };
}

/** Troubles that the API has an error of its own for. */
const TOLD_AS_THEY_ARE = new Set<Trouble>(['async_required', 'concurrency', 'maintenance_conflict']);

async function fail<Body>(deps: Dependencies, work: Work<Body>, error: unknown, context: JobContext): Promise<never> {
  const trouble = error instanceof BrokerTrouble ? error : undefined;
  const known = error instanceof BrokerTrouble || error instanceof CfError ? error : undefined;
  const description = known?.message ?? 'An unexpected error occurred.';
  // Of an operation that was begun twice it may be our own doing that is in the way.
  const isOwnConflict = trouble?.trouble === 'conflict' && context.attempt > 1;
  const leavesOrphan = work.type === 'create' && (trouble?.leavesOrphan === true || isOwnConflict);
  await inTransaction(deps.db, async (trx) => {
    const of = { table: work.table, guid: work.guid, job_guid: context.job_guid };
    await moveOperation(trx, of, { state: 'failed', description });
    if (leavesOrphan) await mitigateOrphan(deps, trx, orphanOf(work, context));
  });
  deps.jobs.wake();
  context.log.info({ guid: work.guid, verb: work.verb, error: describeError(error) }, 'operation at a broker failed');
  if (trouble && TOLD_AS_THEY_ARE.has(trouble.trouble)) throw trouble.toCfError();
  if (known) throw unableTo(work, description);
  throw error;
}

/** The outcome of a step, with what else its job's payload holds. */
export function carryOn(payload: object, outcome: JobOutcome): JobOutcome {
  if (!outcome || !('again_in_ms' in outcome)) return outcome;
  const next: unknown = outcome.payload;
  return { ...outcome, payload: { ...payload, ...(typeof next === 'object' ? next : {}) } };
}

function operationIn(body: unknown): string | undefined {
  const operation: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'operation') : undefined;
  return typeof operation === 'string' ? operation : undefined;
}
