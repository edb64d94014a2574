import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Sandbox } from './sandbox.ts';

const json = (value: unknown) => JSON.stringify(value, null, 2);

/** Its cache holds the default Node: most tests are not about fetching it. */
let warm: Sandbox;
before(async () => {
  warm = await Sandbox.create();
  await warm.place({ 'package.json': '{}' });
  const { status, output } = await warm.stage(['nodejs']);
  assert.equal(status, 0, output);
});
after(() => warm[Symbol.asyncDispose]());

async function warmSandbox(): Promise<Sandbox> {
  const sandbox = await Sandbox.create();
  await sandbox.useCacheOf(warm);
  return sandbox;
}

describe('the nodejs buildpack', () => {
  it('detects a package.json', async () => {
    await using sandbox = await Sandbox.create();
    assert.equal((await sandbox.detect('nodejs')).status, 1);
    await sandbox.place({ 'package.json': '{}' });
    const { status, output } = await sandbox.detect('nodejs');
    assert.equal(status, 0);
    assert.match(output, /^nodejs \d+\.\d+\.\d+\n$/);
  });

  it('stages and serves samples/node from its lockfile; the second push finds all of it in the cache', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.placeSample('node');
    const first = await sandbox.stage(['nodejs']);
    assert.equal(first.status, 0, first.output);
    assert.match(first.output, /Node\.js 24\.\d+\.\d+\n/);
    assert.match(first.output, /\$ npm ci --prefer-offline --omit=dev/);
    assert.equal(first.start, 'npm start');
    const env = { MEMORY_LIMIT: '200m', CF_INSTANCE_INDEX: '2', SAMPLE_SECRET: 'x' };
    const server = await sandbox.serve('node server.js', env);
    const seen = (await (await fetch(server.url)).json()) as Record<string, unknown>;
    assert.equal(seen['instance_index'], 2);
    const vars = (await (await fetch(`${server.url}/env`)).json()) as Record<string, string>;
    assert.equal(vars['NODE_OPTIONS'], '--max-old-space-size=150');
    assert.equal(vars['NODE_EXTRA_CA_CERTS'], '/etc/ssl/certs/ca-certificates.crt');
    assert.equal(vars['NODE_ENV'], 'production');
    assert.equal(vars['SAMPLE_SECRET'], '(hidden)');
    assert.deepEqual(await (await fetch(`${server.url}/fill?mb=1`)).json(), { written_mb: 1, error: null });
    assert.match(await (await fetch(`${server.url}/stream?ms=1&count=2`)).text(), /data: 1\n\nid: 2\ndata: 2\n\n/);
    const echo = await new Promise<unknown>((resolve, reject) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`);
      socket.addEventListener('open', () => socket.send('hello'));
      socket.addEventListener('message', (event) => resolve(event.data));
      socket.addEventListener('error', () => reject(new Error('no WebSocket')));
    });
    assert.equal(echo, 'hello');
    const end = await server.stop();
    assert.equal(end.status, 0);
    assert.match(end.output, /stopping, as asked/);

    await sandbox.pushAgain();
    await sandbox.placeSample('node');
    sandbox.hasNetwork = false;
    const again = await sandbox.stage(['nodejs']);
    assert.equal(again.status, 0, again.output);
    assert.match(again.output, /does not answer: taking npm from the cache/);
    sandbox.hasNetwork = true;
    const crashing = await sandbox.serve(again.start);
    await fetch(`${crashing.url}/crash?status=7`);
    assert.notEqual((await crashing.end).status, 0);
  });

  it('builds with devDependencies and leaves them out of the droplet', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      'package.json': json({
        engines: { node: '^22.0.0' },
        scripts: { build: 'node build.js', start: 'node .' },
        main: 'out.js',
        dependencies: { ms: '2.1.3' },
        devDependencies: { 'escape-html': '1.0.3' },
      }),
      'build.js': `require('fs').writeFileSync('out.js', "console.log(require('ms')(1000), '" + require('escape-html')('<') + "')")`,
    });
    const { status, output, start } = await sandbox.stage(['nodejs']);
    assert.equal(status, 0, output);
    assert.match(output, /Node\.js 22\.\d+\.\d+\n\s+npm 10\./);
    assert.deepEqual(
      (await sandbox.list('tmp/app/node_modules')).filter((name) => !name.startsWith('.')),
      ['ms'],
    );
    const end = await sandbox.runToEnd(start ?? 'exit 99');
    assert.match(end.output, /^1s &lt;$/m);
  });

  const managers: [string, Record<string, string>, RegExp][] = [
    [
      'yarn 1 by its lockfile',
      {
        'package.json': json({
          scripts: { build: "node -e \"console.log(require('escape-html')('<'))\"", start: 'node show.js' },
          dependencies: { ms: '2.1.3' },
          devDependencies: { 'escape-html': '1.0.3' },
        }),
        'yarn.lock': `# yarn lockfile v1


escape-html@1.0.3:
  version "1.0.3"
  resolved "https://registry.yarnpkg.com/escape-html/-/escape-html-1.0.3.tgz"
  integrity sha512-NiSupZ4OeuGwr68lGIeym/ksIZMJodUGOSCZ/FSnTxcrekbvqrgdUxlJOMpijaKZVjAJrWrGs/6Jy8OMuyj9ow==

ms@2.1.3:
  version "2.1.3"
  resolved "https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz"
  integrity sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==
`,
        'show.js': `console.log(require('ms')(1000))`,
      },
      /yarn 1\.22\.\d+\n[\s\S]*\$ yarn install --frozen-lockfile[\s\S]*&lt;[\s\S]*Removing packages/,
    ],
    [
      'yarn 4 by packageManager, without its Plug’n’Play',
      {
        'package.json': json({
          packageManager: 'yarn@4.9.1',
          scripts: { start: 'node show.js' },
          dependencies: { ms: '2.1.3' },
          devDependencies: { 'escape-html': '1.0.3' },
        }),
        'yarn.lock': `__metadata:
  version: 8
  cacheKey: 10c0

"escape-html@npm:1.0.3":
  version: 1.0.3
  resolution: "escape-html@npm:1.0.3"
  checksum: 10c0/524c739d776b36c3d29fa08a22e03e8824e3b2fd57500e5e44ecf3cc4707c34c60f9ca0781c0e33d191f2991161504c295e98f68c78fe7baa6e57081ec6ac0a3
  languageName: node
  linkType: hard

"ms@npm:2.1.3":
  version: 2.1.3
  resolution: "ms@npm:2.1.3"
  checksum: 10c0/d924b57e7312b3b63ad21fc5b3dc0af5e78d61a1fc7cfb5457edaf26326bf62be5307cc87ffb6862ef1c2b33b0233cdb5d4f01c4c958cc0d660948b65a287a48
  languageName: node
  linkType: hard

"root-workspace-0b6124@workspace:.":
  version: 0.0.0-use.local
  resolution: "root-workspace-0b6124@workspace:."
  dependencies:
    escape-html: "npm:1.0.3"
    ms: "npm:2.1.3"
  languageName: unknown
  linkType: soft
`,
        'show.js': `console.log(require('ms')(1000))`,
      },
      /yarn 4\.9\.1\n[\s\S]*\$ yarn workspaces focus --all --production/,
    ],
    [
      'pnpm by its lockfile',
      {
        'package.json': json({
          scripts: { start: 'node show.js' },
          dependencies: { ms: '2.1.3' },
          devDependencies: { 'escape-html': '1.0.3' },
        }),
        'pnpm-lock.yaml': `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .:
    dependencies:
      ms:
        specifier: 2.1.3
        version: 2.1.3
    devDependencies:
      escape-html:
        specifier: 1.0.3
        version: 1.0.3

packages:

  escape-html@1.0.3:
    resolution: {integrity: sha512-NiSupZ4OeuGwr68lGIeym/ksIZMJodUGOSCZ/FSnTxcrekbvqrgdUxlJOMpijaKZVjAJrWrGs/6Jy8OMuyj9ow==}

  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}

snapshots:

  escape-html@1.0.3: {}

  ms@2.1.3: {}
`,
        'show.js': `console.log(require('ms')(1000))`,
      },
      /pnpm 10\.\d+\.\d+\n[\s\S]*\$ pnpm install --frozen-lockfile/,
    ],
  ];
  for (const [what, files, expected] of managers) {
    it(`installs by ${what}`, async () => {
      await using sandbox = await warmSandbox();
      await sandbox.place(files);
      const { status, output, start } = await sandbox.stage(['nodejs']);
      assert.equal(status, 0, output);
      assert.match(output, expected);
      assert.match((await sandbox.runToEnd(start ?? 'exit 99')).output, /^1s$/m);
      const missing = await sandbox.runToEnd(`node -e "require('escape-html')"`);
      assert.match(missing.output, /Cannot find module 'escape-html'/);
    });
  }

  it('gives what it built to the staticfile buildpack after it', async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'package.json': json({ scripts: { build: 'mkdir dist && echo built > dist/index.html' } }),
      Staticfile: 'root: dist',
    });
    const { status, output, start } = await sandbox.stage(['nodejs', 'staticfile']);
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start);
    assert.equal(await (await fetch(server.url)).text(), 'built\n');
  });

  it('compiles a native package against the headers of its own Node', async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'package.json': json({ dependencies: { 'node-addon-api': '8.5.0' }, scripts: { start: 'node show.js' } }),
      'binding.gyp': `{"targets":[{"target_name":"hi","sources":["hi.c"]}]}`,
      'hi.c': `#include <node_api.h>
        static napi_value Init(napi_env env, napi_value exports) {
          napi_value text; napi_create_string_utf8(env, "hi from C", NAPI_AUTO_LENGTH, &text); return text; }
        NAPI_MODULE(hi, Init)`,
      'show.js': `console.log(require('./build/Release/hi.node'))`,
    });
    const { status, output, start } = await sandbox.stage(['nodejs']);
    assert.equal(status, 0, output);
    assert.match((await sandbox.runToEnd(start ?? 'exit 99')).output, /hi from C/);
  });

  it('keeps a complete node_modules that came with the app', async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({
      'package.json': json({ dependencies: { own: '1.0.0' }, scripts: { start: 'node server.js' } }),
      'node_modules/own/package.json': json({ name: 'own', version: '1.0.0' }),
      'node_modules/own/index.js': `module.exports = 'not from any registry'`,
      'server.js': `console.log(require('own'))`,
    });
    const { status, output, start } = await sandbox.stage(['nodejs']);
    assert.equal(status, 0, output);
    assert.match((await sandbox.runToEnd(start ?? 'exit 99')).output, /not from any registry/);
  });
});

describe('staging by the nodejs buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>, Record<string, string>, RegExp][] = [
    ['package.json is broken', { 'package.json': '{' }, {}, /package\.json is not valid JSON/],
    [
      'no Node satisfies engines',
      { 'package.json': json({ engines: { node: '>=999' } }) },
      {},
      /no version of node-linux-\w+ at http\S+ satisfies `>=999` \(newest there: \d+/,
    ],
    [
      'the range is none',
      { 'package.json': json({ engines: { node: 'the newest' } }) },
      {},
      /`the newest` is not a version range/,
    ],
    [
      'the registry is not reached',
      { 'package.json': '{}' },
      { npm_config_registry: 'http://127.0.0.1:9/' },
      /http:\/\/127\.0\.0\.1:9\/\S+ cannot be reached: .*npm_config_registry in the staging environment variable group/s,
    ],
    [
      'npm ci fails, with all of its output',
      {
        'package.json': json({ dependencies: { ms: '2.1.3' } }),
        'package-lock.json': json({ lockfileVersion: 3, packages: {} }),
      },
      {},
      /npm error .*Missing: ms@2\.1\.3 from lock file.*npm ci --prefer-offline --omit=dev failed/s,
    ],
    [
      'the build fails',
      { 'package.json': json({ scripts: { build: 'echo some words; exit 3' } }) },
      {},
      /some words\n(.*\n)*.*npm run build failed/,
    ],
  ];
  for (const [what, files, env, expected] of cases) {
    it(what, async () => {
      await using sandbox = await (/npm ci|build/.test(what) ? warmSandbox() : Sandbox.create());
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['nodejs'], env);
      assert.notEqual(status, 0);
      assert.match(output, expected);
    });
  }
});
