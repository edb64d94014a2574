import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { byteSize } from './byte-size.ts';
import { readBuildResult, stagingInfo } from './build-result.ts';
import { readLaunch, readProcfile, readRelease, ReleaseInvalid } from './process-types.ts';
import { failureOfExit } from './staging-error.ts';

describe('process types', () => {
  it("are read from a buildpack's release", () => {
    assert.deepEqual(readRelease('---\ndefault_process_types:\n  web: npm start\n'), { web: 'npm start' });
    for (const empty of ['', '---\n', '--- {}', 'addons: []', 'default_process_types:'])
      assert.deepEqual(readRelease(empty), {});
    for (const bad of ['- a list', 'default_process_types: [web]', '{ broken', 'text']) {
      assert.throws(() => readRelease(bad), ReleaseInvalid, bad);
    }
  });

  it('are read from a launch.yml', () => {
    assert.deepEqual(readLaunch('processes:\n- type: worker\n  command: ./work\n  limits: {memory: 1}\n'), {
      worker: './work',
    });
  });

  const procfiles: [string, Record<string, string>][] = [
    ['web: node app.js\nworker: node work.js\n', { web: 'node app.js', worker: 'node work.js' }],
    ['web: "quoted: command"', { web: 'quoted: command' }],
    ['web: java -cp a: Main: x\r\n\r\nclock_2: tick', { web: 'java -cp a: Main: x', clock_2: 'tick' }],
    ['# only a comment', {}],
    ['', {}],
    ['web: bundle exec rackup -p $PORT # {{x}}: y', { web: 'bundle exec rackup -p $PORT' }],
  ];
  for (const [text, expected] of procfiles) {
    it(`are read from the Procfile ${JSON.stringify(text)}`, () => assert.deepEqual(readProcfile(text), expected));
  }
});

describe('the result of a build', () => {
  const buildpacks = [
    { key: 'k0', name: 'apt', url: 'http://x/0', kind: 'admin' as const },
    { key: 'k1', name: 'node', url: 'http://x/1', kind: 'admin' as const },
  ];
  const files = (content: Record<string, string>) =>
    new Map(Object.entries(content).map(([k, v]) => [k, Buffer.from(v)]));

  it('prefers the Procfile to the buildpacks, and names those that were used', () => {
    const result = readBuildResult(
      files({
        chosen: '0\n1\n',
        'release.yml': 'default_process_types: {web: a, worker: b}',
        '1.launch.yml': 'processes: [{type: worker, command: c}]',
        Procfile: 'web: d',
        '0.version': '1.2.3\n',
        '1.config.yml': 'name: node\nversion: 4.5\nconfig: {}',
        '1.detected': 'Node.js 20\n',
      }),
      buildpacks,
    );
    assert.deepEqual(result, {
      process_types: { web: 'd', worker: 'c' },
      buildpacks: [
        { key: 'k0', name: 'apt', detect_output: '', version: '1.2.3' },
        { key: 'k1', name: 'node', detect_output: 'Node.js 20', version: '4.5' },
      ],
    });
    assert.deepEqual(JSON.parse(stagingInfo(result)), {
      detected_buildpack: 'Node.js 20',
      start_command: 'd',
      effective_procfile: { web: 'd', worker: 'c' },
    });
  });
});

describe('failures', () => {
  it('have the titles of Cloud Foundry', () => {
    assert.equal(failureOfExit(222, false).staging_code, 'NoAppDetectedError');
    assert.equal(failureOfExit(223, false).staging_code, 'BuildpackCompileFailed');
    assert.equal(failureOfExit(224, false).staging_code, 'BuildpackReleaseFailed');
    assert.match(failureOfExit(137, true).message, /out of memory/);
    assert.match(failureOfExit(1, false).message, /exit status 1/);
  });
});

describe('sizes in logs', () => {
  it('are short', () => {
    const cases: [number, string][] = [
      [120, '120B'],
      [4096, '4K'],
      [22_334_668, '21.3M'],
      [5 * 1024 ** 3, '5G'],
    ];
    for (const [bytes, text] of cases) assert.equal(byteSize(bytes), text);
  });
});
