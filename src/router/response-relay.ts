import type { Socket } from 'node:net';
import type { ResponsePiece } from './backend.ts';
import { BodyReader, Framing } from './body-reader.ts';
import type { Exchange } from './exchange.ts';
import { type BodyForm, responseHeadText } from './forward-response.ts';
import type { Write } from './read-pages.ts';
import type { ResponseHead } from './response-head.ts';

/** What became of a piece: more is to come, the response is complete, or its framing is broken. */
export type Relayed = 'more' | 'done' | 'broken';

/** Bodies up to here are waited for when their head came alone, for so long. */
const SMALL_BODY_BYTES = 16_384;
const HOLD_MS = 2;

/** Writes one response after another to an HTTP/1.x client, framed as that client can read it. */
export class ResponseRelay {
  /** Whether the connection to the client ends with this response. */
  isLast = false;
  /** Whether the backend's connection is at a clean place for the next request. */
  isQuiet = false;
  /** Trailer lines to end the next body with that is chunked here and not at the backend. */
  trailers = '';
  readonly #socket: Socket;
  readonly #body = new BodyReader();
  #form: BodyForm = 'none';
  #mayKeepBackend = false;
  /** A head that waits a moment for its small body. */
  #heldHead = '';

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Writes the head and what came with it of the body. A small response is one write. */
  begin(exchange: Exchange, head: ResponseHead, piece: ResponsePiece): Relayed {
    const { contentLength } = head;
    const available = piece.end - piece.byteAt;
    const hasBody = exchange.head.method !== 'HEAD' && head.status !== 204 && head.status !== 304;
    if (!hasBody || (contentLength === 0 && !head.isChunked)) {
      this.isQuiet = head.mayKeepAlive && available === 0;
      this.#socket.write(responseHeadText(exchange, head, hasBody ? 'as_is' : 'none', this.isLast), 'latin1');
      return 'done';
    }
    if (contentLength > 0 && contentLength <= available) {
      this.isQuiet = head.mayKeepAlive && contentLength === available;
      const body = piece.text.slice(piece.bodyAt, piece.bodyAt + contentLength);
      this.#socket.write(responseHeadText(exchange, head, 'as_is', this.isLast) + body, 'latin1');
      exchange.bytesOut = contentLength;
      return 'done';
    }
    this.#mayKeepBackend = head.mayKeepAlive;
    this.#form = this.#beginBody(exchange, head);
    if (this.#form === 'until_close') this.isLast = true;
    const headText = responseHeadText(exchange, head, this.#form, this.isLast);
    if (head.isChunked || contentLength > SMALL_BODY_BYTES || contentLength < 0) exchange.backend?.expectLong();
    if (available === 0 && contentLength > 0 && contentLength <= SMALL_BODY_BYTES) {
      this.#hold(headText);
      return 'more';
    }
    this.#socket.cork();
    this.#socket.write(headText, 'latin1');
    const relayed = available > 0 ? this.pass(exchange, piece.bytes, { start: piece.byteAt, end: piece.end }) : 'more';
    this.#socket.uncork();
    return relayed;
  }

  /** Passes on a part of the body, which was just read. */
  pass(exchange: Exchange, bytes: Buffer, part: { start: number; end: number }): Relayed {
    const body = this.#body;
    const at = body.read(bytes, part.start, part.end);
    if (body.fault !== '') return 'broken';
    if (this.#heldHead !== '') {
      const text = this.#heldHead + bytes.toString('latin1', part.start, at);
      this.#heldHead = '';
      this.#socket.write(text, 'latin1');
      body.ranges.length = 0;
    }
    const { ranges } = body;
    const write = this.#form === 'chunk' ? this.#writeChunk : this.#write;
    for (let r = 0; r < ranges.length; r += 2) {
      exchange.backend?.passOn(write, bytes.subarray(ranges[r] ?? 0, ranges[r + 1] ?? 0));
    }
    exchange.bytesOut = body.payload_bytes;
    if (!body.isDone) return 'more';
    if (body.tail !== '') this.#socket.write(body.tail, 'latin1');
    this.isQuiet = this.#mayKeepBackend && at === part.end;
    return 'done';
  }

  /** The backend's end: the proper one for a response that lasts until then. */
  end(): Relayed {
    if (this.#body.framing !== Framing.untilClose) return 'broken';
    if (this.#form === 'chunk') this.#socket.write(`0\r\n${this.trailers}\r\n`, 'latin1');
    this.trailers = '';
    this.isQuiet = false;
    return 'done';
  }

  /** Many servers send head and body apart: waiting for the second of the two makes one write of them. */
  #hold(headText: string): void {
    this.#heldHead = headText;
    setTimeout(() => {
      // Empty by now, or again held by a later response, which loses nothing by going out early.
      if (this.#heldHead !== '' && !this.#socket.destroyed) this.#socket.write(this.#heldHead, 'latin1');
      this.#heldHead = '';
    }, HOLD_MS).unref();
  }

  #beginBody(exchange: Exchange, head: ResponseHead): BodyForm {
    const { isHttp10 } = exchange.head;
    if (head.isChunked) {
      this.#body.begin(Framing.chunked, -1, isHttp10);
      return isHttp10 ? 'until_close' : 'as_is';
    }
    if (head.contentLength > 0) {
      this.#body.begin(Framing.length, head.contentLength, false);
      return 'as_is';
    }
    this.#body.begin(Framing.untilClose, -1, false);
    return isHttp10 ? 'until_close' : 'chunk';
  }

  readonly #write: Write = (bytes, onSent) => void this.#socket.write(bytes, onSent);

  readonly #writeChunk: Write = (bytes, onSent) => {
    const socket = this.#socket;
    socket.cork();
    socket.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
    socket.write(bytes, onSent);
    socket.write('\r\n', 'latin1');
    socket.uncork();
  };
}
