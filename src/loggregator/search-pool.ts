import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { AppError } from '#kernel/errors.ts';
import { Chunk } from './chunk.ts';
import type { SearchTerms } from './text-search.ts';

export class SearchFailed extends AppError {
  constructor(why: string, options?: ErrorOptions) {
    super('search_failed', `the search failed: ${why}`, options);
  }
}
export class SearchTooLong extends AppError {
  constructor() {
    super('search_too_long', 'the search takes too long; narrow it by time or by a longer text');
  }
}
export class TooManySearches extends AppError {
  constructor() {
    super('too_many_searches', 'too many searches at once; try again');
  }
}

export interface BlockSearch {
  key: number;
  start: bigint;
  end: bigint;
  limit: number;
  descending: boolean;
  kinds: number;
  max_id: number;
  terms: SearchTerms;
}

export interface SearchRequest extends BlockSearch {
  id: number;
  share: number;
  shares: number;
  /** Wall clock in ms. */
  deadline_ms: number;
}

export interface SearchAnswer {
  chunk?: Uint8Array;
  /** Blocks opened. */
  scanned: number;
  isLate?: boolean;
  error?: string;
}

const MAX_THREADS = 2;
const MAX_WAITING = 32;
const DEADLINE_MS = 20_000;
const IDLE_MS = 30_000;

interface Thread {
  worker: Worker;
  waiting: Map<number, { resolve: (answer: SearchAnswer) => void; reject: (error: Error) => void }>;
}

/** Searches blocks on disk in threads, which are there only while there is something to search. */
export class SearchPool implements AsyncDisposable {
  readonly #path: string;
  readonly #threads = new Map<number, Thread>();
  #idle: NodeJS.Timeout | undefined;
  #id = 0;
  #running = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** What was found, as chunks. Errors: SearchFailed, SearchTooLong, TooManySearches. */
  async search(search: BlockSearch): Promise<Chunk[]> {
    if (this.#running >= MAX_WAITING) throw new TooManySearches();
    this.#running += 1;
    clearTimeout(this.#idle);
    try {
      const shares = Math.min(MAX_THREADS, availableParallelism());
      const deadline_ms = Date.now() + DEADLINE_MS;
      const answers = await Promise.all(
        Array.from({ length: shares }, async (_, share) => await this.#ask({ ...search, share, shares, deadline_ms })),
      );
      if (answers.some(({ isLate }) => isLate)) throw new SearchTooLong();
      const error = answers.find((answer) => answer.error !== undefined)?.error;
      if (error !== undefined) throw new SearchFailed(error);
      return answers.flatMap(({ chunk }) =>
        chunk ? [new Chunk(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))] : [],
      );
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#idle = setTimeout(() => void this.#end(), IDLE_MS).unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle);
    await this.#end();
  }

  async #ask(request: Omit<SearchRequest, 'id'>): Promise<SearchAnswer> {
    const thread = this.#threads.get(request.share) ?? this.#start(request.share);
    const id = ++this.#id;
    return await new Promise((resolve, reject) => {
      thread.waiting.set(id, { resolve, reject });
      thread.worker.postMessage({ ...request, id }, []);
    });
  }

  #start(share: number): Thread {
    const worker = new Worker(new URL('search-worker.ts', import.meta.url), { workerData: { path: this.#path } });
    worker.unref();
    const thread: Thread = { worker, waiting: new Map() };
    this.#threads.set(share, thread);
    const fail = (error: Error): void => {
      if (this.#threads.get(share) === thread) this.#threads.delete(share);
      for (const { reject } of thread.waiting.values()) reject(new SearchFailed('its thread ended', { cause: error }));
      thread.waiting.clear();
    };
    worker.on('message', (answer: SearchAnswer & { id: number }) => {
      thread.waiting.get(answer.id)?.resolve(answer);
      thread.waiting.delete(answer.id);
    });
    worker.on('error', fail);
    worker.on('exit', () => fail(new Error('exit')));
    return thread;
  }

  async #end(): Promise<void> {
    const threads = [...this.#threads.values()];
    this.#threads.clear();
    await Promise.all(threads.map(async ({ worker }) => await worker.terminate()));
  }
}
