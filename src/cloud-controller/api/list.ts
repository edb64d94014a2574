import type { FastifyRequest } from 'fastify';
import { CfError } from '#contracts/cf-errors.ts';

/** What a list endpoint understands; anything else in the query is refused. */
export interface ListSpec {
  /** Filters that take a comma-separated list: `names`, `space_guids`… */
  filters?: readonly string[];
  /** Parameters that are taken as they come, checked by the endpoint: `unmapped`, `fields[space]`… */
  plain?: readonly string[];
  /** What `order_by` takes besides `created_at` and `updated_at`. */
  order?: readonly string[];
  /** What `include` takes. */
  include?: readonly string[];
  /** Whether `label_selector` is understood. */
  labels?: boolean;
  /** Whether `created_ats` and `updated_ats` are; by default they are. */
  timestamps?: boolean;
}

export type TimeOperator = 'in' | 'lt' | 'lte' | 'gt' | 'gte';
export interface TimeFilter {
  column: 'created_at' | 'updated_at';
  operator: TimeOperator;
  times: Date[];
}
export type LabelRequirement =
  | { key: string; operator: 'exists' | 'not_exists' }
  | { key: string; operator: 'in' | 'not_in'; values: string[] };

export interface ListQuery {
  page: number;
  per_page: number;
  order_by: { column: string; direction: 'asc' | 'desc' } | undefined;
  /** By filter name; absent when not given. */
  filters: Readonly<Record<string, string[]>>;
  plain: Readonly<Record<string, string>>;
  include: ReadonlySet<string>;
  times: TimeFilter[];
  labels: LabelRequirement[];
  /** Path and query without `page` and `per_page`, for the links of the pages. */
  path: string;
  rest: URLSearchParams;
}

const MAX_PER_PAGE = 5000;
const MAX_PAGE = 9_223_372_036;
const TIME_KEY = /^(created_at|updated_at)s(?:\[(lt|lte|gt|gte)\])?$/;

/** Errors: 400 CF-BadQueryParameter with all that is wrong with the query. */
export function parseList(request: FastifyRequest, spec: ListSpec = {}): ListQuery {
  const url = new URL(request.url, 'http://api');
  const faults: string[] = [];
  const given = lastOfEach(url.searchParams);
  const known = knownKeys(spec);
  const unknown = [...given.keys()].filter(
    (key) => !known.includes(key) && !(spec.timestamps !== false && TIME_KEY.test(key)),
  );
  if (unknown.length > 0) {
    const list = (names: string[]): string => names.map((name) => `'${name}'`).join(', ');
    faults.push(`Unknown query parameter(s): ${list(unknown)}. Valid parameters are: ${list(known)}`);
  }
  const rest = new URLSearchParams([...given].filter(([key]) => key !== 'page' && key !== 'per_page'));
  const query: ListQuery = {
    page: integer(given.get('page'), { name: 'Page', low: 1, high: MAX_PAGE, faults, fallback: 1 }),
    per_page: integer(given.get('per_page'), { name: 'Per page', low: 1, high: MAX_PER_PAGE, faults, fallback: 50 }),
    order_by: parseOrder(given.get('order_by'), spec, faults),
    filters: {},
    plain: Object.fromEntries([...given].filter(([key]) => spec.plain?.includes(key))),
    include: new Set(parseInclude(given.get('include'), spec, faults)),
    times: [...given].flatMap(([key, value]) => parseTime(key, value, faults)),
    labels: parseLabels(given.get('label_selector'), faults),
    path: url.pathname,
    rest,
  };
  query.filters = Object.fromEntries(
    (spec.filters ?? []).flatMap((name) => {
      const value = given.get(name);
      return value === undefined ? [] : [[name, splitValues(value)]];
    }),
  );
  if (faults.length > 0) throw badQuery(faults.join(', '));
  return query;
}

/** The query of a single resource's GET: `include` and the plain parameters alone. */
export function parseShow(request: FastifyRequest, spec: Pick<ListSpec, 'include' | 'plain'>): ListQuery {
  return parseList(request, { ...spec, timestamps: false });
}

export function badQuery(detail: string): CfError {
  return new CfError('BadQueryParameter', `The query parameter is invalid: ${detail}`);
}

/** A comma within a value comes escaped twice, so one escape is left after the query was decoded. */
export function splitValues(value: string): string[] {
  return value.split(',').map((part) => {
    if (!part.includes('%')) return part;
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

function lastOfEach(params: URLSearchParams): Map<string, string> {
  return new Map(params);
}

function knownKeys(spec: ListSpec): string[] {
  return [
    'page',
    'per_page',
    'order_by',
    ...(spec.timestamps === false ? [] : ['created_ats', 'updated_ats']),
    ...(spec.labels ? ['label_selector'] : []),
    ...(spec.include ? ['include'] : []),
    ...(spec.filters ?? []),
    ...(spec.plain ?? []),
  ];
}

function integer(
  text: string | undefined,
  rule: { name: string; low: number; high: number; faults: string[]; fallback: number },
): number {
  if (text === undefined) return rule.fallback;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= rule.low && value <= rule.high) return value;
  rule.faults.push(
    rule.name === 'Page' && !(value > rule.high)
      ? 'Page must be a positive integer'
      : `${rule.name} must be between ${rule.low} and ${rule.high}`,
  );
  return rule.fallback;
}

function parseOrder(text: string | undefined, spec: ListSpec, faults: string[]): ListQuery['order_by'] {
  if (text === undefined) return undefined;
  const column = text.replace(/^[+ -]/, '');
  const allowed = ['created_at', 'updated_at', ...(spec.order ?? [])];
  if (allowed.includes(column)) return { column, direction: text.startsWith('-') ? 'desc' : 'asc' };
  faults.push(`Order by can only be: ${allowed.map((name) => `'${name}'`).join(', ')}`);
  return undefined;
}

function parseInclude(text: string | undefined, spec: ListSpec, faults: string[]): string[] {
  if (text === undefined || spec.include === undefined) return [];
  const names = splitValues(text);
  const list = (all: readonly string[]): string => all.map((name) => `'${name}'`).join(', ');
  for (const name of names) {
    if (!spec.include.includes(name)) {
      faults.push(`Invalid included resource: '${name}'. Valid included resources are: ${list(spec.include)}`);
    }
  }
  return names;
}

function parseTime(key: string, value: string, faults: string[]): TimeFilter[] {
  const match = TIME_KEY.exec(key);
  if (!match) return [];
  const column = match[1] === 'created_at' ? 'created_at' : 'updated_at';
  const label = column === 'created_at' ? 'Created ats' : 'Updated ats';
  const operator = (match[2] ?? 'in') as TimeOperator;
  const texts = splitValues(value);
  if (operator !== 'in' && texts.length !== 1) {
    faults.push(`${label} only accepts one value when using an inequality filter`);
    return [];
  }
  const isWellFormed = texts.every(
    (text) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) && !Number.isNaN(Date.parse(text)),
  );
  if (!isWellFormed) {
    faults.push(`${label} has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'`);
    return [];
  }
  return [{ column, operator, times: texts.map((text) => new Date(text)) }];
}

const KEY = String.raw`[\w\-./]+`;
const SELECTORS: [RegExp, (key: string, values: string[]) => LabelRequirement][] = [
  [new RegExp(`^(${KEY})\\s+in\\s+\\(([^)]*)\\)$`), (key, values) => ({ key, operator: 'in', values })],
  [new RegExp(`^(${KEY})\\s+notin\\s+\\(([^)]*)\\)$`), (key, values) => ({ key, operator: 'not_in', values })],
  [new RegExp(`^(${KEY})\\s*!=\\s*([\\w\\-.]*)$`), (key, values) => ({ key, operator: 'not_in', values })],
  [new RegExp(`^(${KEY})\\s*==?\\s*([\\w\\-.]*)$`), (key, values) => ({ key, operator: 'in', values })],
  [new RegExp(`^!\\s*(${KEY})$`), (key) => ({ key, operator: 'not_exists' })],
  [new RegExp(`^(${KEY})$`), (key) => ({ key, operator: 'exists' })],
];

function parseLabels(text: string | undefined, faults: string[]): LabelRequirement[] {
  if (text === undefined) return [];
  // Commas separate requirements, save those within parentheses.
  const parts = text.split(/,(?![^(]*\))/).map((part) => part.trim());
  const found = parts.map((part) => {
    for (const [pattern, make] of SELECTORS) {
      const match = pattern.exec(part);
      if (match)
        return make(
          match[1] ?? '',
          (match[2] ?? '').split(',').map((value) => value.trim()),
        );
    }
    return undefined;
  });
  const requirements = found.filter((one) => one !== undefined);
  if (requirements.length !== parts.length) faults.push('Label selector must be a valid label selector');
  return requirements;
}
