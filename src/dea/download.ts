import { Readable } from 'node:stream';
import { DigestStream } from '#archive/digest.ts';
import { systemClock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';

/** The other side does not have it, does not let us, or is away. `is_final`: asking again will not help. */
export class DownloadFailed extends AppError {
  readonly is_final: boolean;

  constructor(message: string, is_final: boolean, options?: ErrorOptions) {
    super('download_failed', message, options);
    this.is_final = is_final;
  }
}

/** What came is not what was promised. */
export class DigestMismatch extends AppError {
  constructor(what: string, expected: string, got: string) {
    super('digest_mismatch', `the ${what} has the digest ${got}, not ${expected}`);
  }
}

export interface DownloadOptions {
  /** For messages; the URL itself holds a signature and is never shown. */
  what: string;
  sha256?: string;
  signal?: AbortSignal;
}

const MAX_RESUMES = 5;
const RESUME_PAUSE_MS = 200;

/**
 * Streams a URL into `use`; its digest is checked once all has passed. A connection that breaks off is taken up again from
 * where it was, without `use` noticing. Errors: DownloadFailed, DigestMismatch, those of `use`, the signal's reason.
 */
export async function download<T>(
  url: string,
  options: DownloadOptions,
  use: (body: Readable) => Promise<T>,
): Promise<T> {
  const { what, sha256 } = options;
  const first = await open(url, options, 0);
  const body = Readable.from(bytesOf(url, options, first), { objectMode: false });
  const digest = new DigestStream('sha256');
  body.once('error', (error) => digest.destroy(error));
  digest.once('close', () => body.destroy());
  const result = await use(body.pipe(digest));
  // Whoever unpacks may stop at the archive's end, before the file's.
  if (!digest.readableEnded) for await (const _ of digest);
  if (sha256 !== undefined && digest.digest !== sha256) throw new DigestMismatch(what, sha256, digest.digest);
  return result;
}

async function* bytesOf(url: string, options: DownloadOptions, first: Response): AsyncGenerator<Uint8Array> {
  let response = first;
  let received = 0;
  for (let resumes = 0; ; resumes++) {
    try {
      for await (const chunk of response.body ?? []) {
        received += chunk.length;
        yield chunk;
      }
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      const broken = new DownloadFailed(`the download of the ${options.what} broke off`, false, { cause: error });
      if (resumes >= MAX_RESUMES) throw broken;
      await systemClock.sleep(RESUME_PAUSE_MS * (resumes + 1), options.signal);
      response = await open(url, options, received);
      // A server that knows no ranges begins anew, which is of no use to who has half of it.
      if (response.status !== 206) {
        await response.body?.cancel();
        throw broken;
      }
    }
  }
}

async function open(url: string, { what, signal }: DownloadOptions, from: number): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }), headers: from > 0 ? { Range: `bytes=${from}-` } : {} });
  } catch (error) {
    signal?.throwIfAborted();
    throw new DownloadFailed(`could not download the ${what}`, false, { cause: error });
  }
  if (response.ok && response.body !== null) return response;
  await response.body?.cancel();
  const is_final = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw new DownloadFailed(`could not download the ${what}: status ${response.status}`, is_final);
}
