/** Types, lint, format and dead code, each with a count of what it saw: some tools pass on nothing at all. */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const checks: { name: string; command: string[]; saw: RegExp }[] = [
  { name: 'types', command: ['tsc', '-p', '.', '--listFilesOnly'], saw: /\/src\/kernel\/errors\.ts/ },
  { name: 'types', command: ['tsc', '-p', '.'], saw: /^/ },
  { name: 'lint', command: ['oxlint', '--type-aware', '--deny-warnings'], saw: /on (?:[5-9]\d|\d{3,}) files/ },
  { name: 'format', command: ['oxfmt', '--check'], saw: /on (?:[5-9]\d|\d{3,}) files/ },
  { name: 'dead code', command: ['knip'], saw: /^/ },
];

let failed = 0;
for (const { name, command, saw } of checks) {
  const [program = '', ...args] = command;
  const started = performance.now();
  const run = spawnSync(join(root, 'node_modules/.bin', program), args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const output = run.stdout + run.stderr;
  const isGood = run.status === 0 && saw.test(output);
  console.log(
    `${isGood ? 'ok  ' : 'FAIL'} ${name}: ${command.join(' ')} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
  if (isGood) continue;
  failed += 1;
  console.log(run.status === 0 ? `  it passed without seeing what it should (${saw})\n${output.slice(-2000)}` : output);
}
process.exitCode = failed === 0 ? 0 : 1;
