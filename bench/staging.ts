/**
 * What staging does to an app that serves, and where a push spends its time: `npm run bench:staging [seconds of quiet]`. An app is asked
 * all the while, first in quiet, then while five others are pushed at once. The ratio is what counts; absolute figures are of
 * this machine.
 */
import { rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestPlatform } from '../tests/e2e/platform.ts';

const PUSHES = 5;
const ASKERS = 4;
const PAUSE_MS = 5;
const quiet_s = Number(process.argv[2] ?? 20) || 20;

await using platform = await TestPlatform.start();
const agent = new Agent({ keepAlive: true, maxSockets: ASKERS });
const folder = await platform.sample('node');

async function ask(host: string): Promise<number> {
  const began = performance.now();
  await new Promise<void>((resolve, reject) => {
    const headers = { host: `${host}.${platform.domain}` };
    request({ host: '127.0.0.1', port: platform.port, agent, headers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${host} answered ${response.statusCode}`));
      response.resume().once('end', resolve).once('error', reject);
    })
      .once('error', reject)
      .end();
  });
  return performance.now() - began;
}

/** How long answers took while the work went on. */
async function during(work: () => Promise<unknown>): Promise<number[]> {
  const over = new AbortController();
  const times: number[] = [];
  const askers = Array.from({ length: ASKERS }, async () => {
    while (!over.signal.aborted) {
      times.push(await ask('front'));
      await sleep(PAUSE_MS);
    }
  });
  try {
    await work();
  } finally {
    over.abort();
    await Promise.all(askers);
  }
  return times.toSorted((one, other) => one - other);
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
const shown = (times: readonly number[]): string =>
  [0.5, 0.99, 0.999].map((share) => at(times, share).toFixed(1)).join(' | ') + ` | ${times.length}`;

try {
  await platform.mustCf(['push', 'front', '-m', '128M'], { cwd: folder });
  await during(async () => await sleep(3000));
  const quiet = await during(async () => await sleep(quiet_s * 1000));
  const outputs: string[] = [];
  const began = performance.now();
  const busy = await during(async () => {
    await Promise.all(
      Array.from({ length: PUSHES }, async (_, n) => {
        outputs.push(await platform.mustCf(['push', `pushed-${n}`, '-m', '64M'], { cwd: folder }));
      }),
    );
  });
  const pushes_s = (performance.now() - began) / 1000;
  console.log('\n| | p50 ms | p99 ms | p99.9 ms | answers |\n| --- | ---: | ---: | ---: | ---: |');
  console.log(`| quiet | ${shown(quiet)} |\n| five pushes at once (${pushes_s.toFixed(0)} s) | ${shown(busy)} |`);
  console.log(`\np99 beside five pushes: ${(at(busy, 0.99) / at(quiet, 0.99)).toFixed(2)} × quiet (goal 2)\n`);
  for (const output of outputs) console.log(/Staging took .*/.exec(output)?.[0] ?? 'no phases told');
} finally {
  agent.destroy();
  await rm(folder, { recursive: true });
}
