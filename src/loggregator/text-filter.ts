import type { Chunk } from './chunk.ts';

/**
 * What a block's text may hold, in two Bloom filters, so that a search opens only blocks that can matter. One has the runs of
 * three letters or digits, which any search has; in text full of random ids it soon has them all. The other has whole words with
 * a digit in them, which is what ids are made of. Letters count in lower case; bytes beyond ASCII are left out.
 * Layout: u32 bytes of the first filter, the first, the second; the size of each is a power of two.
 */
const MIN_BITS = 1 << 9;
const MAX_GRAM_BITS = 1 << 16;
const MAX_WORD_BITS = 1 << 17;
const MIN_WORD_LENGTH = 4;
const BITS_PER_MARK = 5;

/** Byte → 1…36 for digits and letters, 0 for all else. */
const CLASS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 1;
  const lower = byte | 0x20;
  return byte < 0x80 && lower >= 0x61 && lower <= 0x7a ? lower - 0x61 + 11 : 0;
});
const LAST_DIGIT = 10;
const GRAMS = 37 * 37 * 37;

/** What of a needle a filter can be asked for. */
export interface FilterQuery {
  grams: readonly number[];
  words: readonly number[];
}

/** Collects the marks of text, byte by byte. */
class Marks {
  readonly grams = new Uint8Array(GRAMS);
  words = new Uint32Array(1024);
  wordCount = 0;

  /** Words at the edges of the text count only if it is known to begin and end there. */
  scan(text: Uint8Array, areEdgesWhole: boolean): void {
    let gram = 0;
    let run = 0;
    let hash = 0;
    let hasDigit = false;
    let isWhole = areEdgesWhole;
    for (let at = 0; at < text.length; at++) {
      const symbol = CLASS[text[at] ?? 0] ?? 0;
      if (symbol === 0) {
        if (hasDigit && run >= MIN_WORD_LENGTH && isWhole) this.#word(hash);
        gram = 0;
        run = 0;
        hash = 0;
        hasDigit = false;
        isWhole = true;
        continue;
      }
      if (symbol <= LAST_DIGIT) hasDigit = true;
      hash = (Math.imul(hash, 31) + symbol) | 0;
      gram = (gram * 37 + symbol) % GRAMS;
      if (++run >= 3) this.grams[gram] = 1;
    }
    if (hasDigit && run >= MIN_WORD_LENGTH && isWhole && areEdgesWhole) this.#word(hash);
  }

  #word(hash: number): void {
    if (this.wordCount === this.words.length) {
      const larger = new Uint32Array(this.words.length * 2);
      larger.set(this.words);
      this.words = larger;
    }
    this.words[this.wordCount++] = hash;
  }
}

export function buildFilter(chunk: Chunk): Buffer {
  const marks = new Marks();
  // Payloads follow each other without a gap; scanned one by one, their edges are edges of words.
  for (let at = 0; at < chunk.count; at++) marks.scan(chunk.payloadAt(at), true);
  for (const { tags } of chunk.origins) {
    for (const value of Object.values(tags)) marks.scan(Buffer.from(value), true);
  }
  const grams = new Uint8Array(MAX_GRAM_BITS / 8);
  for (let gram = 0; gram < GRAMS; gram++) if (marks.grams[gram]) set(grams, gram);
  const words = new Uint8Array(MAX_WORD_BITS / 8);
  for (let at = 0; at < marks.wordCount; at++) set(words, marks.words[at] ?? 0);
  const parts = [shrunk(grams), shrunk(words)];
  const head = Buffer.alloc(4);
  head.writeUInt32LE(parts[0]?.length ?? 0, 0);
  return Buffer.concat([head, ...parts]);
}

/** `isWhole`: the needle is known to begin and end where words do, as an id does. */
export function filterQuery(needle: string, isWhole: boolean): FilterQuery {
  const marks = new Marks();
  marks.scan(Buffer.from(needle), isWhole);
  const grams: number[] = [];
  for (let gram = 0; gram < GRAMS; gram++) if (marks.grams[gram]) grams.push(gram);
  return { grams, words: [...marks.words.subarray(0, marks.wordCount)] };
}

export function mayHold(filter: Buffer, query: FilterQuery): boolean {
  const gramBytes = filter.readUInt32LE(0);
  const grams = filter.subarray(4, 4 + gramBytes);
  const words = filter.subarray(4 + gramBytes);
  return query.words.every((word) => has(words, word)) && query.grams.every((gram) => has(grams, gram));
}

/** Folded in half for as long as one bit in so many is set at most: a filter of sparse text need not be as large. */
function shrunk(filter: Uint8Array): Uint8Array {
  let bits = 0;
  for (let byte of filter) for (; byte !== 0; byte &= byte - 1) bits += 1;
  let folded = filter;
  while (folded.length * 4 >= bits * BITS_PER_MARK && folded.length * 8 > MIN_BITS) {
    const half = folded.length / 2;
    const lower = folded.slice(0, half);
    for (let at = 0; at < half; at++) lower[at] = (lower[at] ?? 0) | (folded[half + at] ?? 0);
    folded = lower;
  }
  return folded;
}

function bitOf(mark: number, filter: Uint8Array): number {
  const mixed = Math.imul(mark ^ (mark >>> 16), 0x9e3779b1);
  return ((mixed ^ (mixed >>> 15)) >>> 0) & (filter.length * 8 - 1);
}

function set(filter: Uint8Array, mark: number): void {
  const bit = bitOf(mark, filter);
  filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
}

function has(filter: Uint8Array, mark: number): boolean {
  const bit = bitOf(mark, filter);
  return ((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0;
}
