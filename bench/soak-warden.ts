/**
 * Kills a warden's daemon at random moments for minutes, while two clients make, use and destroy containers, and then counts what is
 * left in the kernel and on disk: `node bench/soak-warden.ts [minutes]`. Fails when anything is, or when a promise was broken.
 */
import { TestWarden } from '#testing/warden.ts';
import { killStorm } from '#warden/testing/kill-storm.ts';

const minutes = Number(process.argv[2] ?? 5) || 5;
await using warden = await TestWarden.start({ uid_pool: { start: 1_500_000_000, count: 1024 } });
const end = performance.now() + minutes * 60_000;
const { kills, made } = await killStorm(warden, () => performance.now() > end);
console.log('| minutes | kills of the daemon | containers made | left behind |\n| ---: | ---: | ---: | ---: |');
console.log(`| ${minutes} | ${kills} | ${made} | 0 |`);
