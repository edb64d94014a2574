/**
 * `npm run kills [-- seconds [seed]]`: a whole platform whose processes are killed with -9 and stopped for a while at random, while an app
 * of two instances is asked all the time. Says what was done and what was not answered; afterwards all must be as desired. The
 * router is left alone: on one machine there is one, and what is in flight in it dies with it.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '#testing/eventually.ts';
import { Random } from '#testing/simulation/random.ts';
import { FILES, PUSH_ARGS, underLoad } from '../tests/e2e/load.ts';
import { TestPlatform } from '../tests/e2e/platform.ts';

const APP = 'kills-app';
const PROCESSES = ['control', 'warden', 'dea', 'dea-1', 'nats', 'postgres'];
const MAX_STOP_MS = 9_000;

const seconds = Number(process.argv[2] ?? 600);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const random = new Random(seed);
const done = new Map<string, number>();
const count = (what: string): void => void done.set(what, (done.get(what) ?? 0) + 1);

await using platform = await TestPlatform.start();
const folder = await platform.folder(FILES);
await platform.mustCf(['push', APP, ...PUSH_ARGS], { cwd: folder });

const strikes: [what: string, strike: () => Promise<void>][] = [
  ...PROCESSES.map((name): [string, () => Promise<void>] => [
    `${name} killed`,
    async () => {
      const pid = platform.pidOf(name);
      process.kill(pid, 'SIGKILL');
      await eventually(`${name} is back`, () => platform.pidOf(name) !== pid, 60);
    },
  ]),
  ...['control', 'dea', 'dea-1', 'nats'].map((name): [string, () => Promise<void>] => [
    `${name} stopped for a while`,
    async () => {
      const pid = platform.pidOf(name);
      process.kill(pid, 'SIGSTOP');
      await sleep(random.between(500, MAX_STOP_MS));
      process.kill(pid, 'SIGCONT');
    },
  ]),
  ['an instance crashed', async () => void (await platform.get(APP, '/crash').catch(() => {}))],
  ['two killed at once', async () => void ['dea', 'nats'].map((name) => process.kill(platform.pidOf(name), 'SIGKILL'))],
];

const load = await underLoad(platform, APP, async () => {
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const [what, strike] = random.pick(strikes) ?? [];
    if (what === undefined || strike === undefined) continue;
    console.error(`${Math.round((end - performance.now()) / 1000)} s left: ${what}`);
    await strike();
    count(what);
    // One instance at a time may be down: the other is what serves.
    await eventually('two run', isWhole, 120);
    await sleep(random.between(0, 3_000));
  }
});
await eventually('two run, and no more', isWhole, 120);
await platform.mustCf(['delete', APP, '-f', '-r']);
await rm(folder, { recursive: true, force: true });

console.log('| strike | times |\n| --- | ---: |');
for (const [what, times] of done) console.log(`| ${what} | ${times} |`);
console.log(
  `\nseed ${seed}: ${load.answered} answered, ${load.failures.length} not, the slowest in ${Math.round(load.slowest_ms)} ms`,
);
for (const failure of load.failures.slice(0, 20)) console.log(JSON.stringify(failure));
process.exitCode = load.failures.length > 0 ? 1 : 0;

/** By what every DEA says that it holds. */
async function isWhole(): Promise<boolean> {
  const { output } = await platform.ingot(['status']);
  const states = [...output.matchAll(new RegExp(`${APP}/web/\\d+ +(\\S+)`, 'g'))].map(([, state]) => state);
  return states.length === 2 && states.every((state) => state === 'RUNNING');
}
