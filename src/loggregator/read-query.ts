import { AppError } from '#kernel/errors.ts';
import type { Chunk, Kind } from './chunk.ts';
import { ALL_KINDS, kindBits, type ReadQuery } from './found.ts';
import { linearPattern } from './linear-pattern.ts';
import { LEVELS, type SearchTerms } from './text-search.ts';

export class QueryInvalid extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('query_invalid', message, options);
  }
}

export type QueryParameters = Readonly<Record<string, string | string[] | undefined>>;

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;
const MAX_PATTERN_LENGTH = 256;
const MAX_TERM_LENGTH = 1_024;

const TYPES: Readonly<Record<string, readonly Kind[]>> = {
  LOG: ['OUT', 'ERR'],
  COUNTER: ['COUNTER'],
  GAUGE: ['GAUGE'],
  TIMER: ['TIMER'],
  EVENT: ['EVENT'],
};

/**
 * The parameters of `/api/v1/read` as log-cache takes them: `start_time` inclusive and `end_time` exclusive (ns, any int64;
 * the cf CLI sends Go's zero time, far below zero), `limit` 1…1000, `descending`, `envelope_types` repeated, `name_filter`.
 * Errors: QueryInvalid.
 */
export async function parseReadQuery(parameters: QueryParameters, now_ms: number): Promise<ReadQuery> {
  const start = int64(parameters, 'start_time') ?? 0n;
  // As log-cache: without an end, now; what a clock that is ahead has stamped is shown when its time has come.
  const end = int64(parameters, 'end_time') ?? BigInt(Math.ceil(now_ms) + 1) * 1_000_000n;
  if (first(parameters, 'end_time') !== undefined && start > end) {
    throw new QueryInvalid('StartTime must be before EndTime');
  }
  const limit = Number(int64(parameters, 'limit') ?? 0n) || DEFAULT_LIMIT;
  if (limit < 0) throw new QueryInvalid('Limit must be above 0');
  if (limit > MAX_LIMIT) throw new QueryInvalid(`Limit (${limit}) must be ${MAX_LIMIT} or less`);
  const name_filter = first(parameters, 'name_filter');
  return {
    start,
    end,
    limit,
    descending: isTrue(parameters, 'descending'),
    kinds: kindsOf(parameters),
    ...(name_filter !== undefined && name_filter !== '' && { matches: await nameMatcher(name_filter) }),
  };
}

/**
 * Ours beside log-cache's: `q` (part of the text), `level`, `source` (`APP`, `RTR`…), `instance`, `request_id`. Undefined without
 * any of them. Errors: QueryInvalid.
 */
export function parseSearchTerms(parameters: QueryParameters): SearchTerms | undefined {
  const terms: SearchTerms = {};
  for (const name of ['q', 'source', 'instance', 'request_id'] as const) {
    const value = first(parameters, name);
    if (value === undefined || value === '') continue;
    if (value.length > MAX_TERM_LENGTH) throw new QueryInvalid(`${name} must not be longer than ${MAX_TERM_LENGTH}`);
    terms[name] = value;
  }
  const level = first(parameters, 'level')?.toLowerCase();
  if (level !== undefined && level !== '') {
    const known = LEVELS.find((name) => name === level);
    if (!known) throw new QueryInvalid(`level must be one of ${LEVELS.join(', ')}`);
    terms.level = known;
  }
  return Object.keys(terms).length === 0 ? undefined : terms;
}

export function first(parameters: QueryParameters, name: string): string | undefined {
  const value = parameters[name];
  return Array.isArray(value) ? value[0] : value;
}

export function all(parameters: QueryParameters, name: string): string[] {
  const value = parameters[name];
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function int64(parameters: QueryParameters, name: string): bigint | undefined {
  const text = first(parameters, name);
  if (text === undefined || text === '') return undefined;
  const value = /^[+-]?\d{1,19}$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || BigInt.asIntN(64, value) !== value) {
    throw new QueryInvalid(`${name}: ${JSON.stringify(text.slice(0, 40))} is not a whole number of 64 bits`);
  }
  return value;
}

function isTrue(parameters: QueryParameters, name: string): boolean {
  const text = first(parameters, name) ?? 'false';
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)?$/i.test(text)) return false;
  throw new QueryInvalid(`${name}: ${JSON.stringify(text.slice(0, 40))} is neither true nor false`);
}

function kindsOf(parameters: QueryParameters): number {
  let bits = 0;
  for (const name of all(parameters, 'envelope_types').flatMap((value) => value.split(','))) {
    if (name === 'ANY' || name === '0') return ALL_KINDS;
    const kinds = TYPES[name];
    if (!kinds) throw new QueryInvalid(`envelope_types: there is no type ${JSON.stringify(name.slice(0, 40))}`);
    bits |= kindBits(...kinds);
  }
  return bits === 0 ? ALL_KINDS : bits;
}

/** Of a measurement's names one must match; logs and events have none. */
async function nameMatcher(pattern: string): Promise<(chunk: Chunk, at: number) => boolean> {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new QueryInvalid(`name_filter must not be longer than ${MAX_PATTERN_LENGTH} characters`);
  }
  const test = await linearPattern(pattern).catch((error: unknown) => {
    throw new QueryInvalid(`${JSON.stringify(pattern.slice(0, 100))} is not a regular expression`, { cause: error });
  });
  const known = new Map<string, boolean>();
  return (chunk, at) =>
    namesOf(chunk, at).some((name) => {
      let matches = known.get(name);
      if (matches === undefined) known.set(name, (matches = test(name)));
      return matches;
    });
}

function namesOf(chunk: Chunk, at: number): string[] {
  const kind = chunk.kindAt(at);
  if (kind === 'OUT' || kind === 'ERR' || kind === 'EVENT') return [];
  const measurement = JSON.parse(chunk.payloadAt(at).toString()) as {
    name?: string;
    metrics?: Record<string, unknown>;
  };
  if (kind === 'GAUGE') return Object.keys(measurement.metrics ?? {});
  return measurement.name === undefined ? [] : [measurement.name];
}
