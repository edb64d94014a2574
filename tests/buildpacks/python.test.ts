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

describe('the python buildpack installs what is locked, without what is for development, by', () => {
  const bottle = '27569ab8d1332fbba3e400b3baab2227ab4efb4882ff147af05a7c00ed73409c';
  const iniconfig = 'b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374';
  const project =
    '[project]\nname = "own"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["bottle==0.13.2"]\n';
  const wheel = (path: string, sha256: string) =>
    `wheels = [{ url = "https://files.pythonhosted.org/packages/${path}", hash = "sha256:${sha256}" }]`;
  const poetryPackage = (name: string, version: string, groups: string, sha256: string) =>
    `[[package]]\nname = "${name}"\nversion = "${version}"\n${groups}files = [{file = "${name}.whl", hash = "sha256:${sha256}"}]\n`;
  const poetryLock = (main: string, dev: string) =>
    `${poetryPackage('bottle', '0.13.2', main, bottle)}${poetryPackage('iniconfig', '2.0.0', dev, iniconfig)}`;
  const cases: [string, Record<string, string>][] = [
    [
      'uv',
      {
        'pyproject.toml': `${project}[dependency-groups]\ndev = ["iniconfig==2.0.0"]\n`,
        'uv.lock': `version = 1
requires-python = ">=3.11"
[[package]]
name = "bottle"
version = "0.13.2"
source = { registry = "https://pypi.org/simple" }
${wheel('7e/0a/a5260c758ff813acc6967344339aa7ba15f815575f4d49141685c4345d39/bottle-0.13.2-py2.py3-none-any.whl', bottle)}
[[package]]
name = "iniconfig"
version = "2.0.0"
source = { registry = "https://pypi.org/simple" }
${wheel('ef/a6/62565a6e1cf69e10f5727360368e451d4b7f58beeac6173dc9db836a5b46/iniconfig-2.0.0-py3-none-any.whl', iniconfig)}
[[package]]
name = "own"
version = "1.0"
source = { virtual = "." }
dependencies = [{ name = "bottle" }]
[package.dev-dependencies]
dev = [{ name = "iniconfig" }]
`,
      },
    ],
    ['Poetry 2', { 'pyproject.toml': project, 'poetry.lock': poetryLock('groups = ["main"]\n', 'groups = ["dev"]\n') }],
    [
      'an older Poetry, whose lock names no groups',
      {
        'pyproject.toml':
          '[tool.poetry.dependencies]\npython = "^3.11"\nBottle = "0.13.2"\n[tool.poetry.group.dev.dependencies]\niniconfig = "2.0.0"\n',
        'poetry.lock': poetryLock('', ''),
      },
    ],
  ];
  for (const [what, files] of cases) {
    it(what, { skip }, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['python']);
      assert.equal(status, 0, output);
      const seen = await sandbox.runToEnd(
        'python -c "import bottle; print(bottle.__version__)"; python -c "import iniconfig"',
      );
      assert.match(seen.output, /^0\.13\.2\n[\s\S]*No module named 'iniconfig'/);
    });
  }
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
    [
      'a digest is not the one that was locked',
      {
        'pyproject.toml': '',
        'poetry.lock': `[[package]]\nname = "bottle"\nversion = "0.13.2"\ngroups = ["main"]\nfiles = [{hash = "sha256:${'0'.repeat(64)}"}]\n`,
      },
      {},
      /DO NOT MATCH THE HASHES[\s\S]*failed: its output is above/,
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
