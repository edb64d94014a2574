import { type Data, evaluate, keyOf, type Labels, type Series, sourcesOf } from './promql.ts';
import { type Expression, PromqlInvalid, type Selector, type Subquery } from './promql-parser.ts';

/** In ms, both ends inclusive. */
export interface Span {
  start_ms: number;
  end_ms: number;
}
export interface Moments extends Span {
  step_ms: number;
}

export const MAX_STEPS = 11_000;
/** Moments evaluated between two looks at the event loop. */
const STEPS_PER_TURN = 50;

/**
 * All that an expression reads when it is evaluated within a span: what selectors select, by `load`, which adds their range and offset
 * itself, and what subqueries give, those within others first. Errors: those of `load`, PromqlInvalid.
 */
export async function gather(
  expression: Expression,
  span: Span,
  load: (selector: Selector, span: Span) => Promise<Series[]>,
): Promise<Data> {
  const data = new Map<Selector | Subquery, readonly Series[]>();
  const fill = async (of: Expression, within: Span): Promise<void> => {
    for (const source of sourcesOf(of)) {
      if (source.kind === 'selector') {
        data.set(source, await load(source, within));
        continue;
      }
      const moments = momentsOf(source, within);
      await fill(source.of, moments);
      data.set(source, await over(source.of, moments, data));
    }
  };
  await fill(expression, span);
  return data;
}

/** Evaluates moment by moment: a series for each set of labels, one without any for a number. Errors: PromqlInvalid. */
export async function over(
  expression: Expression,
  { start_ms, end_ms, step_ms }: Moments,
  data: Data,
): Promise<Series[]> {
  const found = new Map<string, { labels: Labels; samples: [number, number][] }>();
  let turn = 0;
  for (let at_ms = start_ms; at_ms <= end_ms; at_ms += step_ms) {
    if (++turn % STEPS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    const value = evaluate(expression, at_ms, data);
    const samples = value.type === 'scalar' ? [{ labels: {}, value: value.value }] : value.samples;
    for (const { labels, value: number } of samples) {
      const key = keyOf(labels);
      const series = found.get(key) ?? { labels, samples: [] };
      found.set(key, series);
      series.samples.push([at_ms, number]);
    }
  }
  return [...found.values()];
}

/** Multiples of its step, whenever it is asked, so that a query that is repeated sees the same samples; the first is within the range. */
function momentsOf({ range_ms, step_ms, offset_ms }: Subquery, { start_ms, end_ms }: Span): Moments {
  const before_ms = start_ms - offset_ms - range_ms;
  const moments = { start_ms: (Math.floor(before_ms / step_ms) + 1) * step_ms, end_ms: end_ms - offset_ms, step_ms };
  if ((moments.end_ms - moments.start_ms) / step_ms > MAX_STEPS)
    throw new PromqlInvalid(`a subquery of more than ${MAX_STEPS} steps`);
  return moments;
}
