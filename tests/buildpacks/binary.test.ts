import assert from 'node:assert/strict';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Sandbox, repository } from './sandbox.ts';

describe('the binary buildpack', () => {
  it('never detects an app', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ Procfile: 'web: ./server' });
    assert.equal((await sandbox.detect('binary')).status, 1);
  });

  it('runs what the Procfile says, after .profile.d and .profile, unprivileged and without files of the host', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      Procfile: '# comment\nweb: bash show.sh\nworker: sleep 1\n',
      'show.sh': 'echo "$ONE $TWO $(id -u) $(pwd)"; grep -E "^Cap(Prm|Bnd)" /proc/self/status; ls "$HOST" 2>&1',
      '.profile.d/one.sh': 'export ONE=1',
      '.profile': 'export TWO=$((ONE + 1))',
    });
    const { status, output, start } = await sandbox.stage(['binary']);
    assert.equal(status, 0, output);
    assert.match(output, /worker: sleep 1/);
    const end = await sandbox.runToEnd(start ?? 'exit 99', { HOST: repository });
    assert.match(end.output, /^1 2 2000 \/home\/vcap\/app\nCapPrm:\t0+\nCapBnd:\t0+\n/);
    assert.ok(end.output.includes(`cannot access '${repository}'`));
  });

  it('names the line of a Procfile that is none', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ Procfile: 'web: a\n\nworker sleep\n' });
    const { status, output } = await sandbox.stage(['binary']);
    assert.equal(status, 1);
    assert.match(output, /Procfile, line 3: expected `type: command`, found `worker sleep`/);
  });
});

describe('buildpacks', () => {
  it('have all of the public layout, executable, a version, and the same shared files', async () => {
    const folder = join(repository, 'buildpacks');
    const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory());
    assert.ok(names.length >= 8);
    const deps = await readFile(join(folder, 'staticfile/lib/deps.sh'), 'utf8');
    const debian = await readFile(join(folder, 'java/lib/debian.sh'), 'utf8');
    for (const { name } of names) {
      for (const script of ['detect', 'supply', 'finalize', 'compile', 'release']) {
        const { mode } = await stat(join(folder, name, 'bin', script));
        assert.equal(mode & 0o111, 0o111, `${name}/bin/${script}`);
      }
      assert.match(await readFile(join(folder, name, 'VERSION'), 'utf8'), /^\d+\.\d+\.\d+\n$/);
      assert.equal(await readFile(join(folder, name, 'lib/deps.sh'), 'utf8'), deps, name);
    }
    for (const name of ['php', 'ruby'])
      assert.equal(await readFile(join(folder, name, 'lib/debian.sh'), 'utf8'), debian, name);
  });
});
