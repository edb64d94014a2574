import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { whyWithoutPypi } from '#testing/registries.ts';
import { Sandbox } from './sandbox.ts';

const skip = await whyWithoutPypi();

describe('the python buildpack', () => {
  const cases: [string, boolean][] = [
    ['requirements.txt', true],
    ['Pipfile', true],
    ['pyproject.toml', true],
    ['setup.py', true],
    ['server.py', false],
  ];
  for (const [file, expected] of cases) {
    it(`${expected ? 'detects an app by' : 'does not detect an app by'} ${file}`, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place({ [file]: '' });
      assert.equal((await sandbox.detect('python')).status === 0, expected);
    });
  }

  it('stages and serves samples/python', { skip }, async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.placeSample('python');
    const first = await sandbox.stage(['python']);
    assert.equal(first.status, 0, first.output);
    const server = await sandbox.serve(first.start, { CF_INSTANCE_INDEX: '1' });
    const seen = (await (await fetch(server.url)).json()) as Record<string, unknown>;
    assert.equal(seen['instance_index'], 1);
    assert.match(String(seen['python']), /^3\.11\./);
    const end = await server.stop();
    assert.equal(end.status, 0, end.output);
  });

  it('installs an app that is itself a package, and what its Pipfile asks for', { skip }, async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      'pyproject.toml': '[project]\nname = "own"\nversion = "1.0"\n[project.scripts]\nown = "own:main"\n',
      'own.py': 'def main():\n    print("own runs")\n',
    });
    const { status, output } = await sandbox.stage(['python']);
    assert.equal(status, 0, output);
    assert.match((await sandbox.runToEnd('own')).output, /own runs/);

    await sandbox.pushAgain();
    await sandbox.place({ Pipfile: '[packages]\nbottle = "==0.13.2"\n[dev-packages]\npytest = "*"\n' });
    const pipfile = await sandbox.stage(['python']);
    assert.equal(pipfile.status, 0, pipfile.output);
    const seen = await sandbox.runToEnd('python -c "import bottle; print(bottle.__version__)"; pip list');
    assert.match(seen.output, /^0\.13\.2$/m);
    assert.doesNotMatch(seen.output, /pytest/);
  });
});

describe('staging by the python buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>, Record<string, string>, RegExp][] = [
    [
      'the app asks for another Python than the stack has',
      { 'requirements.txt': '', 'runtime.txt': 'python-3.8.x\n' },
      {},
      /runtime\.txt asks for Python 3\.8\.x, and this stack \(cflinuxfs4\) has Python 3\.11\.\d+ only/,
    ],
    [
      'pip fails, with all of its output',
      { 'requirements.txt': 'flask\n' },
      { PIP_INDEX_URL: 'http://127.0.0.1:9/simple', PIP_RETRIES: '0' },
      /No matching distribution found for flask(.*\n)*.*pip install -r requirements\.txt failed/,
    ],
    ['the Pipfile cannot be read', { Pipfile: '[packages' }, {}, /Pipfile cannot be read: Expected ']'/],
  ];
  for (const [what, files, env, expected] of cases) {
    it(what, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['python'], env);
      assert.notEqual(status, 0);
      assert.match(output, expected);
    });
  }
});
