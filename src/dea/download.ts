import { Readable } from 'node:stream';
import { DigestStream } from '#archive/digest.ts';
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

/** Streams a URL into `use`; its digest is checked once all has passed. Errors: DownloadFailed, DigestMismatch, those of `use`. */
export async function download<T>(
  url: string,
  options: DownloadOptions,
  use: (body: Readable) => Promise<T>,
): Promise<T> {
  const { what, sha256, signal } = options;
  let response: Response;
  try {
    response = await fetch(url, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw new DownloadFailed(`could not download the ${what}`, false, { cause: error });
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    const is_final = response.status >= 400 && response.status < 500 && response.status !== 429;
    throw new DownloadFailed(`could not download the ${what}: status ${response.status}`, is_final);
  }
  const body = Readable.fromWeb(response.body);
  const digest = new DigestStream('sha256');
  body.once('error', (error) => {
    digest.destroy(
      signal?.aborted ? error : new DownloadFailed(`the download of the ${what} broke off`, false, { cause: error }),
    );
  });
  digest.once('close', () => body.destroy());
  const result = await use(body.pipe(digest));
  // Whoever unpacks may stop at the archive's end, before the file's.
  if (!digest.readableEnded) for await (const _ of digest);
  if (sha256 !== undefined && digest.digest !== sha256) throw new DigestMismatch(what, sha256, digest.digest);
  return result;
}
