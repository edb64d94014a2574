import { TreeWriter, type TreeOptions } from './tree-writer.ts';
import { readZip, type ZipEntry } from './zip-reader.ts';

/**
 * Unpacks a zip into a folder, with unix modes and links. On an error what was written so far stays for the caller to remove.
 * Errors: ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge, TreeWriteFailed; ENOENT as Node gives it.
 */
export async function unpackZip(
  path: string,
  folder: string,
  options: TreeOptions,
): Promise<{ bytes: number; entries: number }> {
  return await readZip(path, async (zip) => {
    const tree = await TreeWriter.open(folder, options);
    try {
      for await (const entry of zip.entries()) {
        if (entry.kind === 'folder') await tree.folder(entry);
        else if (entry.kind === 'link') await tree.link(entry, await zip.link(entry));
        else await tree.file(entry, await zip.content(entry));
      }
      return await tree.finish();
    } catch (error) {
      await tree.abort();
      throw error;
    }
  });
}

/** What a zip says that it holds, in its own order. Errors: ArchiveInvalid. */
export async function listZip(path: string): Promise<ZipEntry[]> {
  return await readZip(path, async (zip) => {
    const entries: ZipEntry[] = [];
    for await (const { raw: _raw, ...entry } of zip.entries()) entries.push(entry);
    return entries;
  });
}
