import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import type { TreeOptions } from '#archive/tree-writer.ts';
import { unpackTar, unpackTarGz } from '#archive/unpack-tar.ts';

const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * Unpacks what a build has kept, by whichever program its stack has packed it. Errors: those of unpackTarGz, and of the source as
 * it gives them.
 */
export async function unpackCache(source: Readable, folder: string, options: TreeOptions): Promise<{ bytes: number }> {
  const chunks = source.iterator() as AsyncIterableIterator<Buffer>;
  let head: Buffer = Buffer.alloc(0);
  while (head.length < ZSTD.length) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const whole = Readable.from(
    (async function* () {
      yield head;
      yield* chunks;
    })(),
    { objectMode: false },
  );
  if (!head.subarray(0, ZSTD.length).equals(ZSTD)) return await unpackTarGz(whole, folder, options);
  const plain = createZstdDecompress();
  // Its failure is plain's as well.
  pipeline(whole, plain).catch(() => {});
  return await unpackTar(plain, folder, options);
}
