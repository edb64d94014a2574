import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { access, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';

const RUNNER = join(import.meta.dirname, 'stage.sh');

/** A folder that stands for the container's /tmp. */
class Stage implements AsyncDisposable {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async make(): Promise<Stage> {
    const stage = new Stage(await mkdtemp(join(tmpdir(), 'ingot-stage-')));
    await mkdir(stage.at('app'));
    return stage;
  }

  at(path: string): string {
    return join(this.root, path);
  }

  async buildpack(name: string, scripts: Record<string, string>): Promise<string> {
    for (const [script, text] of Object.entries(scripts)) {
      const path = this.at(`${name}/${script}`);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, script.startsWith('bin/') ? `#!/bin/bash\n${text}\n` : text);
      await chmod(path, 0o755);
    }
    return this.at(name);
  }

  run(...args: string[]) {
    const env = { PATH: '/usr/bin:/bin', STAGING_ROOT: this.root, GREETING: 'hello' };
    return spawnSync('bash', [RUNNER, ...args], { env, encoding: 'utf8' });
  }

  async text(path: string): Promise<string> {
    return await readFile(this.at(path), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}

const RELEASE = 'echo "default_process_types: {web: ./run}"';

describe('the lifecycle in the container', () => {
  it('takes the first buildpack that detects, and compiles with it', async () => {
    await using stage = await Stage.make();
    const no = await stage.buildpack('no', { 'bin/detect': 'exit 1', 'bin/compile': 'exit 1' });
    const yes = await stage.buildpack('yes', {
      'bin/detect': 'echo " yes 1.0"; echo noise >&2',
      'bin/compile':
        'echo "-----> compiling $1 $2"; echo built >$1/built; echo kept >$2/kept; cp $3/GREETING $1/greeting',
      'bin/release': RELEASE,
      VERSION: '1.0\n',
    });
    const ran = stage.run('build', 'detect', no, yes);
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(ran.stdout, `-----> compiling ${stage.at('app')} ${stage.at('cache/final')}\n`);
    assert.equal(await stage.text('result/chosen'), '1\n');
    assert.equal(await stage.text('result/1.detected'), ' yes 1.0');
    assert.equal(await stage.text('result/1.version'), '1.0\n');
    assert.equal(await stage.text('result/release.yml'), 'default_process_types: {web: ./run}\n');
    assert.equal(await stage.text('app/greeting'), 'hello');
  });

  it('says so when none detects', async () => {
    await using stage = await Stage.make();
    const no = await stage.buildpack('no', { 'bin/detect': 'exit 1' });
    const ran = stage.run('build', 'detect', no);
    assert.equal(ran.status, 222);
    assert.match(ran.stderr, /None of the buildpacks detected a compatible application/);
  });

  it('supplies with all buildpacks in order, each with the tools of those before it, and finalizes with the last', async () => {
    await using stage = await Stage.make();
    const first = await stage.buildpack('first', {
      'bin/supply': [
        'mkdir -p $3/$4/bin $3/$4/env $3/$4/profile.d',
        'printf "#!/bin/sh\\necho tool says \\$COLOR" >$3/$4/bin/tool; chmod +x $3/$4/bin/tool',
        'printf blue >$3/$4/env/COLOR',
        'echo "export FROM_FIRST=1" >$3/$4/profile.d/first.sh',
        'echo "supply $4 cache $(basename $2)"',
      ].join('\n'),
    });
    const last = await stage.buildpack('last', {
      'bin/supply': 'tool; echo "supply $4"',
      'bin/finalize': 'tool; echo "finalize $4 $(basename $5)"; echo "name: last" >$3/$4/config.yml',
      'bin/release': RELEASE,
    });
    const ran = stage.run('build', 'given', first, last);
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(
      ran.stdout,
      /^supply 0 cache [0-9a-f]{32}\ntool says blue\nsupply 1\ntool says blue\nfinalize 1 profile\.d\n$/,
    );
    assert.equal(await stage.text('result/chosen'), '0\n1\n');
    assert.equal(await stage.text('result/1.config.yml'), 'name: last\n');
    assert.equal(await stage.text('profile.d/0_first.sh'), 'export FROM_FIRST=1\n');
    assert.match(await stage.text('profile.d/000_multi-supply.sh'), /export PATH=\$DEPS_DIR\/0\/bin/);
  });

  const failures: [string, number, Record<string, string>][] = [
    ['compile', 223, { 'bin/compile': 'echo "the reason" >&2; exit 3' }],
    ['release', 224, { 'bin/compile': 'true', 'bin/release': 'echo "the reason" >&2; exit 1' }],
    ['supply', 225, { 'bin/supply': 'echo "the reason" >&2; exit 1', 'bin/finalize': 'true' }],
    ['finalize', 226, { 'bin/finalize': 'echo "the reason" >&2; exit 1' }],
  ];
  for (const [phase, status, scripts] of failures) {
    it(`ends with ${status} when ${phase} fails, after showing what it said`, async () => {
      await using stage = await Stage.make();
      const ran = stage.run('build', 'given', await stage.buildpack('bad', scripts));
      assert.equal(ran.status, status);
      assert.match(ran.stderr, /^the reason\n/);
    });
  }

  it('clones a buildpack that is a repository, at its branch', async () => {
    await using stage = await Stage.make();
    const git = await stage.buildpack('git', { 'bin/compile': 'echo "from git"' });
    const run = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: git, stdio: 'pipe' });
    run('init', '-q', '-b', 'main');
    run('commit', '-q', '--allow-empty', '-m', 'empty');
    run('checkout', '-q', '-b', 'good');
    run('add', '.');
    run('commit', '-q', '-m', 'good');
    run('checkout', '-q', 'main');
    const ran = stage.run('build', 'given', `git:file://${git}#good`);
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(ran.stdout, 'from git\n');
    const absent = stage.run('build', 'given', `git:file://${stage.at('absent')}`);
    assert.equal(absent.status, 227);
    assert.match(absent.stderr, /Failed to clone the buildpack/);
  });

  it("downloads a user's zip, or says that it cannot", async () => {
    await using stage = await Stage.make();
    await writeFile(stage.at('served'), 'bytes');
    assert.equal(stage.run('fetch', `file://${stage.at('served')}`, stage.at('fetched/0.zip')).status, 0);
    assert.equal(await stage.text('fetched/0.zip'), 'bytes');
    const absent = stage.run('fetch', `file://${stage.at('absent')}`, stage.at('fetched/1.zip'));
    assert.equal(absent.status, 227);
    assert.match(absent.stderr, /Failed to download the buildpack file:/);
  });

  it('packs a droplet for vcap, and a cache unless it is empty', async () => {
    await using stage = await Stage.make();
    await writeFile(stage.at('app/run'), 'x');
    assert.equal(stage.run('pack', '{"start_command":"a b"}\n').status, 0);
    await assert.rejects(access(stage.at('cache.packed')));
    const listed = execFileSync('tar', ['-tvzf', stage.at('droplet.tgz'), '--numeric-owner'], { encoding: 'utf8' });
    const names = listed
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/).slice(-1)[0]);
    assert.deepEqual(names, ['staging_info.yml', 'logs/', 'tmp/', 'app/', 'app/run', 'deps/', 'profile.d/']);
    assert.ok(
      listed
        .split('\n')
        .slice(0, -1)
        .every((line) => line.includes('2000/2000')),
    );
    await mkdir(stage.at('cache'));
    await writeFile(stage.at('cache/kept'), 'x');
    assert.equal(stage.run('pack', '').status, 0);
    await access(stage.at('cache.packed'));
  });
});
