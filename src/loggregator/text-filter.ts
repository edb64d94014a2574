import type { Chunk } from './chunk.ts';

/**
 * Says of a block which runs of three letters or digits its text has, in a Bloom filter: a search skips blocks that lack one
 * of its own. Letters count in lower case, so that searches can ignore case. Bytes beyond ASCII are left out.
 */
const MIN_BITS = 1 << 10;
const MAX_BITS = 1 << 16;
/** Bits set at most, so that a filter says something even of very mixed text. */
const BITS_PER_BYTE = 0.5;

/** Byte → 1…36 for digits and letters, 0 for all else. */
const CLASS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 1;
  const lower = byte | 0x20;
  return byte < 0x80 && lower >= 0x61 && lower <= 0x7a ? lower - 0x61 + 11 : 0;
});
const GRAMS = 37 * 37 * 37;

export function buildFilter(chunk: Chunk): Buffer {
  const { text } = chunk;
  let bits = MIN_BITS;
  while (bits < MAX_BITS && bits < text.length * BITS_PER_BYTE) bits *= 2;
  const filter = Buffer.alloc(bits / 8);
  const mask = bits - 1;
  let gram = 0;
  let run = 0;
  for (let at = 0; at < text.length; at++) {
    const symbol = CLASS[text[at] ?? 0] ?? 0;
    if (symbol === 0) {
      run = 0;
      gram = 0;
      continue;
    }
    gram = (gram * 37 + symbol) % GRAMS;
    if (++run < 3) continue;
    const bit = hash(gram) & mask;
    filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
  }
  return filter;
}

/** The runs of three of what is searched for; a block's text can hold it only if its filter has all of them. */
export function gramsOf(needle: string): number[] {
  const grams = new Set<number>();
  let gram = 0;
  let run = 0;
  for (const byte of Buffer.from(needle)) {
    const symbol = CLASS[byte] ?? 0;
    run = symbol === 0 ? 0 : run + 1;
    gram = symbol === 0 ? 0 : (gram * 37 + symbol) % GRAMS;
    if (run >= 3) grams.add(gram);
  }
  return [...grams];
}

export function mayHold(filter: Uint8Array, grams: readonly number[]): boolean {
  const mask = filter.length * 8 - 1;
  return grams.every((gram) => {
    const bit = hash(gram) & mask;
    return ((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  });
}

function hash(gram: number): number {
  const mixed = Math.imul(gram, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
