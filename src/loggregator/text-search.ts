import type { Chunk } from './chunk.ts';
import { type FilterQuery, filterQuery, mayHold } from './text-filter.ts';

/** What a line must have; all that is given must hold. Plain data, so that it can be told to another thread. */
export interface SearchTerms {
  /** Part of the text, whatever the case of its ASCII letters. */
  q?: string;
  level?: Level;
  /** `source_type`, or the part of it before a slash: `APP` finds `APP/PROC/WEB`. */
  source?: string;
  instance?: string;
  /** In the text or a tag. */
  request_id?: string;
}

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type Level = (typeof LEVELS)[number];

const LEVEL_WORD =
  /(?<![A-Za-z])(trace|debug|info|notice|warn|warning|err|error|severe|crit|critical|fatal|panic|emerg)(?![A-Za-z])/i;
/** Where a level may be expected; far on in a line its words are prose. */
const LEVEL_WITHIN_BYTES = 256;
const LEVEL_OF: Readonly<Record<string, Level>> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  notice: 'info',
  warn: 'warn',
  warning: 'warn',
  err: 'error',
  error: 'error',
  severe: 'error',
  crit: 'fatal',
  critical: 'fatal',
  fatal: 'fatal',
  panic: 'fatal',
  emerg: 'fatal',
};

type Matcher = (chunk: Chunk, at: number) => boolean;

/** Finds lines by their terms. A block is first asked by its filter, then scanned as one text, and only then line by line. */
export class TextSearch {
  readonly #terms: SearchTerms;
  readonly #needle: { pattern: RegExp; length: number } | undefined;
  readonly #filters: readonly FilterQuery[];

  constructor(terms: SearchTerms) {
    this.#terms = terms;
    const { q, request_id } = terms;
    this.#needle = q === undefined || q === '' ? undefined : needleOf(q);
    this.#filters = [
      ...(q === undefined ? [] : [filterQuery(q, false)]),
      ...(request_id === undefined ? [] : [filterQuery(request_id, true)]),
    ];
  }

  /** Whether a block with this filter can have any. */
  mayHold(filter: Buffer): boolean {
    return this.#filters.every((query) => mayHold(filter, query));
  }

  /** What to ask of this chunk's entries; undefined when none of them can match. */
  matcher(chunk: Chunk): Matcher | undefined {
    const candidates = this.#candidates(chunk);
    if (candidates?.size === 0) return undefined;
    const origins = new Map(chunk.origins.map((origin) => [origin, this.#isOriginRight(origin)]));
    if (![...origins.values()].includes(true)) return undefined;
    const { level, request_id } = this.#terms;
    return (_chunk, at) =>
      (candidates === undefined || candidates.has(at)) &&
      origins.get(chunk.originAt(at)) === true &&
      (request_id === undefined || isAbout(chunk, at, request_id)) &&
      (level === undefined || levelOf(chunk, at) === level);
  }

  /** Entries whose text has the needle. */
  #candidates(chunk: Chunk): Set<number> | undefined {
    const needle = this.#needle;
    if (!needle) return undefined;
    const text = chunk.text.toString('latin1');
    const found = new Set<number>();
    needle.pattern.lastIndex = 0;
    for (let match = needle.pattern.exec(text); match; match = needle.pattern.exec(text)) {
      const at = chunk.entryAtByte(match.index);
      const end = chunk.endOf(at);
      // Payloads lie without a gap: a match that begins here and ends in the next line is none.
      const isWithin = match.index + needle.length <= end;
      if (isWithin) found.add(at);
      needle.pattern.lastIndex = isWithin ? end : match.index + 1;
    }
    return found;
  }

  #isOriginRight({ instance_id, tags }: { instance_id: string; tags: Readonly<Record<string, string>> }): boolean {
    const { source, instance } = this.#terms;
    if (instance !== undefined && instance !== instance_id) return false;
    if (source === undefined) return true;
    const type = (tags['source_type'] ?? '').toLowerCase();
    return type === source.toLowerCase() || type.startsWith(`${source.toLowerCase()}/`);
  }
}

/**
 * The needle as a pattern for text read as Latin-1, where a byte is a character: letters of ASCII are found in either case, those
 * beyond it in their own case alone. (V8 searches by such a pattern several times faster than it folds text and searches that.)
 */
function needleOf(q: string): { pattern: RegExp; length: number } {
  const text = Buffer.from(q).toString('latin1');
  return { pattern: new RegExp(RegExp.escape(text), 'gi'), length: text.length };
}

function isAbout(chunk: Chunk, at: number, request_id: string): boolean {
  return chunk.payloadAt(at).includes(request_id) || Object.values(chunk.originAt(at).tags).includes(request_id);
}

/** The level that a line names itself; one that names none is `error` on standard error and `info` elsewhere. */
function levelOf(chunk: Chunk, at: number): Level {
  const payload = chunk.payloadAt(at);
  const word = LEVEL_WORD.exec(payload.toString('latin1', 0, Math.min(payload.length, LEVEL_WITHIN_BYTES)))?.[1];
  const level = word === undefined ? undefined : LEVEL_OF[word.toLowerCase()];
  return level ?? (chunk.kindAt(at) === 'ERR' ? 'error' : 'info');
}
