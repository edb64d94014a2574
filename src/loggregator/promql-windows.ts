/** Functions over the samples of one series in a window of time, and over numbers. As Prometheus has them. */
export type Window = { samples: readonly (readonly [number, number])[]; start: number; end: number };
export type OverTime = (window: Window) => number | undefined;

const values = ({ samples }: Window): number[] => samples.map(([, value]) => value);
export const sum = (numbers: readonly number[]): number => numbers.reduce((total, value) => total + value, 0);

/** Functions of one range vector. */
export const OVER_TIME: Readonly<Record<string, OverTime>> = {
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
  present_over_time: () => 1,
  stddev_over_time: (window) => stddev(values(window)),
  changes: ({ samples }) => samples.filter(([, value], at) => at > 0 && value !== samples[at - 1]?.[1]).length,
  resets: ({ samples }) => samples.filter(([, value], at) => at > 0 && value < (samples[at - 1]?.[1] ?? 0)).length,
};

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

export function stddev(numbers: readonly number[]): number {
  const mean = sum(numbers) / numbers.length;
  return Math.sqrt(sum(numbers.map((value) => (value - mean) ** 2)) / numbers.length);
}

/** Between the two nearest, as far as the share lies between them. */
export function quantile(share: number, numbers: readonly number[]): number {
  if (numbers.length === 0 || Number.isNaN(share)) return NaN;
  if (share < 0) return -Infinity;
  if (share > 1) return Infinity;
  const sorted = numbers.toSorted((a, b) => a - b);
  const rank = share * (sorted.length - 1);
  const below = Math.floor(rank);
  const low = sorted[below] ?? NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? NaN;
  return low + (high - low) * (rank - below);
}

/**
 * The value under which this share of a histogram's counts lies, on a straight line within its bucket. Buckets are upper bound and how
 * many are at or below it; the last bound is +Inf, or nothing can be said.
 */
export function histogramQuantile(share: number, buckets: readonly { le: number; count: number }[]): number {
  const sorted = buckets.toSorted((a, b) => a.le - b.le);
  const last = sorted.at(-1);
  if (sorted.length < 2 || last?.le !== Infinity || !(last.count > 0) || Number.isNaN(share)) return NaN;
  if (share < 0) return -Infinity;
  if (share > 1) return Infinity;
  const rank = share * last.count;
  const at = sorted.findIndex(({ count }) => count >= rank);
  const bucket = sorted[at];
  // Above the highest bound nothing more is known than that bound.
  if (!bucket || bucket.le === Infinity) return sorted.at(-2)?.le ?? NaN;
  const before = sorted[at - 1];
  if (!before && bucket.le <= 0) return bucket.le;
  const start = before?.le ?? 0;
  const below = before?.count ?? 0;
  const within = bucket.count - below;
  return within === 0 ? bucket.le : start + (bucket.le - start) * ((rank - below) / within);
}
