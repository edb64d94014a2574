import { AppError } from '#kernel/errors.ts';

/** The query is none of PromQL's, or asks for what is not there; the message says where or what. */
export class PromqlInvalid extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('promql_invalid', message, options);
  }
}

export interface Matcher {
  label: string;
  op: '=' | '!=' | '=~' | '!~';
  value: string;
}

export interface Selector {
  kind: 'selector';
  name: string | undefined;
  matchers: readonly Matcher[];
  /** Set for a range vector. */
  range_ms: number | undefined;
  offset_ms: number;
}

/** A range vector of what an expression gives at the multiples of a step. */
export interface Subquery {
  kind: 'subquery';
  of: Expression;
  range_ms: number;
  step_ms: number;
  offset_ms: number;
}

export const AGGREGATIONS = [
  ...(['sum', 'avg', 'min', 'max', 'count', 'group', 'stddev'] as const),
  ...(['topk', 'bottomk', 'quantile'] as const),
] as const;
export type Aggregation = (typeof AGGREGATIONS)[number];
export const OPERATORS = ['^', '*', '/', '%', '+', '-', '==', '!=', '>=', '<=', '>', '<'] as const;
export type Operator = (typeof OPERATORS)[number];

export type SetOperator = 'and' | 'or' | 'unless';
/** By which labels samples of two vectors go together. */
export interface Matching {
  is: 'on' | 'ignoring';
  labels: readonly string[];
}

export type Expression =
  | { kind: 'number'; value: number }
  | Selector
  | Subquery
  | { kind: 'call'; name: string; args: readonly Expression[] }
  | {
      kind: 'aggregate';
      op: Aggregation;
      grouping: { is: 'by' | 'without'; labels: readonly string[] };
      parameter: Expression | undefined;
      of: Expression;
    }
  | {
      kind: 'binary';
      op: Operator;
      left: Expression;
      right: Expression;
      /** `bool`: a comparison gives 0 or 1 and drops nothing. */
      isBool: boolean;
      matching: Matching;
      /** `group_left` or `group_right`: the side that has many, and the labels that it takes from the other. */
      many: { side: 'left' | 'right'; include: readonly string[] } | undefined;
    }
  | { kind: 'set'; op: SetOperator; left: Expression; right: Expression; matching: Matching };

const TOKEN =
  /\s*(?:(?<number>(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)(?![\w.])|Inf\b|NaN\b)|(?<duration>(?:\d+(?:ms|[smhdwy]))+)|(?<step>:\s*(?:\d+(?:ms|[smhdwy]))*(?=\s*\]))|(?<name>[a-zA-Z_:][\w:]*)|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<sign>=~|!~|==|!=|>=|<=|[-+*/%^<>=(){}[\],]))/gy;
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};
const LEVELS: readonly (readonly (Operator | SetOperator)[])[] = [
  ['or'],
  ['and', 'unless'],
  ['==', '!=', '>=', '<=', '>', '<'],
  ['+', '-'],
  ['*', '/', '%'],
];
/** Of a subquery that names none, `[10m:]`: Prometheus' own. */
const DEFAULT_STEP_MS = 60_000;
const MAX_LENGTH = 10_000;
const MAX_DEPTH = 50;

/**
 * Reads PromQL: selectors with ranges and offsets, subqueries, functions, aggregations, arithmetic, comparisons and sets.
 * Errors: PromqlInvalid.
 * Source: prometheus.io/docs/prometheus/latest/querying.
 */
export function parsePromql(text: string): Expression {
  if (text.trim() === '') throw new PromqlInvalid('the query is empty');
  if (text.length > MAX_LENGTH) throw new PromqlInvalid('the query is too long');
  return new Parser(text).parse();
}

/** `5m`, `1h30m` in ms; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:ms|[smhdwy]))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) ms += Number(count) * (UNIT_MS[unit ?? ''] ?? 0);
  return ms;
}

type Kind = 'number' | 'duration' | 'step' | 'name' | 'text' | 'sign' | 'end';
interface Token {
  kind: Kind;
  text: string;
  at: number;
}

class Parser {
  readonly #tokens: Token[] = [];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    let at = 0;
    const end = text.trimEnd().length;
    while (at < end) {
      TOKEN.lastIndex = at;
      const groups = TOKEN.exec(text)?.groups;
      const found = Object.entries(groups ?? {}).find(([, value]) => value !== undefined);
      if (!found) throw new PromqlInvalid(`unexpected ${JSON.stringify(text.slice(at).trim().slice(0, 20))} at ${at}`);
      this.#tokens.push({ kind: found[0] as Kind, text: found[1], at });
      at = TOKEN.lastIndex;
    }
    this.#tokens.push({ kind: 'end', text: 'end of the query', at: end });
  }

  parse(): Expression {
    const expression = this.#binary(0);
    if (this.#peek().kind !== 'end') this.#fail();
    return expression;
  }

  #binary(level: number): Expression {
    const operators = LEVELS[level];
    if (!operators) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const op = operators.find((candidate) => this.#isSign(candidate) || this.#isName(candidate));
      if (!op) return left;
      this.#next += 1;
      left = this.#combine(op, left, () => this.#binary(level + 1));
    }
  }

  #unary(): Expression {
    if (++this.#depth > MAX_DEPTH) throw new PromqlInvalid('the query is nested too deeply');
    let expression: Expression;
    if (this.#take('-')) {
      const zero: Expression = { kind: 'number', value: 0 };
      expression = this.#combine('-', zero, () => this.#unary());
    } else if (this.#take('+')) {
      expression = this.#unary();
    } else {
      const base = this.#subquery(this.#primary());
      // A power binds tighter than a sign before it, and to the right.
      expression = this.#take('^') ? this.#combine('^', base, () => this.#unary()) : base;
    }
    this.#depth -= 1;
    return expression;
  }

  #combine(op: Operator | SetOperator, left: Expression, readRight: () => Expression): Expression {
    const isSet = op === 'and' || op === 'or' || op === 'unless';
    const isBool = !isSet && this.#takeName('bool');
    const is = (['on', 'ignoring'] as const).find((word) => this.#takeName(word));
    const matching = { is: is ?? 'ignoring', labels: is ? this.#labels() : [] } as const;
    if (isSet) return { kind: 'set', op, left, right: readRight(), matching };
    const side = (['left', 'right'] as const).find((candidate) => this.#takeName(`group_${candidate}`));
    const many = side && { side, include: this.#isSign('(') ? this.#labels() : [] };
    return { kind: 'binary', op, left, right: readRight(), isBool, matching, many };
  }

  #primary(): Expression {
    const token = this.#peek();
    if (token.kind === 'number') {
      this.#next += 1;
      return { kind: 'number', value: token.text === 'Inf' ? Infinity : Number(token.text) };
    }
    if (this.#take('(')) {
      const inner = this.#binary(0);
      this.#expect(')');
      return inner;
    }
    if (this.#isSign('{')) return this.#selector(undefined);
    if (token.kind !== 'name' || ['and', 'or', 'unless'].includes(token.text)) return this.#fail();
    this.#next += 1;
    const aggregation = AGGREGATIONS.find((name) => name === token.text);
    if (aggregation && (this.#isSign('(') || this.#isName('by') || this.#isName('without'))) {
      return this.#aggregate(aggregation);
    }
    if (this.#isSign('(')) return { kind: 'call', name: token.text, args: this.#arguments() };
    return this.#selector(token.text);
  }

  #aggregate(op: Aggregation): Expression {
    let grouping = this.#grouping();
    const args = this.#arguments();
    grouping ??= this.#grouping();
    const isRanked = op === 'topk' || op === 'bottomk' || op === 'quantile';
    const [parameter, of] = isRanked ? args : [undefined, args[0]];
    if (!of || args.length !== (isRanked ? 2 : 1))
      throw new PromqlInvalid(`${op} takes ${isRanked ? 'two arguments' : 'one argument'}`);
    return { kind: 'aggregate', op, grouping: grouping ?? { is: 'by', labels: [] }, parameter, of };
  }

  #grouping(): { is: 'by' | 'without'; labels: string[] } | undefined {
    const is = (['by', 'without'] as const).find((word) => this.#takeName(word));
    return is && { is, labels: this.#labels() };
  }

  #selector(name: string | undefined): Selector {
    const matchers = this.#take('{') ? this.#matchers() : [];
    let range_ms: number | undefined;
    if (!this.#isSubquery() && this.#take('[')) {
      range_ms = this.#duration();
      this.#expect(']');
    }
    return { kind: 'selector', name, matchers, range_ms, offset_ms: this.#offset() };
  }

  #subquery(of: Expression): Expression {
    if (!this.#isSubquery()) return of;
    this.#expect('[');
    const range_ms = this.#duration();
    const step = this.#advance().text.slice(1).trim();
    const step_ms = step === '' ? DEFAULT_STEP_MS : (parseDuration(step) ?? 0);
    if (step_ms === 0) throw new PromqlInvalid('the step of a subquery must be a duration above zero');
    this.#expect(']');
    return { kind: 'subquery', of, range_ms, step_ms, offset_ms: this.#offset() };
  }

  /** A range with a step, `[10m:1m]`, begins here. */
  #isSubquery(): boolean {
    return this.#isSign('[') && this.#tokens[this.#next + 2]?.kind === 'step';
  }

  #offset(): number {
    if (!this.#takeName('offset')) return 0;
    const sign = this.#take('-') ? -1 : 1;
    return sign * this.#duration();
  }

  #matchers(): Matcher[] {
    const matchers: Matcher[] = [];
    while (!this.#take('}')) {
      const label = this.#peek().kind === 'name' ? this.#advance().text : this.#fail();
      const op = (['=', '!=', '=~', '!~'] as const).find((sign) => this.#take(sign));
      const value = this.#peek();
      if (!op || value.kind !== 'text') return this.#fail();
      this.#next += 1;
      matchers.push({ label, op, value: unquoted(value.text) });
      if (!this.#take(',') && !this.#isSign('}')) this.#fail();
    }
    return matchers;
  }

  #arguments(): Expression[] {
    this.#expect('(');
    const args: Expression[] = [];
    while (!this.#take(')')) {
      args.push(this.#binary(0));
      if (!this.#take(',') && !this.#isSign(')')) this.#fail();
    }
    return args;
  }

  #labels(): string[] {
    this.#expect('(');
    const labels: string[] = [];
    while (!this.#take(')')) {
      labels.push(this.#peek().kind === 'name' ? this.#advance().text : this.#fail());
      if (!this.#take(',') && !this.#isSign(')')) this.#fail();
    }
    return labels;
  }

  #duration(): number {
    const ms = parseDuration(this.#peek().text);
    if (ms === undefined || ms === 0) return this.#fail();
    this.#next += 1;
    return ms;
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', text: 'end of the query', at: 0 };
  }

  #advance(): Token {
    const token = this.#peek();
    this.#next += 1;
    return token;
  }

  #isSign(text: string): boolean {
    const token = this.#peek();
    return token.kind === 'sign' && token.text === text;
  }

  #isName(text: string): boolean {
    const token = this.#peek();
    return token.kind === 'name' && token.text === text;
  }

  #take(sign: string): boolean {
    if (!this.#isSign(sign)) return false;
    this.#next += 1;
    return true;
  }

  #takeName(name: string): boolean {
    if (!this.#isName(name)) return false;
    this.#next += 1;
    return true;
  }

  #expect(sign: string): void {
    if (!this.#take(sign)) this.#fail();
  }

  #fail(): never {
    const { text, at } = this.#peek();
    throw new PromqlInvalid(`unexpected ${JSON.stringify(text)} at ${at}`);
  }
}

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}
