import { MAX_LOG_LINE_BYTES } from '#contracts/loggregator.ts';

/**
 * Puts the pieces of a stream's output together to lines of at most 61,440 bytes; a longer line goes on in the next, never
 * cut within a character.
 */
export class LineAssembler {
  #pieces: Buffer[] = [];
  #size = 0;

  /** Adds a piece; `isPartial`: its line goes on. Gives the lines that are now whole. */
  add(piece: Buffer, isPartial: boolean): Buffer[] {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (isPartial && this.#size < MAX_LOG_LINE_BYTES) return [];
    const whole = Buffer.concat(this.#pieces);
    const lines: Buffer[] = [];
    let start = 0;
    while (whole.length - start > MAX_LOG_LINE_BYTES) {
      const end = characterBoundary(whole, start + MAX_LOG_LINE_BYTES);
      lines.push(whole.subarray(start, end));
      start = end;
    }
    const rest = whole.subarray(start);
    this.#pieces = isPartial && rest.length > 0 ? [rest] : [];
    this.#size = isPartial ? rest.length : 0;
    if (!isPartial) lines.push(rest);
    return lines;
  }

  /** What is left when the stream has ended. */
  end(): Buffer[] {
    return this.#size === 0 ? [] : this.add(Buffer.alloc(0), false);
  }
}

/** The nearest place at or before `position` where a UTF-8 character begins; `position` itself in what is no UTF-8. */
function characterBoundary(bytes: Buffer, position: number): number {
  for (let at = position; at > position - 4; at--) {
    const byte = bytes[at];
    if (byte !== undefined && (byte & 0xc0) !== 0x80) return at;
  }
  return position;
}
