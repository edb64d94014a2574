/** A thread that assembles one package, and may block meanwhile: what it waits for nobody else waits for. */
import { parentPort, workerData } from 'node:worker_threads';
import { openBlobstore } from '#blobs/config.ts';
import { BlobstoreUnavailable } from '#blobs/blobstore.ts';
import { CfError } from '#contracts/cf-errors.ts';
import { describeError } from '#kernel/errors.ts';
import { assemblePackage } from './assemble.ts';
import type { Assembled, Assembly } from './assembler.ts';

const { blobstore, sources, limits } = workerData as Assembly;
// A thread's port has no origin.
// eslint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage(await assembled());

async function assembled(): Promise<Assembled> {
  try {
    await using blobs = await openBlobstore(blobstore, { blocking: true });
    return { path: await assemblePackage(blobs, sources, limits) };
  } catch (error) {
    if (error instanceof CfError) return { refused: { title: error.title, detail: error.message } };
    return { fault: describeError(error), isAway: error instanceof BlobstoreUnavailable };
  }
}
