/**
 * `npm run sim [-- seconds [first seed]]`: the health manager in simulated storms, seed after seed, for so many seconds; a seed
 * that breaks an invariant is printed and the run ends with status 1. Keep it in src/health-manager/simulation.test.ts.
 */
import { simulateHealthManager, stormOf } from '#testing/simulation/health-manager.ts';

const seconds = Number(process.argv[2] ?? 60);
let seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const started = performance.now();
let steps = 0;
let asked = 0;
let runs = 0;
while (performance.now() - started < seconds * 1000) {
  try {
    const result = simulateHealthManager(stormOf(seed));
    steps += result.steps;
    asked += result.asked;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)} (${JSON.stringify(stormOf(seed))})`);
    process.exit(1);
  }
  runs += 1;
  seed += 1;
}
console.log(`${runs} storms, ${steps} steps, ${asked} starts and stops asked for, no promise broken`);
