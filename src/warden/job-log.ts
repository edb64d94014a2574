import { watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { JobOutput } from '#contracts/warden.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import { nextData } from './syscalls.ts';

type Line = Extract<JobOutput, { name: string }>;

const NEWLINE = 10;
const CHUNK = 65_536;
const PATTERN = /^(\S+) (stdout|stderr) ([FP]) /;

/** One line of conmon's k8s-file log: `TIME stdout|stderr F|P text`; `offset` is where the next one begins. */
export function parseLine(line: Buffer, offset: number): Line | undefined {
  const match = PATTERN.exec(line.toString('latin1', 0, 64));
  if (!match) return undefined;
  const [head, time = '', name, kind] = match;
  return {
    name: name === 'stderr' ? 'stderr' : 'stdout',
    data: line.subarray(head.length).toString('base64'),
    partial: kind === 'P',
    timestamp_ns: toNanoseconds(time),
    offset,
  };
}

/** RFC 3339 with nanoseconds to nanoseconds since the epoch; `Date` alone would cut them to milliseconds. */
function toNanoseconds(time: string): string {
  const match = /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  const seconds = match ? Date.parse(`${match[1]}${match[3]}`) / 1000 : 0;
  return `${seconds}${(match?.[2] ?? '').padEnd(9, '0')}`;
}

export interface FollowOptions {
  offset: number;
  /** Whether the job has ended: what stands in the log then is all there will be. */
  hasEnded: () => boolean;
  /** Resolves when the job has ended. */
  end: Promise<unknown>;
  signal: AbortSignal;
}

/** The lines of a log from a byte offset on, waiting for more until the job has ended. */
export async function* followLog(path: string, options: FollowOptions): AsyncGenerator<Line> {
  const { hasEnded, end, signal } = options;
  await using file = await openLog(path);
  if (!file) return;
  const bell = new Bell(path);
  void end.then(() => bell.ring());
  const stop = () => bell.ring();
  signal.addEventListener('abort', stop, { once: true });
  try {
    let { offset } = options;
    for (;;) {
      if (signal.aborted) return;
      const isLast = hasEnded();
      const before = offset;
      for await (const line of readLines(file, offset)) {
        offset = line.offset;
        yield line;
      }
      if (isLast) return;
      if (offset === before) await bell.wait();
    }
  } finally {
    signal.removeEventListener('abort', stop);
    bell.close();
  }
}

/** All whole lines that stand in the file from `offset` on. */
async function* readLines(file: FileHandle, offset: number): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0);
  let position = nextData(file.fd, offset);
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, position + rest.length);
    if (bytesRead === 0) return;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    let begin = 0;
    for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE, begin)) {
      const line = parseLine(rest.subarray(begin, at), position + at + 1);
      begin = at + 1;
      if (line) yield line; // the first one behind a hole may lack its beginning
    }
    position += begin;
    rest = rest.subarray(begin);
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Wakes whoever waits when the file changes; a change between two waits is not lost. */
class Bell {
  readonly #watcher;
  #hasRung = false;
  #wake: (() => void) | undefined;

  constructor(path: string) {
    this.#watcher = watch(path, () => this.ring());
    this.#watcher.on('error', () => this.ring());
  }

  ring(): void {
    this.#hasRung = true;
    this.#wake?.();
  }

  async wait(): Promise<void> {
    if (!this.#hasRung) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
    this.#hasRung = false;
  }

  close(): void {
    this.#watcher.close();
  }
}
