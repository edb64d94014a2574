import type { BackendFault } from './answers.ts';
import type { Endpoint } from './endpoint.ts';
import type { Write } from './read-pages.ts';
import type { ResponseHead } from './response-head.ts';

/** A way to an endpoint for the time of one request, whatever protocol it speaks there. */
export interface Backend {
  readonly endpoint: Endpoint;
  readonly isReady: boolean;
  /** Requests it was used for before; only a used one can turn out to have been closed meanwhile. */
  readonly served: number;
  /** Whether it frames bodies itself: then it is given payload alone. */
  readonly takesPayload: boolean;
  /** Bytes given to it that the system has not taken yet. */
  readonly unsent_bytes: number;
  /** The head in the form of HTTP/1.1 (latin1), with the body when it is whole; `hasMore` when a body follows. */
  sendHead(text: string, body: string, hasMore: boolean): void;
  /** Keeps the bytes until they are sent, and calls back then, or when they never will be. */
  sendBody(bytes: Buffer, onSent?: () => void): void;
  /** After the last of a body that followed; `tail` are its trailers as framed. */
  endBody(tail: string): void;
  /** Says that the body of the response is long, so that its pieces are better lent than copied. */
  expectLong(): void;
  /** Writes a part of what was just read of the response, kept until it is sent. */
  passOn(write: Write, bytes: Buffer): void;
  /** Stops and goes on reading the response. */
  pause(): void;
  resume(): void;
  /** Gives it back after a complete exchange. Returns whether it can serve another. */
  release(): boolean;
  destroy(): void;
}

/** Who has a backend for the time of one request. */
export interface BackendUser {
  onBackendReady(backend: Backend): void;
  /** A 1xx before the response. Its field lines are in `head.kept`. */
  onInterim(head: ResponseHead): void;
  onResponse(head: ResponseHead, piece: ResponsePiece): void;
  /** More of the body; the bytes are the backend's and change after the call. */
  onBackendBytes(bytes: Buffer, end: number): void;
  /** Trailer lines of a backend that frames bodies itself; its end follows. */
  onBackendTrailers(lines: string): void;
  onBackendDrain(): void;
  /** It is over; `fault` says what it means when the response was not complete. */
  onBackendClosed(backend: Backend, fault: BackendFault, isClean: boolean): void;
}

/**
 * What was read with a response's head: `text` (latin1), in which the body starts at `bodyAt`, and the same in `bytes` up to
 * `end`, where the body starts at `byteAt`.
 */
export interface ResponsePiece {
  text: string;
  bodyAt: number;
  bytes: Buffer;
  byteAt: number;
  end: number;
}
