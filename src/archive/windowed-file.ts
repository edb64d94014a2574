import type { FileHandle } from 'node:fs/promises';
import { RandomAccessReader } from 'yauzl';
import { ArchiveInvalid } from './errors.ts';

const WINDOW_BYTES = 1 << 20;

/** Reads a file in large pieces, for readers that ask for many small ones that lie near each other. */
export class WindowedFile {
  readonly #file: FileHandle;
  #window: { position: number; bytes: Buffer } = { position: 0, bytes: Buffer.alloc(0) };

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Errors: ArchiveInvalid when the file ends before. */
  async read(position: number, length: number): Promise<Buffer> {
    const at = position - this.#window.position;
    if (at >= 0 && at + length <= this.#window.bytes.length) return this.#window.bytes.subarray(at, at + length);
    // A window of its own each time: what was handed out of the last one may still be in use.
    const bytes = Buffer.allocUnsafe(Math.max(length, WINDOW_BYTES));
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await this.#file.read(bytes, filled, bytes.length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    if (filled < length) throw new ArchiveInvalid('the file is cut short');
    this.#window = { position, bytes: bytes.subarray(0, filled) };
    return this.#window.bytes.subarray(0, length);
  }
}

/** As yauzl asks for the bytes of a zip's directory: twice for each entry. */
export class DirectoryReader extends RandomAccessReader {
  readonly #file: WindowedFile;

  constructor(file: WindowedFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    this.#file.read(position, length).then(
      (bytes) => callback(null, bytes.copy(buffer, offset)),
      (error: unknown) => callback(error instanceof Error ? error : new Error(String(error))),
    );
  }

  override _readStreamForRange(): never {
    throw new Error('contents are read by ZipReader');
  }
}
