import type { Clock } from '#kernel/clock.ts';
import { WardenUnreachable, type WardenClient } from '#http/warden-client.ts';
import type { JobResult } from '#contracts/warden.ts';
import { LineAssembler } from './line-assembler.ts';

export interface OutputLine {
  stream: 'OUT' | 'ERR';
  line: Buffer;
  timestamp_ns: string;
}

export interface FollowOptions {
  warden: WardenClient;
  clock: Clock;
  handle: string;
  job_id: string;
  /** Where to begin, in bytes of the job's log. */
  offset: number;
  signal?: AbortSignal;
}

/** A job's end as far as it can be known. */
export const UNKNOWN_END: JobResult = { exit_status: -1, oom: false };

const WARDEN_RETRY_MS = 200;

/**
 * Hands a job's output to `sink`, whole lines with the offset after them, until the job ends or is not there any more. It
 * outlives restarts of warden.
 */
export async function followOutput(
  options: FollowOptions,
  sink: (line: OutputLine, offset: number) => void,
): Promise<void> {
  const assemblers = { stdout: new LineAssembler(), stderr: new LineAssembler() };
  let last = { timestamp_ns: '0' };
  let { offset } = options;
  await survivingWarden(options, async () => {
    const signal = options.signal ? { signal: options.signal } : {};
    for await (const item of options.warden.stream(options.handle, options.job_id, offset, signal)) {
      if ('exit_status' in item) break;
      offset = item.offset;
      last = item;
      const stream = item.name === 'stdout' ? 'OUT' : 'ERR';
      for (const line of assemblers[item.name].add(Buffer.from(item.data, 'base64'), item.partial)) {
        sink({ stream, line, timestamp_ns: item.timestamp_ns }, item.offset);
      }
    }
  });
  for (const line of assemblers.stdout.end()) sink({ stream: 'OUT', line, timestamp_ns: last.timestamp_ns }, offset);
  for (const line of assemblers.stderr.end()) sink({ stream: 'ERR', line, timestamp_ns: last.timestamp_ns }, offset);
}

/** Waits for a job's end; UNKNOWN_END when neither job nor container is there any more. It outlives restarts of warden. */
export async function awaitEnd(options: Omit<FollowOptions, 'offset'>): Promise<JobResult> {
  const signal = options.signal ? { signal: options.signal } : {};
  const end = await survivingWarden(options, async () => {
    return await options.warden.link(options.handle, options.job_id, signal);
  });
  return end ?? UNKNOWN_END;
}

/** Runs `work` again for as long as warden is away. Undefined when the container or job is gone. */
async function survivingWarden<T>(
  options: { clock: Clock; signal?: AbortSignal },
  work: () => Promise<T>,
): Promise<T | undefined> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (isGone(error)) return undefined;
      if (!(error instanceof WardenUnreachable)) throw error;
      await options.clock.sleep(WARDEN_RETRY_MS, options.signal);
    }
  }
}

/** Whether warden says that it knows no such container or job. */
export function isGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'container_not_found' || code === 'job_not_found';
}
