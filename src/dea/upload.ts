import { DownloadFailed } from './download.ts';

/** PUTs bytes to a signed URL. Errors: DownloadFailed, the signal's reason. */
export async function upload(uri: string, body: Blob, options: { what: string; signal: AbortSignal }): Promise<void> {
  const { what, signal } = options;
  const response = await fetch(uri, { method: 'PUT', body, signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new DownloadFailed(`could not upload the ${what}`, false, { cause: error });
  });
  await response.body?.cancel();
  if (response.ok) return;
  const is_final = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw new DownloadFailed(`could not upload the ${what}: status ${response.status}`, is_final);
}
