import type { Blobstore } from '#blobs/blobstore.ts';

/** A file of a package as clients name it. */
export interface Resource {
  path: string;
  sha1: string;
  size: number;
  mode: number;
}

export interface CacheLimits {
  resource_min_bytes: number;
  resource_max_bytes: number;
}

const AT_ONCE = 16;

/** Whether files of that size are kept for others to match. Empty files are not worth asking for. */
export function isCacheable(size: number, limits: CacheLimits): boolean {
  return size > 0 && size >= limits.resource_min_bytes && size <= limits.resource_max_bytes;
}

/** Those of the resources whose bytes are in the cache. */
export async function matchResources<Wanted extends { sha1: string; size: number }>(
  blobs: Blobstore,
  wanted: readonly Wanted[],
  limits: CacheLimits,
): Promise<Wanted[]> {
  const isKnown = await inLanes(wanted, async ({ sha1, size }) => {
    if (!isCacheable(size, limits)) return false;
    return (await blobs.head('cc-resources', sha1))?.size === size;
  });
  return wanted.filter((_, at) => isKnown[at]);
}

/** Works through all, some at once; results in order. */
export async function inLanes<T, Result>(all: readonly T[], work: (one: T) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < all.length; at = next++) results[at] = await work(all[at] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, all.length) }, lane));
  return results;
}
