import { describeError } from '#kernel/errors.ts';
import { type Aggregation, type Expression, type Operator, PromqlInvalid, type Selector } from './promql-parser.ts';

export type Labels = Readonly<Record<string, string>>;

/** Samples of one set of labels, in order of time: ms since the epoch and value. */
export interface Series {
  labels: Labels;
  samples: readonly (readonly [number, number])[];
}

export interface Sample {
  labels: Labels;
  value: number;
}

export type Value = { type: 'scalar'; value: number } | { type: 'vector'; samples: Sample[] };

/** An instant takes the last sample that is no older than this. */
export const LOOKBACK_MS = 5 * 60_000;
const NAME = '__name__';

/** All selectors of an expression, with what each needs of the past. */
export function selectorsOf(expression: Expression): Selector[] {
  switch (expression.kind) {
    case 'number':
      return [];
    case 'selector':
      return [expression];
    case 'call':
      return expression.args.flatMap(selectorsOf);
    case 'aggregate':
      return [expression.of, ...(expression.parameter ? [expression.parameter] : [])].flatMap(selectorsOf);
    case 'binary':
      return [...selectorsOf(expression.left), ...selectorsOf(expression.right)];
    default:
      return expression satisfies never;
  }
}

/** Evaluates at one moment, with each selector's series at hand. Errors: PromqlInvalid. */
export function evaluate(expression: Expression, at_ms: number, data: ReadonlyMap<Selector, readonly Series[]>): Value {
  switch (expression.kind) {
    case 'number':
      return { type: 'scalar', value: expression.value };
    case 'selector':
      return { type: 'vector', samples: instant(expression, at_ms, data) };
    case 'call':
      return call(expression, at_ms, data);
    case 'aggregate': {
      const parameter = expression.parameter && scalar(evaluate(expression.parameter, at_ms, data));
      return {
        type: 'vector',
        samples: aggregate(expression, vector(evaluate(expression.of, at_ms, data)), parameter),
      };
    }
    case 'binary':
      return binary(expression, evaluate(expression.left, at_ms, data), evaluate(expression.right, at_ms, data));
    default:
      return expression satisfies never;
  }
}

type Data = ReadonlyMap<Selector, readonly Series[]>;

function instant(selector: Selector, at_ms: number, data: Data): Sample[] {
  if (selector.range_ms !== undefined)
    throw new PromqlInvalid('a range vector needs a function such as rate around it');
  return (data.get(selector) ?? []).flatMap(({ labels, samples }) => {
    const end = at_ms - selector.offset_ms;
    const last = samples[countUntil(samples, end) - 1];
    return last && last[0] > end - LOOKBACK_MS ? [{ labels, value: last[1] }] : [];
  });
}

type Window = { samples: readonly (readonly [number, number])[]; start: number; end: number };
type OverTime = (window: Window) => number | undefined;

const values = ({ samples }: Window): number[] => samples.map(([, value]) => value);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, value) => total + value, 0);

const OVER_TIME: Readonly<Record<string, OverTime>> = {
  rate: (window) => divided(extrapolated(window, true), window.end - window.start),
  increase: (window) => extrapolated(window, true),
  delta: (window) => extrapolated(window, false),
  irate: ({ samples }) => {
    const [before, last] = samples.slice(-2);
    if (!before || !last || last[0] === before[0]) return undefined;
    return ((last[1] < before[1] ? last[1] : last[1] - before[1]) / (last[0] - before[0])) * 1000;
  },
  avg_over_time: (window) => sum(values(window)) / window.samples.length,
  sum_over_time: (window) => sum(values(window)),
  min_over_time: (window) => values(window).reduce((least, value) => Math.min(least, value)),
  max_over_time: (window) => values(window).reduce((most, value) => Math.max(most, value)),
  count_over_time: ({ samples }) => samples.length,
  last_over_time: ({ samples }) => samples.at(-1)?.[1],
};

const OF_NUMBERS: Readonly<Record<string, (value: number, limit: number) => number>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  sqrt: Math.sqrt,
  ln: Math.log,
  exp: Math.exp,
  round: (value) => Math.floor(value + 0.5),
  clamp_min: Math.max,
  clamp_max: Math.min,
};

function call({ name, args }: Expression & { kind: 'call' }, at_ms: number, data: Data): Value {
  const overTime = OVER_TIME[name];
  const [first, second] = args;
  if (overTime) {
    if (first?.kind !== 'selector' || first.range_ms === undefined || second) {
      throw new PromqlInvalid(`${name} takes one range vector, such as metric{…}[5m]`);
    }
    return {
      type: 'vector',
      samples: perWindow(first, at_ms, { data, overTime, isKeepingName: name === 'last_over_time' }),
    };
  }
  const ofNumbers = OF_NUMBERS[name];
  if (ofNumbers && first) {
    const limit = second ? scalar(evaluate(second, at_ms, data)) : 0;
    if (name.startsWith('clamp') !== (second !== undefined))
      throw new PromqlInvalid(`${name} has the wrong number of arguments`);
    const value = evaluate(first, at_ms, data);
    if (value.type === 'scalar') return { type: 'scalar', value: ofNumbers(value.value, limit) };
    return { type: 'vector', samples: mapped(value.samples, (number) => ofNumbers(number, limit)) };
  }
  if (name === 'time' && !first) return { type: 'scalar', value: at_ms / 1000 };
  if (name === 'scalar' && first) {
    const [only, more] = vector(evaluate(first, at_ms, data));
    return { type: 'scalar', value: only && !more ? only.value : NaN };
  }
  throw new PromqlInvalid(`there is no function ${name} with ${args.length} arguments`);
}

function perWindow(
  selector: Selector,
  at_ms: number,
  { data, overTime, isKeepingName }: { data: Data; overTime: OverTime; isKeepingName: boolean },
): Sample[] {
  const end = at_ms - selector.offset_ms;
  const start = end - (selector.range_ms ?? 0);
  return (data.get(selector) ?? []).flatMap(({ labels, samples }) => {
    const within = samples.slice(countUntil(samples, start), countUntil(samples, end));
    const value = within.length === 0 ? undefined : overTime({ samples: within, start, end });
    return value === undefined ? [] : [{ labels: isKeepingName ? labels : nameless(labels), value }];
  });
}

/**
 * The change over a window as Prometheus estimates it: between first and last sample, resets of counters made up for, and stretched
 * to the window's ends where the samples reach near them.
 */
function extrapolated({ samples, start, end }: Window, isCounter: boolean): number | undefined {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last || samples.length < 2 || last[0] === first[0]) return undefined;
  let change = last[1] - first[1];
  if (isCounter) {
    let before = first[1];
    for (const [, value] of samples) {
      if (value < before) change += before;
      before = value;
    }
  }
  const covered = last[0] - first[0];
  const interval = covered / (samples.length - 1);
  const near = interval * 1.1;
  let before = first[0] - start < near ? first[0] - start : interval / 2;
  // A counter was not below zero before its first sample.
  if (isCounter && change > 0 && first[1] >= 0) before = Math.min(before, covered * (first[1] / change));
  const after = end - last[0] < near ? end - last[0] : interval / 2;
  return change * ((covered + before + after) / covered);
}

function divided(change: number | undefined, ms: number): number | undefined {
  return change === undefined ? undefined : (change / ms) * 1000;
}

function aggregate({ op, grouping }: Expression & { kind: 'aggregate' }, samples: Sample[], parameter = 0): Sample[] {
  const groups = new Map<string, { labels: Labels; members: Sample[] }>();
  for (const sample of samples) {
    const labels =
      grouping.is === 'by' ? only(sample.labels, grouping.labels) : without(nameless(sample.labels), grouping.labels);
    const key = keyOf(labels);
    const group = groups.get(key) ?? { labels, members: [] };
    group.members.push(sample);
    groups.set(key, group);
  }
  return [...groups.values()].flatMap(({ labels, members }) => {
    if (op !== 'topk' && op !== 'bottomk') return [{ labels, value: combined(op, members) }];
    const way = op === 'topk' ? -1 : 1;
    return members.toSorted((a, b) => way * (a.value - b.value)).slice(0, Math.max(0, Math.floor(parameter)));
  });
}

function combined(op: Exclude<Aggregation, 'topk' | 'bottomk'>, members: readonly Sample[]): number {
  const numbers = members.map(({ value }) => value);
  switch (op) {
    case 'sum':
      return sum(numbers);
    case 'avg':
      return sum(numbers) / numbers.length;
    case 'min':
      return Math.min(...numbers);
    case 'max':
      return Math.max(...numbers);
    case 'count':
      return numbers.length;
    default:
      return op satisfies never;
  }
}

const ARITHMETIC: Readonly<Record<Operator, (a: number, b: number) => number | boolean>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
  '^': (a, b) => a ** b,
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '>': (a, b) => a > b,
  '<': (a, b) => a < b,
  '>=': (a, b) => a >= b,
  '<=': (a, b) => a <= b,
};

function binary({ op, isBool, matching }: Expression & { kind: 'binary' }, left: Value, right: Value): Value {
  /** What a pair gives; undefined when a comparison drops it, which leaves the left (or only) vector's own value. */
  const pair = (a: number, b: number, kept: number): number | undefined => {
    const result = ARITHMETIC[op](a, b);
    if (typeof result === 'number') return result;
    if (isBool) return result ? 1 : 0;
    return result ? kept : undefined;
  };
  const isComparison = typeof ARITHMETIC[op](1, 1) === 'boolean';
  const labelled = (labels: Labels, value: number | undefined): Sample[] =>
    value === undefined ? [] : [{ labels: isComparison && !isBool ? labels : nameless(labels), value }];
  if (left.type === 'scalar' && right.type === 'scalar') {
    if (isComparison && !isBool) throw new PromqlInvalid('comparisons between scalars must use bool');
    return { type: 'scalar', value: pair(left.value, right.value, left.value) ?? NaN };
  }
  if (left.type === 'scalar') {
    const { samples } = right as Value & { type: 'vector' };
    return {
      type: 'vector',
      samples: samples.flatMap(({ labels, value }) => labelled(labels, pair(left.value, value, value))),
    };
  }
  if (right.type === 'scalar') {
    return {
      type: 'vector',
      samples: left.samples.flatMap(({ labels, value }) => labelled(labels, pair(value, right.value, value))),
    };
  }
  const matchKey = (labels: Labels): string =>
    keyOf(matching.is === 'on' ? only(labels, matching.labels) : without(nameless(labels), matching.labels));
  const others = new Map<string, Sample>();
  for (const sample of right.samples) {
    const key = matchKey(sample.labels);
    if (others.has(key))
      throw new PromqlInvalid(
        'many-to-one matching is not supported: use on() or ignoring() so that labels are unique',
      );
    others.set(key, sample);
  }
  return {
    type: 'vector',
    samples: left.samples.flatMap(({ labels, value }) => {
      const other = others.get(matchKey(labels));
      const shown = matching.is === 'on' ? only(labels, matching.labels) : without(labels, matching.labels);
      return other ? labelled(isComparison && !isBool ? labels : shown, pair(value, other.value, value)) : [];
    }),
  };
}

function scalar(value: Value): number {
  if (value.type !== 'scalar') throw new PromqlInvalid('a number is expected where there is a vector');
  return value.value;
}

function vector(value: Value): Sample[] {
  if (value.type !== 'vector') throw new PromqlInvalid('a vector is expected where there is a number');
  return value.samples;
}

function mapped(samples: readonly Sample[], change: (value: number) => number): Sample[] {
  return samples.map(({ labels, value }) => ({ labels: nameless(labels), value: change(value) }));
}

/** How many samples are at or before a moment. */
function countUntil(samples: readonly (readonly [number, number])[], at_ms: number): number {
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((samples[middle]?.[0] ?? 0) <= at_ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

const nameless = (labels: Labels): Labels => without(labels, [NAME]);

function without(labels: Labels, names: readonly string[]): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !names.includes(name)));
}

function only(labels: Labels, names: readonly string[]): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => names.includes(name)));
}

/** Equal for equal sets of labels. */
export function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether a label's value fits, as Prometheus anchors its patterns. Errors: PromqlInvalid. */
export function labelTest(
  { op, value }: { op: '=' | '!=' | '=~' | '!~'; value: string },
  pattern: (source: string) => (text: string) => boolean,
): (text: string) => boolean {
  if (op === '=') return (text) => text === value;
  if (op === '!=') return (text) => text !== value;
  let test: (text: string) => boolean;
  try {
    test = pattern(`^(?:${value})$`);
  } catch (error) {
    throw new PromqlInvalid(describeError(error), { cause: error });
  }
  return op === '=~' ? test : (text) => !test(text);
}
