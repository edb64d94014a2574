import type { DeaHeartbeat } from './dea.ts';

/** Which list of a DEA a hearer holds. */
export type BeatMark = Pick<DeaHeartbeat, 'run' | 'seq' | 'digest'>;

/**
 * What a hearer does with a beat, given the list that it holds: take the whole list (`full`), carry its changes out (`next`), leave
 * all as it is (`same`), or pass over what came late or twice (`old`). `unknown`: something was missed, ask for the whole list.
 */
export type BeatPlace = 'full' | 'next' | 'same' | 'old' | 'unknown';

export function placeBeat(known: BeatMark | undefined, beat: DeaHeartbeat): BeatPlace {
  const isSameRun = known?.run === beat.run;
  if (isSameRun && beat.seq < known.seq) return 'old';
  if (beat.droplets) return 'full';
  if (isSameRun && beat.changes && beat.seq === known.seq + 1) return 'next';
  // A DEA that started again and still holds the same counts anew.
  const isSameList = known?.digest === beat.digest && (isSameRun ? beat.seq === known.seq : !beat.changes);
  return isSameList ? 'same' : 'unknown';
}
