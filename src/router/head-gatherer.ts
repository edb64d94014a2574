import { type Answer, headTooLarge, malformed } from './answers.ts';
import { INCOMPLETE, MALFORMED, readRequestHead, RequestHead } from './request-head.ts';

/** A first look goes no further: what is behind is most likely a body. */
const FIRST_LOOK_BYTES = 16_384;

/** A head that was found, with the text it stood in and where its body starts, in the text and in the newest bytes. */
export interface FoundHead {
  head: RequestHead;
  text: string;
  textAt: number;
  byteAt: number;
}

/** Gathers request heads out of pieces of any size, in time linear to their length. */
export class HeadGatherer {
  readonly #limit_bytes: number;
  /** The beginning of a head that is not complete, and the length at which it is worth the next look. */
  #partial = '';
  #nextLook = 0;
  /** Set when the head is refused: nothing may be read after it. */
  refusal: Answer | undefined;

  constructor(limit_bytes: number) {
    this.#limit_bytes = limit_bytes;
  }

  /** Whether a head has begun and is not complete. */
  get isMidway(): boolean {
    return this.#partial !== '';
  }

  /** Takes in all of `bytes`, unless a head ends in them. Undefined when none does, or with `refusal` set. */
  read(bytes: Buffer): FoundHead | undefined {
    const before = this.#partial.length;
    const limit = this.#limit_bytes;
    let text = this.#partial + bytes.toString('latin1', 0, Math.min(bytes.length, FIRST_LOOK_BYTES));
    // A growing head is looked at again when it may be complete or has doubled, or a trickle would be read over and over.
    const isWorthALook =
      before === 0 || text.length >= this.#nextLook || text.includes('\r\n\r\n', Math.max(0, before - 3));
    if (isWorthALook) {
      let head = new RequestHead();
      let textAt = readRequestHead(text, 0, head);
      if (textAt === INCOMPLETE && bytes.length > FIRST_LOOK_BYTES) {
        text = this.#partial + bytes.toString('latin1', 0, Math.min(bytes.length, limit + 1));
        head = new RequestHead();
        textAt = readRequestHead(text, 0, head);
      }
      if (textAt === MALFORMED) {
        this.refusal = malformed(head.faultStatus, head.fault);
        return undefined;
      }
      if (textAt > limit) {
        this.refusal = headTooLarge;
        return undefined;
      }
      if (textAt !== INCOMPLETE) {
        this.#partial = '';
        return { head, text, textAt, byteAt: textAt - before };
      }
      this.#nextLook = text.length * 2;
    }
    if (before + bytes.length > limit) {
      this.refusal = headTooLarge;
      return undefined;
    }
    this.#partial = text.length === before + bytes.length ? text : this.#partial + bytes.toString('latin1');
    return undefined;
  }

  clear(): void {
    this.#partial = '';
  }
}
