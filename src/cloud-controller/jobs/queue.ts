import type { FastifyReply } from 'fastify';
import type { Links } from '../api/links.ts';
import type { Db } from '../tables.ts';
import { insertJob, type NewJob } from './store.ts';

/** Where requests leave asynchronous work. */
export class JobQueue {
  readonly #links: Links;
  readonly #wake: () => void;

  constructor(options: { links: Links; wake: () => void }) {
    this.#links = options.links;
    this.#wake = options.wake;
  }

  /** Puts a job into the queue in `db`'s transaction, if it is one. Returns its guid, for `accept`. */
  async enqueue(db: Db, job: NewJob): Promise<string> {
    return await insertJob(db, job);
  }

  /** The answer to a request that became a job: 202, no body, where to look. Called after the commit. */
  async accept(reply: FastifyReply, job_guid: string): Promise<FastifyReply> {
    this.#wake();
    return reply
      .code(202)
      .header('Location', this.#links.href(`/v3/jobs/${job_guid}`))
      .send();
  }

  /** Tells the runner of this process that there is work, after the commit of an `enqueue` that no request waits for. */
  wake(): void {
    this.#wake();
  }
}
