import type { Chunk } from './chunk.ts';

/**
 * What a block's text may hold, in three Bloom filters, so that a search opens only blocks that can matter. One has the runs of
 * three letters or digits, which any search has; in text full of random ids it soon has them all. One has whole words with
 * a digit in them, which is what ids are made of. One has the runs of five, which parts of ids and words have and few blocks have by
 * chance, and the seams of words: the last letters of one, what is between, and the first letters of the next, so that words which every
 * block has are not sought where they do not meet. Letters count in lower case; bytes beyond ASCII are between words.
 * Layout: u32 bytes of the first with the two highest bits set, u32 bytes of the second, the first, the second, the third; the size of
 * each is a power of two. Older blocks: the highest bit alone, and a third that is not asked; or no bit and no third, that is u32 bytes
 * of the first, the first, the second.
 */
const MIN_BITS = 1 << 9;
const MAX_GRAM_BITS = 1 << 16;
const MAX_WORD_BITS = 1 << 17;
const MAX_FAR_BITS = 1 << 16;
const HAS_THIRD = 0x8000_0000;
const IS_OF_FIVES = 0x4000_0000;
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
  far: readonly number[];
}

/** Numbers as they come, some of them again and again. */
class Numbers {
  #values = new Int32Array(1024);
  #count = 0;

  add(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Int32Array(this.#values.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#count++] = value;
  }

  all(): Int32Array {
    return this.#values.subarray(0, this.#count);
  }
}

/** Collects the marks of text, byte by byte. */
class Marks {
  readonly grams = new Uint8Array(GRAMS);
  readonly words = new Numbers();
  /** Of seams and of runs that are longer than three; numbers for a needle, bits at once for a block, which has very many. */
  readonly far: Numbers | Uint8Array;

  constructor(far: Numbers | Uint8Array) {
    this.far = far;
  }

  /** Words at the edges of the text count only if it is known to begin and end there. */
  scan(text: Uint8Array, areEdgesWhole: boolean): void {
    // The last three letters or digits of the word that is read; also all of a word that is shorter.
    let gram = 0;
    let run = 0;
    let hash = 0;
    let lastDigit = -1;
    let isWhole = areEdgesWhole;
    // The gram at the end of the word before, or 0, and what came after it.
    let tail = 0;
    let between = 0;
    // The last five, in six bits each.
    let five = 0;
    for (let at = 0; at < text.length; at++) {
      const byte = text[at] ?? 0;
      const symbol = CLASS[byte] ?? 0;
      if (symbol !== 0) {
        if (symbol <= LAST_DIGIT) lastDigit = at;
        hash = (Math.imul(hash, 31) + symbol) | 0;
        gram = (gram * 37 + symbol) % GRAMS;
        five = ((five << 6) | symbol) & 0x3fffffff;
        run += 1;
        if (run < 3) continue;
        this.grams[gram] = 1;
        if (run === 3 && tail !== 0 && lastDigit <= at - 3) this.#far(seamOf(tail, between, gram));
        if (run >= 5) this.#far(seamOf(5, 0, five));
        continue;
      }
      if (run > 0) {
        const isPlain = lastDigit < at - Math.min(run, 3);
        if (lastDigit >= at - run && run >= MIN_WORD_LENGTH && isWhole) this.words.add(hash);
        if (run < 3 && tail !== 0 && isPlain) this.#far(seamOf(tail, between, gram));
        // Ids would make too many seams, and none of use.
        tail = isPlain && (isWhole || run >= 3) ? gram : 0;
        between = 0;
        gram = 0;
        run = 0;
        hash = 0;
      }
      isWhole = true;
      between = (Math.imul(between, 31) + byte + 1) | 0;
    }
    if (run === 0 || !areEdgesWhole) return;
    const end = text.length;
    if (lastDigit >= end - run && run >= MIN_WORD_LENGTH && isWhole) this.words.add(hash);
    if (run < 3 && tail !== 0 && lastDigit < end - run) this.#far(seamOf(tail, between, gram));
  }

  #far(mark: number): void {
    if (this.far instanceof Numbers) this.far.add(mark);
    else set(this.far, mark);
  }
}

const seamOf = (tail: number, between: number, head: number): number =>
  (Math.imul(Math.imul(tail, 0x01000193) ^ between, 0x01000193) ^ head) | 0;

export function buildFilter(chunk: Chunk): Buffer {
  const far = new Uint8Array(MAX_FAR_BITS / 8);
  const marks = new Marks(far);
  // Payloads follow each other without a gap; scanned one by one, their edges are edges of words.
  for (let at = 0; at < chunk.count; at++) marks.scan(chunk.payloadAt(at), true);
  for (const { tags } of chunk.origins) {
    for (const value of Object.values(tags)) marks.scan(Buffer.from(value), true);
  }
  const grams = new Uint8Array(MAX_GRAM_BITS / 8);
  for (let gram = 0; gram < GRAMS; gram++) if (marks.grams[gram]) set(grams, gram);
  const words = new Uint8Array(MAX_WORD_BITS / 8);
  for (const word of marks.words.all()) set(words, word);
  const parts = [shrunk(grams), shrunk(words), shrunk(far)];
  const head = Buffer.alloc(8);
  head.writeUInt32LE(((parts[0]?.length ?? 0) | HAS_THIRD | IS_OF_FIVES) >>> 0, 0);
  head.writeUInt32LE(parts[1]?.length ?? 0, 4);
  return Buffer.concat([head, ...parts]);
}

/** `isWhole`: the needle is known to begin and end where words do, as an id does. */
export function filterQuery(needle: string, isWhole: boolean): FilterQuery {
  const far = new Numbers();
  const marks = new Marks(far);
  marks.scan(Buffer.from(needle), isWhole);
  const grams: number[] = [];
  for (let gram = 0; gram < GRAMS; gram++) if (marks.grams[gram]) grams.push(gram);
  return { grams, words: [...marks.words.all()], far: [...far.all()] };
}

export function mayHold(filter: Buffer, query: FilterQuery): boolean {
  const head = filter.readUInt32LE(0);
  const hasThird = (head & HAS_THIRD) !== 0;
  const gramsAt = hasThird ? 8 : 4;
  const wordsAt = gramsAt + (head & ~(HAS_THIRD | IS_OF_FIVES));
  const farAt = hasThird ? wordsAt + filter.readUInt32LE(4) : filter.length;
  const grams = filter.subarray(gramsAt, wordsAt);
  const words = filter.subarray(wordsAt, farAt);
  const far = filter.subarray(farAt);
  return (
    query.words.every((word) => has(words, word)) &&
    ((head & IS_OF_FIVES) === 0 || query.far.every((mark) => has(far, mark))) &&
    query.grams.every((gram) => has(grams, gram))
  );
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
