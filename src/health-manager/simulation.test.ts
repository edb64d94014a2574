import { describe, it } from 'node:test';
import { simulateHealthManager, stormOf } from '#testing/simulation/health-manager.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

/** Storms that once broke an invariant, and what was amiss. */
const ONCE_BROKEN: Record<number, string> = {
  53: 'a duplicate was stopped by the word of a DEA of which a change had been missed',
};

describe('the health manager in a storm', () => {
  for (const seed of SEEDS) {
    it(`keeps its promises and converges, seed ${seed}`, () => {
      simulateHealthManager({ seed, storm_s: 600, deas: 12, processes: 15, max_instances: 5 });
    });
  }
  for (const [seed, what] of Object.entries(ONCE_BROKEN)) {
    it(`keeps its promises in storm ${seed}, in which once ${what}`, () => {
      simulateHealthManager(stormOf(Number(seed)));
    });
  }
});
