import type { Readable } from 'node:stream';
import { systemClock } from '#kernel/clock.ts';
import type { JobOutput } from '#contracts/warden.ts';

type Line = Extract<JobOutput, { name: string }>;

const NEWLINE = 10;
/** A longer line is told in parts. */
const MAX_LINE_BYTES = 65_536;

/** What a job has written, line by line; the newest `keep_bytes` of it, in memory. */
export class OutputLog {
  readonly #keep_bytes: number;
  #lines: Line[] = [];
  #first_offset = 0;
  #offset = 0;
  #isOver = false;
  readonly #waiting = new Set<() => void>();

  constructor(keep_bytes: number) {
    this.#keep_bytes = keep_bytes;
  }

  /** Reads a stream of the job to its end. */
  async take(name: Line['name'], stream: Readable): Promise<void> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE)) {
        this.#add(name, rest.subarray(0, at), false);
        rest = rest.subarray(at + 1);
      }
      for (; rest.length > MAX_LINE_BYTES; rest = rest.subarray(MAX_LINE_BYTES))
        this.#add(name, rest.subarray(0, MAX_LINE_BYTES), true);
    }
    if (rest.length > 0) this.#add(name, rest, true);
  }

  /** Nothing more comes. */
  close(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** The lines from an offset on, waiting for more until it is closed. */
  async *follow(offset: number, signal: AbortSignal): AsyncGenerator<Line> {
    let reached = offset;
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      for (;;) {
        const next = this.#lines.find((line) => line.offset > reached);
        if (next) {
          reached = next.offset;
          yield next;
          continue;
        }
        if (this.#isOver || signal.aborted) return;
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  #add(name: Line['name'], text: Buffer, partial: boolean): void {
    this.#offset += text.length + 1;
    const timestamp_ns = `${Math.round(systemClock.now() * 1000)}000`;
    this.#lines.push({ name, data: text.toString('base64'), partial, timestamp_ns, offset: this.#offset });
    while (this.#offset - this.#first_offset > this.#keep_bytes && this.#lines.length > 1)
      this.#first_offset = this.#lines.shift()?.offset ?? this.#offset;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
