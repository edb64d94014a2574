/**
 * Prometheus' text format, read and written. Source: prometheus.io/docs/instrumenting/exposition_formats. What is read keeps its
 * labels as they stand; merging puts the component's own before them.
 */
export interface Sample {
  name: string;
  /** As between the braces; empty without any. */
  labels: string;
  value: number;
}

export interface Family {
  name: string;
  help: string;
  type: string;
  samples: Sample[];
}

export type Exposition = readonly Family[];

export interface LabelledExposition {
  labels: Readonly<Record<string, string>>;
  exposition: Exposition;
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)\s*(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['_sum', '_count'],
};

/** Reads what a component shows; lines that are none of the format's are left out. At most `max_samples` samples. */
export function parseExposition(text: string, max_samples: number): Exposition {
  const families = new Map<string, Family>();
  const family = (name: string): Family => {
    let found = families.get(name);
    if (!found) families.set(name, (found = { name, help: '', type: 'untyped', samples: [] }));
    return found;
  };
  let current: Family | undefined;
  let count = 0;
  for (const line of text.split('\n')) {
    const comment = /^#\s*(HELP|TYPE)\s+(\S+)\s*(.*)$/.exec(line);
    if (comment) {
      current = family(comment[2] ?? '');
      if (comment[1] === 'HELP') current.help = comment[3] ?? '';
      else current.type = (comment[3] ?? '').trim();
      continue;
    }
    const sample = readSample(line);
    if (!sample) continue;
    if (++count > max_samples) break;
    const owner: Family = current && isOf(current, sample.name) ? current : family(sample.name);
    owner.samples.push(sample);
  }
  return [...families.values()].filter(({ samples }) => samples.length > 0);
}

/** Several expositions as one: each family once, its samples labelled by whose they are. */
export function mergeExpositions(parts: readonly LabelledExposition[]): string {
  const families = new Map<string, { help: string; type: string; lines: string[] }>();
  for (const { labels, exposition } of parts) {
    const own = formatLabels(labels);
    for (const { name, help, type, samples } of exposition) {
      let merged = families.get(name);
      if (!merged) families.set(name, (merged = { help, type, lines: [] }));
      for (const sample of samples) {
        const all = joinLabels(own, renamed(sample.labels, labels));
        merged.lines.push(`${sample.name}${all === '' ? '' : `{${all}}`} ${formatValue(sample.value)}`);
      }
    }
  }
  let text = '';
  for (const [name, { help, type, lines }] of families) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`;
  }
  return text;
}

export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`)
    .join(',');
}

/** The labels of a sample by their names; what is none of the format's is left out. */
export function parseLabels(labels: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, name = '', value = ''] of labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    found[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return found;
}

export function joinLabels(one: string, other: string): string {
  return one === '' || other === '' ? one + other : `${one},${other}`;
}

function readSample(line: string): Sample | undefined {
  const match = SAMPLE.exec(line);
  if (!match) return undefined;
  const value = readValue(match[3] ?? '');
  if (value === undefined) return undefined;
  return { name: match[1] ?? '', labels: (match[2] ?? '').trim().replace(/,$/, ''), value };
}

function readValue(text: string): number | undefined {
  if (/^\+?inf$/i.test(text)) return Infinity;
  if (/^-inf$/i.test(text)) return -Infinity;
  if (/^nan$/i.test(text)) return NaN;
  const value = Number(text);
  return text === '' || Number.isNaN(value) ? undefined : value;
}

function formatValue(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function isOf(family: Family, name: string): boolean {
  return family.name === name || (SUFFIXES[family.type] ?? []).some((suffix) => name === family.name + suffix);
}

/** A label of the component's that has a name of ours is kept as `exported_…`, as Prometheus itself does. */
function renamed(labels: string, ours: Readonly<Record<string, string>>): string {
  let text = labels;
  for (const name of Object.keys(ours)) {
    if (!text.includes(`${name}=`)) continue;
    text = text.replace(new RegExp(`(^|",\\s*)${name}=`, 'g'), `$1exported_${name}=`);
  }
  return text;
}
