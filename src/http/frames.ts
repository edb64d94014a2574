import type { Socket } from 'node:net';
import { FRAME, type FrameKind } from '#contracts/attach.ts';
import { AppError } from '#kernel/errors.ts';

const HEAD_BYTES = 5;
/** Far above what either end sends at once. */
const MAX_FRAME_BYTES = 1024 * 1024;
const KINDS = new Set<number>(Object.values(FRAME));

export interface Frame {
  kind: FrameKind;
  payload: Buffer;
}

/** What came over a stream of frames is none. */
export class BrokenFrames extends AppError {
  constructor(message: string) {
    super('broken_frames', message);
  }
}

export function encodeFrame(kind: FrameKind, payload: Buffer | object = Buffer.alloc(0)): Buffer {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload));
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt8(kind, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** Puts the frames of contracts/attach.ts together again from chunks that end anywhere. */
export class FrameReader {
  #held: Buffer = Buffer.alloc(0);

  /** What has come and is no whole frame yet. */
  get rest(): Buffer {
    return this.#held;
  }

  /** The next whole frame, if there is one. Errors: BrokenFrames. */
  next(): Frame | undefined {
    if (this.#held.length < HEAD_BYTES) return undefined;
    const kind = this.#held.readUInt8(0);
    const length = this.#held.readUInt32BE(1);
    if (!KINDS.has(kind)) throw new BrokenFrames(`there is no frame of kind ${kind}`);
    if (length > MAX_FRAME_BYTES) throw new BrokenFrames(`a frame of ${length} bytes is too long`);
    if (this.#held.length < HEAD_BYTES + length) return undefined;
    const payload = this.#held.subarray(HEAD_BYTES, HEAD_BYTES + length);
    this.#held = this.#held.subarray(HEAD_BYTES + length);
    return { kind: kind as FrameKind, payload };
  }

  add(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
  }
}

/**
 * Frames that come over a socket, one after the other, each asked for only when the last was dealt with: a slow reader slows the
 * sender. Ends with the socket. Errors: BrokenFrames, and the socket's own.
 */
export async function* framesOf(socket: Socket, reader: FrameReader = new FrameReader()): AsyncGenerator<Frame> {
  for (;;) {
    for (let frame = reader.next(); frame; frame = reader.next()) yield frame;
    const chunk = await nextChunk(socket);
    if (!chunk) return;
    reader.add(chunk);
  }
}

async function nextChunk(socket: Socket): Promise<Buffer | undefined> {
  for (;;) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) return chunk;
    if (socket.readableEnded || socket.destroyed) {
      if (socket.errored) throw socket.errored;
      return undefined;
    }
    await new Promise<void>((resolve) => {
      const go = (): void => {
        for (const event of ['readable', 'end', 'close', 'error']) socket.off(event, go);
        resolve();
      };
      for (const event of ['readable', 'end', 'close', 'error']) socket.on(event, go);
    });
  }
}

/** Writes, and resolves once there is room for more. Errors: the stream's end. */
export async function writeTo(stream: NodeJS.WritableStream & { destroyed?: boolean }, data: Buffer): Promise<void> {
  if (stream.write(data) || stream.destroyed === true) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      for (const event of ['drain', 'close', 'error']) stream.off(event, go);
      resolve();
    };
    for (const event of ['drain', 'close', 'error']) stream.on(event, go);
  });
}
