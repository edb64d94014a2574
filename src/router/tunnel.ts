import type { Socket } from 'node:net';
import type { ResponsePiece } from './backend.ts';

/** Above this many unsent bytes the other side is asked to wait. */
export const MAX_UNSENT_BYTES = 131_072;

/** After an upgrade: bytes both ways until both sides have ended, without a time limit. An end is passed on as one. */
export class Tunnel {
  readonly #client: Socket;
  readonly #backend: Socket;
  readonly #onOver: () => void;
  #ended = 0;
  #isOver = false;
  bytesIn = 0;
  bytesOut = 0;

  constructor(client: Socket, backend: Socket, onOver: () => void) {
    this.#client = client;
    this.#backend = backend;
    this.#onOver = onOver;
  }

  /** Passes on what either side said before there was a tunnel. */
  begin(fromClient: Buffer, { bytes, byteAt, end }: ResponsePiece): void {
    if (byteAt < end) this.fromBackend(bytes.subarray(byteAt), end - byteAt);
    if (fromClient.length > 0) this.fromClient(fromClient);
    this.#client.resume();
  }

  fromClient(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    this.#backend.write(bytes);
    if (this.#backend.writableLength > MAX_UNSENT_BYTES) this.#client.pause();
  }

  /** `bytes` belong to the caller: they are copied. */
  fromBackend(bytes: Buffer, end: number): void {
    this.bytesOut += end;
    this.#client.write(Buffer.from(bytes.subarray(0, end)));
    if (this.#client.writableLength > MAX_UNSENT_BYTES) this.#backend.pause();
  }

  clientDrained(): void {
    this.#backend.resume();
  }

  backendDrained(): void {
    this.#client.resume();
  }

  clientEnded(): void {
    this.#backend.end();
    this.#countEnd();
  }

  backendEnded(): void {
    this.#client.end();
    this.#countEnd();
  }

  /** One side is gone for good: nothing more can be told to the other. */
  broke(): void {
    this.#close();
  }

  #countEnd(): void {
    if (++this.#ended >= 2) this.#close();
  }

  #close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onOver();
  }
}
