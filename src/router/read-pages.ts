/** Where what is read from a socket is put, so that a long body costs no memory of its own for each piece of it. */
import { Socket } from 'node:net';

const PAGE_BYTES = 65_536;
/** Pages kept for the next long body; more were needed only in a peak. */
const MAX_FREE = 64;

/** What all connections read into that carry no long body: whatever is to outlive the call is copied. */
const SHARED = Buffer.allocUnsafeSlow(PAGE_BYTES);

class Page {
  readonly bytes = Buffer.allocUnsafeSlow(PAGE_BYTES);
  isBeingRead = true;
  #unwritten = 0;

  lend(): void {
    this.#unwritten++;
  }

  readonly written = (): void => {
    this.#unwritten--;
    this.freeIfUnused();
  };

  freeIfUnused(): void {
    if (this.isBeingRead || this.#unwritten > 0) return;
    if (free.length < MAX_FREE) free.push(this);
  }
}

const free: Page[] = [];

/** Keeps the bytes until they are sent and calls back then, or when they never will be. */
export type Write = (bytes: Buffer, onSent?: () => void) => void;

/** What the pieces that are read from a connection stand in. */
export interface Pieces {
  /** Says whether a long body passes from the next read on. */
  expectLong(isLong: boolean): void;
  /** The bytes in memory that stays as it is. */
  keep(bytes: Buffer): Buffer;
  /** Writes a part of what was just read, kept until it is sent. */
  passOn(write: Write, bytes: Buffer): void;
}

/** Each piece in memory of its own. */
export const OWN_PIECES: Pieces = {
  expectLong: () => undefined,
  keep: (bytes) => bytes,
  passOn: (write, bytes) => write(bytes),
};

/**
 * The pages one socket reads into: the shared one, or while a long body passes some of its own, each of which is read into again
 * once all of it has been written on.
 */
export class ReadPages implements Pieces {
  #isLong = false;
  #page: Page | undefined;

  /** For `onread`: where the next read goes. */
  readonly next = (): Buffer => {
    const last = this.#page;
    this.#page = this.#isLong ? takePage() : undefined;
    if (last !== undefined) {
      last.isBeingRead = false;
      last.freeIfUnused();
    }
    return this.#page?.bytes ?? SHARED;
  };

  expectLong(isLong: boolean): void {
    this.#isLong = isLong;
  }

  keep(bytes: Buffer): Buffer {
    return Buffer.from(bytes);
  }

  passOn(write: Write, bytes: Buffer): void {
    if (this.#page === undefined) return write(Buffer.from(bytes));
    this.#page.lend();
    write(bytes, this.#page.written);
  }
}

function takePage(): Page {
  const page = free.pop() ?? new Page();
  page.isBeingRead = true;
  return page;
}

/**
 * A socket that reads into these pages, in the place of one that a server accepted with `pauseOnConnect` and nobody has read from.
 * Node takes `onread` for sockets that are made by hand alone, so this makes one over the accepted one's handle, which is not public;
 * undefined where Node has no such thing any more, and the accepted socket is to be used as it is.
 */
export function intoPages(accepted: Socket, pages: ReadPages, onBytes: (bytes: Buffer) => void): Socket | undefined {
  const inner = accepted as unknown as { _handle?: { useUserBuffer?: unknown } | null };
  const handle = inner._handle;
  if (typeof handle?.useUserBuffer !== 'function') return undefined;
  inner._handle = null;
  const onread = {
    buffer: pages.next,
    callback: (count: number, bytes: Uint8Array): boolean => {
      onBytes((bytes as Buffer).subarray(0, count));
      return true;
    },
  };
  const socket = new Socket({ handle, allowHalfOpen: true, onread } as object);
  // The server counts the one that it accepted.
  socket.once('close', () => accepted.destroy());
  return socket;
}
