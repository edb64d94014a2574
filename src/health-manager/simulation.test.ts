import { describe, it } from 'node:test';
import { simulateHealthManager } from '#testing/simulation/health-manager.ts';

/** Seeds that once broke an invariant stay here. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

describe('the health manager in a storm', () => {
  for (const seed of SEEDS) {
    it(`keeps its promises and converges, seed ${seed}`, () => {
      simulateHealthManager({ seed, storm_s: 600, deas: 12, processes: 15, max_instances: 5 });
    });
  }
});
