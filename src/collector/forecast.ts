import type { Exposition } from '#http/exposition.ts';
import { formatLabels } from '#http/exposition.ts';
import type { History } from './history.ts';

type Points = readonly (readonly [number, number])[];

/** Fewer say nothing of a trend. */
const MIN_POINTS = 5;
const WINDOW_MS = 6 * 3_600_000;
/** What is further away is not going to fill up in a time that anybody plans for. */
const HORIZON_S = 90 * 86_400;

/** Names of what the machine can run out of, by the series that say how much is left. */
const LEFT = {
  host_disk_available_bytes: 'disk',
  host_disk_free_inodes: 'inodes',
  host_memory_available_bytes: 'memory',
};

export interface Forecast {
  what: string;
  labels: string;
  /** Infinity where nothing fills up in a time that can be foreseen. */
  full_in_s: number;
}

/**
 * Seconds until nothing is left if it goes on as it went: a straight line through the points by least squares, from where it stands at
 * the end. Infinity where it grows, stands, or is too little known. Points are ms and value.
 */
export function fullIn_s(points: Points): number {
  const last = points.at(-1);
  if (points.length < MIN_POINTS || !last) return Infinity;
  const at = points.map(([ms]) => (ms - last[0]) / 1000);
  const meanAt = at.reduce((sum, s) => sum + s, 0) / at.length;
  const meanLeft = points.reduce((sum, [, left]) => sum + left, 0) / points.length;
  let product = 0;
  let square = 0;
  for (const [n, [, left]] of points.entries()) {
    const away = (at[n] ?? 0) - meanAt;
    product += away * (left - meanLeft);
    square += away * away;
  }
  const slope = square === 0 ? 0 : product / square;
  if (slope >= 0) return Infinity;
  const seconds = last[1] / -slope;
  return seconds > HORIZON_S ? Infinity : Math.round(seconds);
}

/** What of the machine fills up, the first first. */
export function forecasts(history: History, now_ms: number): Forecast[] {
  const found = Object.entries(LEFT).flatMap(([name, what]) =>
    history.find(name).map(({ labels, points }): Forecast => {
      return { what, labels, full_in_s: fullIn_s(points.filter(([at_ms]) => at_ms > now_ms - WINDOW_MS)) };
    }),
  );
  return found.sort((a, b) => (a.full_in_s === b.full_in_s ? 0 : a.full_in_s - b.full_in_s));
}

export function expositionOf(all: readonly Forecast[]): Exposition {
  const name = 'host_full_in_seconds';
  const samples = all.map(({ what, labels, full_in_s }) => ({
    name,
    labels: `${formatLabels({ what })},${labels}`,
    value: full_in_s,
  }));
  return [{ name, help: 'until nothing is left, if it goes on as in the last hours', type: 'gauge', samples }];
}
