import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { whyWithoutGoProxy } from '#testing/registries.ts';
import { Sandbox } from './sandbox.ts';

const skip = await whyWithoutGoProxy();
const hello = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello from", "go") }\n';

/** Its cache holds the toolchain that samples/go asks for, and what was compiled with it. */
let warm: Sandbox;
before(async () => {
  warm = await Sandbox.create();
});
after(() => warm[Symbol.asyncDispose]());

async function warmSandbox(): Promise<Sandbox> {
  const sandbox = await Sandbox.create();
  await sandbox.useCacheOf(warm);
  return sandbox;
}

describe('the go buildpack', () => {
  it('detects a go.mod', async () => {
    await using sandbox = await Sandbox.create();
    assert.equal((await sandbox.detect('go')).status, 1);
    await sandbox.place({ 'go.mod': 'module x\n' });
    assert.match((await sandbox.detect('go')).output, /^go \d+\.\d+\.\d+\n$/);
  });

  it(
    'stages and serves samples/go with the line of Go that go.mod asks for, and leaves no toolchain in it',
    { skip },
    async () => {
      await warm.placeSample('go');
      const staged = await warm.stage(['go']);
      assert.equal(staged.status, 0, staged.output);
      assert.match(staged.output, /Installing Go \(go\.mod: go 1\.25\)\n +Go 1\.25\.\d+\n/);
      assert.equal(staged.start, './bin/sample');
      assert.deepEqual(await warm.list('tmp/deps/0/bin'), []);
      const server = await warm.serve(staged.start, { CF_INSTANCE_INDEX: '1' });
      const seen = (await (await fetch(server.url)).json()) as Record<string, string>;
      assert.equal(seen['instance_index'], '1');
      assert.match(seen['go'] ?? '', /^go1\.25\.\d+$/);
      await server.stop();
    },
  );

  it('stages again without any network, from the cache', { skip }, async () => {
    await using sandbox = await warmSandbox();
    sandbox.hasNetwork = false;
    await sandbox.placeSample('go');
    const { status, output } = await sandbox.stage(['go']);
    assert.equal(status, 0, output);
    assert.match(output, /taking Go from the cache/);
  });

  it('builds every command below cmd/, vendored packages alone, and starts the first', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'go.mod': 'module example.com/two/v2\n\ngo 1.25\n\nrequire example.com/dep v1.0.0\n',
      'vendor/modules.txt': '# example.com/dep v1.0.0\n## explicit; go 1.25\nexample.com/dep\n',
      'vendor/example.com/dep/dep.go': 'package dep\n\nconst Word = "vendored"\n',
      'cmd/web/main.go': 'package main\n\nimport "example.com/dep"\n\nfunc main() { println(dep.Word) }\n',
      'cmd/worker/main.go': hello,
    });
    const { status, output, start } = await sandbox.stage(['go'], { GOPROXY: 'https://proxy.golang.org,off' });
    assert.equal(status, 0, output);
    assert.equal(start, './bin/web');
    assert.match((await sandbox.runToEnd('./bin/web; ./bin/worker')).output, /vendored\nhello from go\n/);
  });
});

describe('staging by the go buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>, Record<string, string>, RegExp][] = [
    [
      'GOVERSION is no version',
      { 'go.mod': 'module x\n\ngo 1.25\n' },
      { GOVERSION: 'latest' },
      /GOVERSION is `latest`; write a version like 1\.25 or 1\.25\.3/,
    ],
    ['there is no such Go', { 'go.mod': 'module x\n\ngo 1.999\n' }, {}, /there is no Go 1\.999 for linux-\w+/],
    [
      'the proxy does not answer and nothing is cached',
      { 'go.mod': 'module x\n\ngo 1.24\n' },
      { GOPROXY: 'http://127.0.0.1:9' },
      /127\.0\.0\.1:9\/golang\.org\/toolchain\/@v\/list can't be had/,
    ],
  ];
  for (const [what, files, env, expected] of cases) {
    it(what, { skip }, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['go'], env);
      assert.notEqual(status, 0);
      assert.match(output, expected);
    });
  }

  it('no main package is found, or the compiler finds faults, which it shows', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({ 'go.mod': 'module x\n\ngo 1.25\n', 'a/a.go': 'package a\n' });
    assert.match((await sandbox.stage(['go'])).output, /there is no package main/);
    await sandbox.pushAgain();
    await sandbox.place({
      'go.mod': 'module x\n\ngo 1.25\n',
      'main.go': 'package main\n\nfunc main() { missing() }\n',
    });
    const { status, output } = await sandbox.stage(['go']);
    assert.notEqual(status, 0);
    assert.match(output, /undefined: missing\n.*go build failed/);
  });
});
