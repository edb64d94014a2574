import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { ArchiveInvalid, ArchiveTooLarge } from './errors.ts';
import { isKnownFault } from './known-fault.ts';

/**
 * Reads a tar's files one after another without writing anything; each `use` ends before the next begins, and what it leaves
 * unread is skipped. Links and folders are passed over. Errors: ArchiveInvalid, those of `use`.
 */
export async function readTar(
  source: Readable,
  use: (file: { path: string; size: number }, content: Readable) => Promise<void>,
): Promise<void> {
  const reader = extract();
  const fed = pipeline(source, reader);
  fed.catch((error: unknown) => reader.destroy(error instanceof Error ? error : new Error(String(error))));
  try {
    for await (const entry of reader) {
      if (entry.header.type === 'file') {
        const content: AsyncIterable<unknown> = entry;
        await use({ path: entry.header.name, size: entry.header.size }, Readable.from(content));
      }
      entry.resume();
    }
    await fed;
  } catch (error) {
    source.destroy();
    if (isKnownFault(error) || (error instanceof Error && 'code' in error)) throw error;
    throw new ArchiveInvalid('the stream is not a valid tar', { cause: error });
  }
}

/** A small tar's files in memory, by path. Errors: ArchiveInvalid, ArchiveTooLarge. */
export async function readTarFiles(source: Readable, max_bytes: number): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  let bytes = 0;
  await readTar(source, async ({ path, size }, content) => {
    bytes += size;
    if (bytes > max_bytes) throw new ArchiveTooLarge(`the tar holds more than ${max_bytes} bytes`);
    files.set(path, await buffer(content));
  });
  return files;
}
