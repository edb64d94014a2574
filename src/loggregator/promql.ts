import { histogramQuantile, OVER_TIME, type OverTime, quantile, stddev, sum } from './promql-windows.ts';
import {
  type Aggregation,
  type Expression,
  type Matching,
  type Operator,
  PromqlInvalid,
  type Selector,
  type Subquery,
} from './promql-parser.ts';

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

/** What an expression reads: its selectors and subqueries, not those within a subquery. */
export function sourcesOf(expression: Expression): (Selector | Subquery)[] {
  switch (expression.kind) {
    case 'number':
      return [];
    case 'selector':
    case 'subquery':
      return [expression];
    case 'call':
      return expression.args.flatMap(sourcesOf);
    case 'aggregate':
      return [expression.of, ...(expression.parameter ? [expression.parameter] : [])].flatMap(sourcesOf);
    case 'binary':
    case 'set':
      return [...sourcesOf(expression.left), ...sourcesOf(expression.right)];
    default:
      return expression satisfies never;
  }
}

/** The series of each source. */
export type Data = ReadonlyMap<Selector | Subquery, readonly Series[]>;

/** Evaluates at one moment, with all that it reads at hand. Errors: PromqlInvalid. */
export function evaluate(expression: Expression, at_ms: number, data: Data): Value {
  switch (expression.kind) {
    case 'number':
      return { type: 'scalar', value: expression.value };
    case 'selector':
      return { type: 'vector', samples: instant(expression, at_ms, data) };
    case 'subquery':
      throw rangeAlone();
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
    case 'set': {
      const [left, right] = [expression.left, expression.right].map((side) => vector(evaluate(side, at_ms, data)));
      return { type: 'vector', samples: setOf(expression, left ?? [], right ?? []) };
    }
    default:
      return expression satisfies never;
  }
}

const rangeAlone = (): PromqlInvalid => new PromqlInvalid('a range vector needs a function such as rate around it');

function instant(selector: Selector, at_ms: number, data: Data): Sample[] {
  if (selector.range_ms !== undefined) throw rangeAlone();
  return (data.get(selector) ?? []).flatMap(({ labels, samples }) => {
    const end = at_ms - selector.offset_ms;
    const last = samples[countUntil(samples, end) - 1];
    return last && last[0] > end - LOOKBACK_MS ? [{ labels, value: last[1] }] : [];
  });
}

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
    if (second) throw new PromqlInvalid(`${name} takes one range vector, such as metric{…}[5m]`);
    const isKeepingName = name === 'last_over_time';
    return perWindow({ name, of: first, at_ms }, { data, overTime, isKeepingName });
  }
  if (name === 'quantile_over_time' && first) {
    const share = scalar(evaluate(first, at_ms, data));
    const ofWindow: OverTime = ({ samples }) =>
      quantile(
        share,
        samples.map(([, value]) => value),
      );
    return perWindow({ name, of: second, at_ms }, { data, overTime: ofWindow, isKeepingName: false });
  }
  if (name === 'histogram_quantile' && first && second) {
    const share = scalar(evaluate(first, at_ms, data));
    return { type: 'vector', samples: histogramQuantiles(share, vector(evaluate(second, at_ms, data))) };
  }
  if ((name === 'sort' || name === 'sort_desc') && first && !second) {
    const way = name === 'sort' ? 1 : -1;
    const samples = vector(evaluate(first, at_ms, data)).toSorted((a, b) => way * (a.value - b.value));
    return { type: 'vector', samples };
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
  { name, of, at_ms }: { name: string; of: Expression | undefined; at_ms: number },
  { data, overTime, isKeepingName }: { data: Data; overTime: OverTime; isKeepingName: boolean },
): Value {
  if ((of?.kind !== 'selector' && of?.kind !== 'subquery') || of.range_ms === undefined) {
    throw new PromqlInvalid(`${name} takes a range vector, such as metric{…}[5m]`);
  }
  const end = at_ms - of.offset_ms;
  const start = end - of.range_ms;
  const found = (data.get(of) ?? []).flatMap(({ labels, samples }) => {
    const within = samples.slice(countUntil(samples, start), countUntil(samples, end));
    const value = within.length === 0 ? undefined : overTime({ samples: within, start, end });
    return value === undefined ? [] : [{ labels: isKeepingName ? labels : nameless(labels), value }];
  });
  return { type: 'vector', samples: found };
}

/** One for each histogram: buckets that differ in `le` alone. */
function histogramQuantiles(share: number, samples: readonly Sample[]): Sample[] {
  const histograms = new Map<string, { labels: Labels; buckets: { le: number; count: number }[] }>();
  for (const { labels, value } of samples) {
    const le = labels['le'] === '+Inf' ? Infinity : Number(labels['le'] ?? NaN);
    if (Number.isNaN(le)) continue;
    const own = without(nameless(labels), ['le']);
    const key = keyOf(own);
    const histogram = histograms.get(key) ?? { labels: own, buckets: [] };
    histogram.buckets.push({ le, count: value });
    histograms.set(key, histogram);
  }
  return [...histograms.values()].map(({ labels, buckets }) => ({ labels, value: histogramQuantile(share, buckets) }));
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
    if (op !== 'topk' && op !== 'bottomk') return [{ labels, value: combined(op, members, parameter) }];
    const way = op === 'topk' ? -1 : 1;
    return members.toSorted((a, b) => way * (a.value - b.value)).slice(0, Math.max(0, Math.floor(parameter)));
  });
}

function combined(op: Exclude<Aggregation, 'topk' | 'bottomk'>, members: readonly Sample[], parameter: number): number {
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
    case 'group':
      return 1;
    case 'stddev':
      return stddev(numbers);
    case 'quantile':
      return quantile(parameter, numbers);
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

/** What two vectors have both, either, or the first alone; values are those of the side they come from. */
function setOf({ op, matching }: Expression & { kind: 'set' }, left: readonly Sample[], right: Sample[]): Sample[] {
  const key = ({ labels }: Sample): string => matchKey(labels, matching);
  const there = new Set(right.map(key));
  switch (op) {
    case 'and':
      return left.filter((sample) => there.has(key(sample)));
    case 'unless':
      return left.filter((sample) => !there.has(key(sample)));
    case 'or': {
      const here = new Set(left.map(key));
      return [...left, ...right.filter((sample) => !here.has(key(sample)))];
    }
    default:
      return op satisfies never;
  }
}

const matchKey = (labels: Labels, matching: Matching): string =>
  keyOf(matching.is === 'on' ? only(labels, matching.labels) : without(nameless(labels), matching.labels));

function binary({ op, isBool, matching, many }: Expression & { kind: 'binary' }, left: Value, right: Value): Value {
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
  // One of the right, or with group_right of the left, goes with one or many of the other side.
  const [ofMany, ofOne] = many?.side === 'right' ? [right.samples, left.samples] : [left.samples, right.samples];
  const others = new Map<string, Sample>();
  for (const sample of ofOne) {
    const key = matchKey(sample.labels, matching);
    if (others.has(key))
      throw new PromqlInvalid('many of one side go with the same of the other: use on(), ignoring() or group_left');
    others.set(key, sample);
  }
  const taken = new Set<string>();
  const samples = ofMany.flatMap(({ labels, value }) => {
    const key = matchKey(labels, matching);
    const other = others.get(key);
    if (!other) return [];
    if (!many && taken.has(key)) throw new PromqlInvalid('many go with one: say group_left or group_right');
    taken.add(key);
    const [a, b] = many?.side === 'right' ? [other.value, value] : [value, other.value];
    const result = pair(a, b, a);
    if (many) return labelled({ ...labels, ...only(other.labels, many.include) }, result);
    if (isComparison && !isBool) return labelled(labels, result);
    return labelled(matching.is === 'on' ? only(labels, matching.labels) : without(labels, matching.labels), result);
  });
  return { type: 'vector', samples };
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
