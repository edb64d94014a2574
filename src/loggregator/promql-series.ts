import type { Entry } from './chunk.ts';
import { kindBits } from './found.ts';
import { linearPattern } from './linear-pattern.ts';
import { keyOf, type Labels, LOOKBACK_MS, type Series } from './promql.ts';
import { type Matcher, PromqlInvalid, type Selector } from './promql-parser.ts';
import type { LogStore } from './store.ts';

const MAX_ENVELOPES = 100_000;
const MEASUREMENTS = kindBits('COUNTER', 'GAUGE', 'TIMER');

/** The sources that a selector reads: each must be named, since permission is by source. Errors: PromqlInvalid. */
export function sourceOf({ matchers }: Selector): string {
  const source = matchers.find(({ label, op }) => label === 'source_id' && op === '=');
  if (!source) throw new PromqlInvalid('every metric needs a source_id: metric{source_id="…"}');
  return source.value;
}

/**
 * What a selector selects of the store between two moments (ms), with as much before as it looks back. A gauge's metrics and a
 * counter go by their names, a timer by its duration in ns. Labels are tags, `source_id` and `instance_id`. Errors: PromqlInvalid.
 */
export async function loadSeries(
  store: LogStore,
  selector: Selector,
  { start_ms, end_ms }: { start_ms: number; end_ms: number },
): Promise<Series[]> {
  const source_id = sourceOf(selector);
  const from_ms = start_ms - selector.offset_ms - (selector.range_ms ?? LOOKBACK_MS);
  const entries = await store.read(source_id, {
    start: toNs(from_ms),
    end: toNs(end_ms - selector.offset_ms) + 1n,
    limit: MAX_ENVELOPES,
    descending: false,
    kinds: MEASUREMENTS,
  });
  if (entries.length >= MAX_ENVELOPES) throw new PromqlInvalid('the query reads too many envelopes; narrow it by time');
  const isWanted = await wantedBy(selector);
  const series = new Map<string, { labels: Labels; samples: [number, number][] }>();
  for (const entry of entries) {
    const at_ms = Number(entry.timestamp / 1_000n) / 1_000;
    for (const { name, value, isDelta } of measurementsOf(entry)) {
      const labels = labelsOf(entry, { name, source_id });
      if (!isWanted(labels)) continue;
      const key = keyOf(labels);
      const found = series.get(key) ?? { labels, samples: [] };
      series.set(key, found);
      const before = isDelta ? (found.samples.at(-1)?.[1] ?? 0) : 0;
      found.samples.push([at_ms, before + value]);
    }
  }
  return [...series.values()];
}

interface Measurement {
  name: string;
  value: number;
  /** What a counter grew by, where it does not say how far it is. */
  isDelta?: boolean;
}

function measurementsOf({ kind, payload }: Entry): Measurement[] {
  const content: unknown = JSON.parse(payload.toString());
  if (kind === 'GAUGE') {
    const { metrics } = content as { metrics: Record<string, { value: number }> };
    return Object.entries(metrics).map(([name, { value }]) => ({ name, value }));
  }
  if (kind === 'COUNTER') {
    const { name, total, delta } = content as { name: string; total?: string; delta?: string };
    return [total === undefined ? { name, value: Number(delta ?? 0), isDelta: true } : { name, value: Number(total) }];
  }
  if (kind === 'TIMER') {
    const { name, start, stop } = content as { name: string; start: string; stop: string };
    return [{ name, value: Number(BigInt(stop) - BigInt(start)) }];
  }
  return [];
}

function labelsOf({ origin }: Entry, { name, source_id }: { name: string; source_id: string }): Labels {
  const labels: Record<string, string> = {};
  for (const [tag, value] of Object.entries(origin.tags)) labels[sanitized(tag)] = value;
  return { ...labels, source_id, instance_id: origin.instance_id, __name__: sanitized(name) };
}

/** Names of metrics and labels have letters, digits and underscores alone. */
function sanitized(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, '_');
}

async function wantedBy({ name, matchers }: Selector): Promise<(labels: Labels) => boolean> {
  const all: Matcher[] = [...matchers];
  if (name !== undefined) all.push({ label: '__name__', op: '=', value: name });
  const tests = await Promise.all(
    all.map(async (matcher) => {
      const test = await labelTest(matcher);
      const known = new Map<string, boolean>();
      return (labels: Labels): boolean => {
        const text = labels[matcher.label] ?? '';
        let matches = known.get(text);
        if (matches === undefined) known.set(text, (matches = test(text)));
        return matches;
      };
    }),
  );
  return (labels) => tests.every((test) => test(labels));
}

/** Whether a label's value fits, as Prometheus anchors its patterns. Errors: PromqlInvalid. */
async function labelTest({ op, value }: Matcher): Promise<(text: string) => boolean> {
  if (op === '=') return (text) => text === value;
  if (op === '!=') return (text) => text !== value;
  const test = await linearPattern(`^(?:${value})$`).catch((error: unknown) => {
    const pattern = JSON.stringify(value.slice(0, 100));
    throw new PromqlInvalid(`${pattern} is not a regular expression`, { cause: error });
  });
  return op === '=~' ? test : (text) => !test(text);
}

function toNs(ms: number): bigint {
  return BigInt(Math.floor(ms * 1000)) * 1000n;
}
