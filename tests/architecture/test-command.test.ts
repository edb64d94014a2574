import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';

const script = resolve(import.meta.dirname, '../../script/test.ts');

/** Runs what `npm test -- FILE` runs, on a file with one test that passes or fails. */
function statusOf(passes: boolean): number | null {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-test-command-'));
  try {
    const file = join(folder, 'one.test.mjs');
    writeFileSync(
      file,
      `import { it } from 'node:test';\nit('is', () => { if (!${passes}) throw new Error('no'); });\n`,
    );
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    return spawnSync(process.execPath, [script, file], { env, encoding: 'utf8' }).status;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('npm test', () => {
  for (const passes of [true, false]) {
    it(`ends with ${passes ? 'status 0 when all tests pass' : 'another status when one fails'}`, () => {
      assert.equal(statusOf(passes), passes ? 0 : 1);
    });
  }
});
