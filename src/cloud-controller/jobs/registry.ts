import type { Log } from '#kernel/log.ts';
import type { Db, Trx } from '../tables.ts';

/** What a handler knows of its job. */
export interface JobContext {
  job_guid: string;
  /** The user (or client) who asked for it. */
  user_guid: string | null;
  /** How often it was begun, this time included; above 1 after a worker died or asked for another try. */
  attempt: number;
  db: Db;
  log: Log;
  /** Aborted when the worker stops or lost its lease: leave off, another will go on. */
  signal: AbortSignal;
  /**
   * Marks the job as done in the handler's own transaction, so that what it did and that it is done are one. Without it the
   * job is marked after the handler returns, and the handler may run again when the worker dies in between.
   */
  complete(trx: Trx, warnings?: readonly string[]): Promise<void>;
}

/** Nothing: done. `warnings`: done, and say these. `again_in_ms`: not done, call again with this payload (POLLING meanwhile). */
export type JobOutcome = undefined | { warnings: readonly string[] } | { again_in_ms: number; payload?: unknown };

/**
 * One kind of work. It can be called again for the same job when a worker dies: it looks at what is there and goes on.
 * A CfError that it throws ends the job as FAILED with that error; a database that is away, and what asks for it, is retried.
 */
export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<JobOutcome | void>;

/** The operations that workers of this process can do: `organization.delete`, `app.delete`… */
export class JobRegistry {
  readonly #handlers = new Map<string, JobHandler<unknown>>();

  /** `parse` checks the stored payload, which an older or newer version may have written. */
  register<Payload>(operation: string, parse: (payload: unknown) => Payload, handler: JobHandler<Payload>): void {
    this.#handlers.set(operation, async (payload, context) => await handler(parse(payload), context));
  }

  get operations(): string[] {
    return [...this.#handlers.keys()];
  }

  find(operation: string): JobHandler<unknown> | undefined {
    return this.#handlers.get(operation);
  }
}
