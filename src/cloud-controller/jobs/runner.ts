import { randomUUID } from 'node:crypto';
import { CF_ERRORS, CfError } from '#contracts/cf-errors.ts';
import { isDatabaseAway } from '#db/database.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { forRequest } from '#kernel/request-scope.ts';
import type { Db, JobError, JobRow } from '../tables.ts';
import type { JobContext, JobRegistry } from './registry.ts';
import { endJob, postponeJob, renewLease, sweepJobs, takeJob } from './store.ts';

export interface JobRunnerOptions {
  db: Db;
  registry: JobRegistry;
  clock: Clock;
  log: Log;
  workers: number;
  poll_interval_s: number;
  lease_s: number;
  timeout_s: number;
  retention_days: number;
}

/** A job whose workers died so often is not tried again: it may be what kills them. */
const MAX_ATTEMPTS = 5;
const RETRY_MS = 2_000;
const SWEEP_INTERVAL_MS = 60_000;

/**
 * Does the jobs of the queue in PostgreSQL, several at once, beside the runners of other cloud controllers. A job is held by
 * a lease; who dies lets it run out, and another goes on. Disposing of it awaits what is under way.
 */
export class JobRunner implements AsyncDisposable {
  readonly #options: JobRunnerOptions;
  readonly #name = `${process.pid}-${randomUUID()}`;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #timers = new DisposableStack();

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#timers.use(options.clock.every(options.poll_interval_s * 1000, () => this.wake()));
    this.#timers.use(options.clock.every(SWEEP_INTERVAL_MS, async () => await this.#sweep()));
  }

  /** There may be work: called after a job was put into the queue, so that it starts at once. */
  wake(): void {
    if (this.#stop.signal.aborted || this.#running.size >= this.#options.workers) return;
    // Who wakes us works for one request; the jobs that are found are other requests' too.
    const work = forRequest(undefined, async () => await this.#work()).finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#timers.dispose();
    await Promise.all(this.#running);
  }

  /** Takes jobs until none is due. */
  async #work(): Promise<void> {
    const { db, log, registry, lease_s } = this.#options;
    try {
      while (!this.#stop.signal.aborted) {
        const job = await takeJob(db, { name: this.#name, lease_s, operations: registry.operations });
        if (!job) return;
        // More may be due than this one.
        this.wake();
        const { request_id } = job;
        await forRequest(request_id === null ? undefined : { request_id }, async () => await this.#do(job));
      }
    } catch (error) {
      log.warn({ error: describeError(error) }, 'jobs cannot be taken');
    }
  }

  async #do(job: JobRow): Promise<void> {
    const { db, log, clock, lease_s } = this.#options;
    const held = { guid: job.guid, name: this.#name };
    if (job.attempts > MAX_ATTEMPTS) {
      await endJob(db, held, {
        state: 'FAILED',
        errors: [{ ...unexpected(), detail: 'The job was interrupted too often.' }],
      });
      return;
    }
    const lost = new AbortController();
    using _renewal = clock.every((lease_s * 1000) / 3, async () => {
      try {
        if (!(await renewLease(db, { ...held, lease_s }))) lost.abort();
      } catch (error) {
        log.warn({ job_guid: job.guid, error: describeError(error) }, 'lease of a job not renewed');
      }
    });
    await this.#call(job, AbortSignal.any([this.#stop.signal, lost.signal]));
  }

  async #call(job: JobRow, signal: AbortSignal): Promise<void> {
    const { db, log, registry } = this.#options;
    const held = { guid: job.guid, name: this.#name };
    const context: JobContext = {
      job_guid: job.guid,
      user_guid: job.user_guid,
      attempt: job.attempts,
      db,
      log: log.child({ job_guid: job.guid, operation: job.operation }),
      signal,
      complete: async (trx, warnings = []) => {
        const isOurs = await endJob(trx, held, { state: 'COMPLETE', warnings });
        if (!isOurs) throw new CfError('UnableToPerform', 'The job was ended or taken over by another worker.');
      },
    };
    try {
      const handler = registry.find(job.operation);
      if (!handler) throw new CfError('ServerError', `No worker knows the operation ${job.operation}.`);
      const outcome = await handler(job.payload, context);
      if (outcome && 'again_in_ms' in outcome) {
        const { again_in_ms: in_ms, payload } = outcome;
        await postponeJob(db, held, { in_ms, state: 'POLLING', ...(payload !== undefined && { payload }) });
        return;
      }
      // Already so, when the handler completed it in its transaction.
      await endJob(db, held, { state: 'COMPLETE', warnings: outcome?.warnings ?? [] });
    } catch (error) {
      await this.#fail(job, error);
    }
  }

  async #fail(job: JobRow, error: unknown): Promise<void> {
    const { db, log } = this.#options;
    const held = { guid: job.guid, name: this.#name };
    const facts = { job_guid: job.guid, operation: job.operation, error: describeError(error) };
    try {
      if (isDatabaseAway(error) || this.#stop.signal.aborted) {
        log.warn(facts, 'job postponed');
        await postponeJob(db, held, { in_ms: this.#stop.signal.aborted ? 0 : RETRY_MS, state: 'PROCESSING' });
        return;
      }
      if (error instanceof CfError) log.info(facts, 'job failed');
      else log.error({ ...facts, stack: error instanceof Error ? error.stack : undefined }, 'job failed');
      const errors = error instanceof CfError ? error.toJSON().errors : [unexpected()];
      await endJob(db, held, { state: 'FAILED', errors });
    } catch (again) {
      // The lease runs out, and the job is taken once more.
      log.warn({ ...facts, error: describeError(again) }, 'end of a job not written');
    }
  }

  async #sweep(): Promise<void> {
    const { db, log, timeout_s, retention_days } = this.#options;
    try {
      await sweepJobs(db, { timeout_s, retention_days });
    } catch (error) {
      log.warn({ error: describeError(error) }, 'jobs not swept');
    }
  }
}

function unexpected(): JobError {
  return { code: CF_ERRORS.ServerError.code, title: 'CF-ServerError', detail: 'An unexpected error occurred.' };
}
