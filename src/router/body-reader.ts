/**
 * Where a message body ends, byte by byte, strictly by RFC 9112 7.1. It copies nothing: of each piece read it tells the ranges
 * to pass on, either the body as framed (chunk extensions cut out, trailers cleaned) or the payload alone.
 */
import { CR, HEX_VALUE, IS_EXTENSION, LF } from './bytes.ts';
import { cleanTrailers } from './trailers.ts';

export const Framing = { none: 0, length: 1, chunked: 2, untilClose: 3 } as const;
export type Framing = (typeof Framing)[keyof typeof Framing];

const State = {
  sizeStart: 0,
  size: 1,
  extension: 2,
  sizeLf: 3,
  data: 4,
  dataCr: 5,
  dataLf: 6,
  afterLast: 7,
  endLf: 8,
  trailers: 9,
} as const;
type State = (typeof State)[keyof typeof State];

const MAX_SIZE_DIGITS = 13;
/** All extensions of one message together: nobody uses them but those who want us to read for nothing. */
const MAX_EXTENSION_BYTES = 4096;
const MAX_TRAILER_BYTES = 16_384;
const SEMICOLON = 59;

export class BodyReader {
  framing: Framing = Framing.none;
  isDone = true;
  /** Why the framing is broken; empty while it is not. After a fault nothing more may be read. */
  fault = '';
  /** Start and end of each range to pass on of the piece last read: [start, end, start, end…]. */
  readonly ranges: number[] = [];
  /** What follows the last range once the body is done: cleaned trailers with the line that ends them. */
  tail = '';
  /** Cleaned trailer lines alone, each with its line end. */
  trailers = '';
  /** Payload bytes seen so far. */
  payload_bytes = 0;

  #remaining = 0;
  #state: State = State.sizeStart;
  #digits = 0;
  #extension_bytes = 0;
  #trailerText = '';
  #isPayloadOnly = false;

  /** Begins a body. `isPayloadOnly` gives ranges without chunk framing. */
  begin(framing: Framing, contentLength: number, isPayloadOnly: boolean): void {
    this.framing = framing;
    this.#isPayloadOnly = isPayloadOnly;
    this.isDone = framing === Framing.none || (framing === Framing.length && contentLength === 0);
    this.fault = '';
    this.tail = '';
    this.trailers = '';
    this.payload_bytes = 0;
    this.#remaining = framing === Framing.length ? contentLength : 0;
    this.#state = State.sizeStart;
    this.#digits = 0;
    this.#extension_bytes = 0;
    this.#trailerText = '';
    this.ranges.length = 0;
  }

  /** From the start on, gives the payload alone. */
  takePayloadOnly(): void {
    this.#isPayloadOnly = true;
  }

  /** Bytes still to come of a body with a known length. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Reads [start, end) of `bytes`; returns the offset after the last byte that belongs to the body. */
  read(bytes: Uint8Array, start: number, end: number): number {
    this.ranges.length = 0;
    if (this.isDone || this.fault !== '') return start;
    switch (this.framing) {
      case Framing.length: {
        const count = Math.min(this.#remaining, end - start);
        this.#remaining -= count;
        this.payload_bytes += count;
        this.isDone = this.#remaining === 0;
        if (count > 0) this.ranges.push(start, start + count);
        return start + count;
      }
      case Framing.untilClose:
        this.payload_bytes += end - start;
        if (end > start) this.ranges.push(start, end);
        return end;
      case Framing.chunked:
        return this.#readChunked(bytes, start, end);
      case Framing.none:
        return start;
      default:
        return this.framing satisfies never;
    }
  }

  #readChunked(bytes: Uint8Array, start: number, end: number): number {
    let i = start;
    let runStart = start;
    // Bytes inside an extension or the trailers are not part of any run.
    let isInRun = this.#state !== State.extension && this.#state !== State.trailers;
    const endRun = (at: number): void => {
      if (isInRun && !this.#isPayloadOnly && at > runStart) this.ranges.push(runStart, at);
      isInRun = false;
    };
    while (i < end) {
      const byte = bytes[i] ?? 0;
      switch (this.#state) {
        case State.sizeStart:
        case State.size: {
          const digit = HEX_VALUE[byte] ?? 255;
          if (digit < 16) {
            if (++this.#digits > MAX_SIZE_DIGITS) return this.#fail('chunk size too large', i);
            this.#remaining = this.#remaining * 16 + digit;
            this.#state = State.size;
            i++;
            break;
          }
          if (this.#digits === 0) return this.#fail('malformed chunk size', i);
          if (byte === CR) this.#state = State.sizeLf;
          else if (byte === SEMICOLON) {
            endRun(i);
            this.#state = State.extension;
          } else return this.#fail('malformed chunk size', i);
          i++;
          break;
        }
        case State.extension:
          if (byte === CR) {
            this.#state = State.sizeLf;
            isInRun = true;
            runStart = i;
          } else if (IS_EXTENSION[byte] !== 1 || ++this.#extension_bytes > MAX_EXTENSION_BYTES) {
            return this.#fail('malformed chunk extension', i);
          }
          i++;
          break;
        case State.sizeLf:
          if (byte !== LF) return this.#fail('bare CR after a chunk size', i);
          i++;
          this.#digits = 0;
          this.#state = this.#remaining === 0 ? State.afterLast : State.data;
          break;
        case State.data: {
          const count = Math.min(this.#remaining, end - i);
          if (this.#isPayloadOnly) this.ranges.push(i, i + count);
          this.#remaining -= count;
          this.payload_bytes += count;
          i += count;
          if (this.#remaining === 0) this.#state = State.dataCr;
          break;
        }
        case State.dataCr:
          if (byte !== CR) return this.#fail('chunk longer than its size', i);
          i++;
          this.#state = State.dataLf;
          break;
        case State.dataLf:
          if (byte !== LF) return this.#fail('bare CR after a chunk', i);
          i++;
          this.#state = State.sizeStart;
          break;
        case State.afterLast:
          if (byte === CR) {
            i++;
            this.#state = State.endLf;
            break;
          }
          endRun(i);
          this.#state = State.trailers;
          break;
        case State.endLf:
          if (byte !== LF) return this.#fail('bare CR after the last chunk', i);
          i++;
          endRun(i);
          this.isDone = true;
          return i;
        case State.trailers:
          i = this.#readTrailers(bytes, i, end);
          if (this.isDone || this.fault !== '') return i;
          break;
        default:
          this.#state satisfies never;
      }
    }
    endRun(i);
    return i;
  }

  #readTrailers(bytes: Uint8Array, start: number, end: number): number {
    let i = start;
    while (i < end) {
      const byte = bytes[i++] ?? 0;
      this.#trailerText += String.fromCharCode(byte);
      if (this.#trailerText.length > MAX_TRAILER_BYTES) return this.#fail('trailers too long', i);
      if (byte !== LF || !this.#trailerText.endsWith('\r\n\r\n')) continue;
      const cleaned = cleanTrailers(this.#trailerText);
      if (cleaned === undefined) return this.#fail('malformed trailers', i);
      this.trailers = cleaned;
      this.tail = this.#isPayloadOnly ? '' : `${cleaned}\r\n`;
      this.isDone = true;
      return i;
    }
    return i;
  }

  #fail(fault: string, at: number): number {
    this.fault = fault;
    this.ranges.length = 0;
    return at;
  }
}
