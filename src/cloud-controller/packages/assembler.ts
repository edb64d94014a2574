import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { type Blobstore, BlobstoreUnavailable } from '#blobs/blobstore.ts';
import type { BlobstoreConfig } from '#blobs/config.ts';
import { CfError, type CfErrorTitle } from '#contracts/cf-errors.ts';
import { type AssembleLimits, assemblePackage, type Sources } from './assemble.ts';

/** What a thread is given. */
export interface Assembly {
  blobstore: BlobstoreConfig;
  sources: Sources;
  limits: AssembleLimits;
}

/** What a thread comes back with. */
export type Assembled =
  | { path: string }
  | { refused: { title: CfErrorTitle; detail: string } }
  | { fault: string; isAway: boolean };

/** Up to this much is done before a thread would have started. */
const SMALL = { bytes: 1 << 20, resources: 200 };
const THREADS = 2;

/** Assembles packages: large ones in threads of their own, a few at a time, so that the API goes on answering. */
export class Assembler {
  readonly #blobs: Blobstore;
  readonly #blobstore: BlobstoreConfig;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: { blobs: Blobstore; blobstore: BlobstoreConfig }) {
    this.#blobs = options.blobs;
    this.#blobstore = options.blobstore;
  }

  /** The path of the package's zip. Errors: those of assemblePackage. */
  async assemble(sources: Sources, limits: AssembleLimits): Promise<string> {
    const bytes = sources.bits === undefined ? 0 : (await stat(sources.bits)).size;
    if (bytes <= SMALL.bytes && sources.resources.length <= SMALL.resources) {
      return await assemblePackage(this.#blobs, sources, limits);
    }
    if (this.#running === THREADS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await this.#inThread({ blobstore: this.#blobstore, sources, limits });
    } finally {
      // The turn goes to the next that waits.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  async #inThread(assembly: Assembly): Promise<string> {
    const worker = new Worker(new URL('./assemble-worker.ts', import.meta.url), { workerData: assembly });
    try {
      const outcome = (await Promise.race([
        once(worker, 'message').then(([message]: unknown[]) => message),
        once(worker, 'exit').then(() => ({ fault: 'the thread ended without an answer', isAway: false })),
      ])) as Assembled;
      if ('path' in outcome) return outcome.path;
      if ('refused' in outcome) throw new CfError(outcome.refused.title, outcome.refused.detail);
      if (outcome.isAway) throw new BlobstoreUnavailable(outcome.fault);
      throw new Error(`the package could not be assembled: ${outcome.fault}`);
    } finally {
      await worker.terminate();
    }
  }
}
