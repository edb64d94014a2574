import { setTimeout as sleep } from 'node:timers/promises';
import type { Cf } from './context.ts';
import { CommandError, ApiError } from './errors.ts';

interface LogEnvelope {
  timestamp: string;
  instance_id?: string;
  tags?: Record<string, string>;
  log?: { payload: string; type: 'OUT' | 'ERR' };
}

interface ReadAnswer {
  envelopes?: { batch?: LogEnvelope[] };
}

export interface LogLine {
  timestamp_ns: bigint;
  source: string;
  type: 'OUT' | 'ERR';
  text: string;
}

const POLL_MS = 100;
const PAGE = 1000;
const MAX_ERRORS = 5;
/** The newest lines are held back a little: those of several emitters come in by and by, and order is worth that wait. */
const SETTLE_NS = 100_000_000n;
/** So far back is looked again for lines that came in later than others of their time. */
const OVERLAP_NS = 1_000_000_000n;

async function read(cf: Cf, app_guid: string, query: Record<string, string | number | undefined>): Promise<LogLine[]> {
  const url = `${cf.session.data.LogCacheEndPoint}/api/v1/read/${app_guid}`;
  const answer = await cf.client.get<ReadAnswer>(url, { envelope_types: 'LOG', ...query });
  return (answer.envelopes?.batch ?? []).flatMap((envelope) => (envelope.log ? [lineOf(envelope, envelope.log)] : []));
}

function lineOf(envelope: LogEnvelope, log: NonNullable<LogEnvelope['log']>): LogLine {
  const instance = envelope.instance_id ?? '';
  const source = envelope.tags?.['source_type'] ?? '';
  return {
    timestamp_ns: BigInt(envelope.timestamp),
    source: instance === '' ? source : `${source}/${instance}`,
    type: log.type,
    text: Buffer.from(log.payload, 'base64').toString('utf8').replace(/\n+$/, ''),
  };
}

/** The newest lines, oldest first; of all that are kept those with the text that is searched. */
export async function recentLogs(
  cf: Cf,
  app_guid: string,
  { limit, search }: { limit: number; search: string | undefined },
): Promise<LogLine[]> {
  return (await read(cf, app_guid, { descending: 'true', limit, q: search })).toReversed();
}

/** Lines from `from_ns` on as they come, in order, until the signal is aborted. Errors: CommandError after five faults in a row. */
export async function* tailLogs(
  cf: Cf,
  app_guid: string,
  options: { from_ns: bigint; signal: AbortSignal; search?: string | undefined },
): AsyncGenerator<LogLine> {
  let next = options.from_ns;
  /** What was shown of the time that is looked at again. */
  const shown = new Map<string, bigint>();
  let isBurst = false;
  let faults = 0;
  // When asked to stop, what was held back is shown first.
  for (let isLast = false; ;) {
    try {
      // In a burst the time before is a page of its own, and looking at it again would be all that is done.
      const from_ns = isBurst ? next : latest(options.from_ns, next - OVERLAP_NS);
      const lines = await read(cf, app_guid, { start_time: from_ns.toString(), limit: PAGE, q: options.search });
      faults = 0;
      const settled = BigInt(Date.now()) * 1_000_000n - (isLast ? 0n : SETTLE_NS);
      const ripe = lines.filter((line) => line.timestamp_ns <= settled);
      for (const line of ripe) {
        const key = `${line.timestamp_ns} ${line.source} ${line.type}`;
        if (!shown.has(key)) yield line;
        shown.set(key, line.timestamp_ns);
      }
      next = latest(next, (ripe.at(-1)?.timestamp_ns ?? 0n) + 1n);
      for (const [key, at_ns] of shown) if (at_ns < next - OVERLAP_NS) shown.delete(key);
      isBurst = ripe.length >= PAGE;
      if (isBurst) continue;
    } catch (error) {
      faults += 1;
      if (faults >= MAX_ERRORS && !options.signal.aborted)
        throw new CommandError('Failed to retrieve logs from Log Cache', { cause: error });
      if (error instanceof ApiError && error.status === 404) faults = Math.min(faults, 1);
    }
    if (isLast) return;
    await sleep(POLL_MS, undefined, { signal: options.signal }).catch(() => {});
    isLast = options.signal.aborted;
  }
}

function latest(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

/** `   2026-11-23T10:11:12.13+0000 [APP/PROC/WEB/0] OUT text`, as the public CLI writes it. */
export function formatLogLine({ timestamp_ns, source, type, text }: LogLine): string {
  const date = new Date(Number(timestamp_ns / 1_000_000n));
  const two = (n: number): string => String(Math.abs(n)).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.trunc(offset / 60))}${two(offset % 60)}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${two(Math.floor(date.getMilliseconds() / 10))}`;
  const head = `   ${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${time}${zone} [${source}] ${type} `;
  // A line that holds several is shown below itself, aligned.
  return head + text.split('\n').join(`\n${' '.repeat(head.length)}`);
}
