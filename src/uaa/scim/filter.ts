import { UaaError } from '../errors.ts';

export type Operator = 'eq' | 'ne' | 'co' | 'sw' | 'ew' | 'gt' | 'ge' | 'lt' | 'le';
export type FilterValue = string | number | boolean | null;

/** A SCIM filter as a tree. Source: RFC 7644 section 3.4.2.2. */
export type Filter =
  | { kind: 'compare'; attribute: string; operator: Operator; value: FilterValue }
  | { kind: 'present'; attribute: string }
  | { kind: 'and' | 'or'; terms: Filter[] }
  | { kind: 'not'; term: Filter };

const OPERATORS: ReadonlySet<string> = new Set<Operator>(['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le']);
const MAX_LENGTH = 32_768;
const MAX_DEPTH = 32;

// Blank space, a bracket, a JSON string (single quotes as UAA takes them too), or a run of anything else.
const TOKEN = /\s+|[()[\]]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()[\]"']+/y;

/** Errors: scim (400) naming what is wrong; a filter is never half understood. */
export function parseFilter(text: string): Filter {
  if (text.length > MAX_LENGTH) throw invalid('it is too long');
  const parser = new Parser(tokensOf(text));
  const filter = parser.disjunction(0, '');
  parser.end();
  return filter;
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const [token] = TOKEN.exec(text) ?? [];
    if (token === undefined) throw invalid(`it cannot be read at character ${at + 1}`);
    if (token.trim() !== '') tokens.push(token);
  }
  return tokens;
}

class Parser {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  end(): void {
    const rest = this.#tokens[this.#at];
    if (rest !== undefined) throw invalid(`${rest} is not expected there`);
  }

  /** `prefix` is the attribute before a value path's square bracket: `emails[value eq "x"]`. */
  disjunction(depth: number, prefix: string): Filter {
    return this.#chain('or', () => this.#chain('and', () => this.#term(depth, prefix)));
  }

  #chain(word: 'and' | 'or', next: () => Filter): Filter {
    const first = next();
    const terms = [first];
    while (this.#tokens[this.#at]?.toLowerCase() === word) {
      this.#at++;
      terms.push(next());
    }
    return terms.length === 1 ? first : { kind: word, terms };
  }

  #term(depth: number, prefix: string): Filter {
    if (depth > MAX_DEPTH) throw invalid('it has too many brackets');
    const token = this.#take();
    if (token === '(') return this.#closed(')', depth, prefix);
    if (token.toLowerCase() === 'not') {
      this.#expect('(');
      return { kind: 'not', term: this.#closed(')', depth, prefix) };
    }
    if (!/^[A-Za-z][\w$:.-]*$/.test(token)) throw invalid(`${token} is not an attribute`);
    const attribute = `${prefix}${token}`.toLowerCase();
    if (this.#tokens[this.#at] === '[') {
      this.#at++;
      return this.#closed(']', depth, `${attribute}.`);
    }
    const operator = this.#take().toLowerCase();
    if (operator === 'pr') return { kind: 'present', attribute };
    if (!OPERATORS.has(operator)) throw invalid(`${operator} is not an operator`);
    return { kind: 'compare', attribute, operator: operator as Operator, value: valueOf(this.#take()) };
  }

  #closed(bracket: ')' | ']', depth: number, prefix: string): Filter {
    const inner = this.disjunction(depth + 1, prefix);
    this.#expect(bracket);
    return inner;
  }

  #expect(token: string): void {
    if (this.#take() !== token) throw invalid(`${token} is missing`);
  }

  #take(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw invalid('it ends too early');
    return token;
  }
}

function valueOf(token: string): FilterValue {
  const quote = token[0];
  if (quote === '"' || quote === "'") {
    if (quote === "'") return token.slice(1, -1).replace(/\\(.)/g, '$1');
    try {
      return String(JSON.parse(token));
    } catch (error) {
      throw invalid(`${token} is not a string`, { cause: error });
    }
  }
  const word = token.toLowerCase();
  if (word === 'true' || word === 'false') return word === 'true';
  if (word === 'null') return null;
  if (/^-?\d+(\.\d+)?$/.test(token)) return Number(token);
  throw invalid(`${token} is not a value`);
}

export function invalid(why: string, options?: ErrorOptions): UaaError {
  return new UaaError('scim', `Invalid filter expression: ${why}`, options);
}
