import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { repository } from './sandbox.ts';

const script = join(repository, 'script/bootstrap');

function run(file: string, arguments_: string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    execFile(file, arguments_, (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
    });
  });
}

describe('script/bootstrap', () => {
  it('finds all in place on a machine that was brought up before', async () => {
    const { status, output } = await run(script, []);
    assert.equal(status, 0, output);
    assert.match(output, /Debian packages are all here\n.*npm packages are all here\n.*Node v26\./);
  });

  it('says in one sentence what to do when it is not root, before anything is done', async () => {
    const { status, output } = await run('setpriv', ['--reuid=65534', '--clear-groups', script]);
    assert.equal(status, 1);
    assert.equal(
      output,
      'bootstrap: installing packages and making containers needs root: run it with sudo, or as root\n',
    );
  });

  it('refuses an option that it does not know', async () => {
    const { status, output } = await run(script, ['--tset']);
    assert.equal(status, 1);
    assert.match(output, /^bootstrap: there is no option --tset; use /);
  });

  it('has a lockfile that npm ci takes: no optional package is left out', async () => {
    const { status, output } = await run(process.execPath, [
      join(repository, 'script/complete-lockfile.ts'),
      '--check',
    ]);
    assert.equal(status, 0, output);
  });
});
