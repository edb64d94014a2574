import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { whyWithoutDebian } from '#testing/registries.ts';
import { Sandbox } from './sandbox.ts';

const skip = await whyWithoutDebian();

/** Its cache holds Debian's packages of PHP. */
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

describe('the php buildpack', () => {
  const cases: [string, boolean][] = [
    ['composer.json', true],
    ['index.php', true],
    ['htdocs/page.php', true],
    ['index.html', false],
  ];
  for (const [file, expected] of cases) {
    it(`${expected ? 'detects an app by' : 'does not detect an app by'} ${file}`, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place({ [file]: '' });
      assert.equal((await sandbox.detect('php')).status === 0, expected);
    });
  }

  it('stages samples/php with Composer and serves it through its front controller', { skip }, async () => {
    await warm.placeSample('php');
    const { status, output, start } = await warm.stage(['php']);
    assert.equal(status, 0, output);
    assert.match(output, /PHP 8\.2\.\d+\n/);
    const server = await warm.serve(start, { CF_INSTANCE_INDEX: '1', MEMORY_LIMIT: '128m' });
    const seen = (await (await fetch(`${server.url}/no/such/file`)).json()) as Record<string, unknown>;
    assert.deepEqual([seen['instance_index'], seen['greeting'], seen['path']], [1, 'hello from PHP', '/no/such/file']);
    for (const hidden of ['composer.json', '.bp-config/options.json', 'vendor/autoload.php', 'manifest.yml']) {
      assert.equal((await fetch(`${server.url}/${hidden}`)).headers.get('content-type'), 'text/html', hidden);
    }
    const end = await server.stop();
    assert.equal(end.status, 0, end.output);
    assert.match(end.output, /"GET \/no\/such\/file HTTP\/1\.1" 404/);
  });

  it(
    'serves the folder that WEBDIR names, with extensions and settings of its own; what a page reports is in the log',
    { skip },
    async () => {
      await using sandbox = await warmSandbox();
      await sandbox.place({
        '.bp-config/options.json': '{"WEBDIR": "site", "PHP_EXTENSIONS": ["bcmath", "pdo_sqlite"]}',
        '.bp-config/php/php.ini.d/own.ini': 'memory_limit = 33M\n',
        'site/page.php':
          '<?php error_log("seen"); echo bcadd("1", "2"), " ", ini_get("memory_limit"), " ", $_SERVER["HTTPS"] ?? "plain";',
        'site/plain.txt': 'a file',
        'secret.php': 'outside',
      });
      const { status, output, start } = await sandbox.stage(['php']);
      assert.equal(status, 0, output);
      const server = await sandbox.serve(start);
      assert.equal(await (await fetch(`${server.url}/page.php`)).text(), '3 33M plain');
      const forwarded = await fetch(`${server.url}/page.php`, { headers: { 'X-Forwarded-Proto': 'https' } });
      assert.equal(await forwarded.text(), '3 33M on');
      assert.equal(await (await fetch(`${server.url}/plain.txt`)).text(), 'a file');
      assert.equal((await fetch(`${server.url}/../secret.php`)).status, 404);
      const end = await server.stop();
      assert.match(end.output, /seen/);
    },
  );

  it('ends the app when PHP is gone', { skip }, async () => {
    await using sandbox = await warmSandbox();
    await sandbox.place({ 'index.php': '<?php posix_kill(posix_getppid(), 9);' });
    const { output, start } = await sandbox.stage(['php']);
    const server = await sandbox.serve(start).catch((error: unknown) => assert.fail(`${String(error)}\n${output}`));
    await fetch(server.url).catch(() => undefined);
    assert.notEqual((await server.end).status, 0);
  });
});

describe('staging by the php buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>, RegExp, boolean][] = [
    [
      'another PHP is asked for',
      { '.bp-config/options.json': '{"PHP_VERSION": "{PHP_74_LATEST}"}', 'index.php': '' },
      /asks for PHP 7\.4, and this buildpack has PHP 8\.2 only/,
      false,
    ],
    [
      'an extension is none',
      { 'composer.json': '{"require": {"ext-nonesuch": "*"}}' },
      /Debian's packages .*php8\.2-nonesuch.* can't be had/,
      true,
    ],
    ['composer.json is no JSON', { 'composer.json': '{' }, /composer\.json is not valid JSON/, false],
    [
      'WEBDIR is not there',
      { '.bp-config/options.json': '{"WEBDIR": "nowhere"}', 'index.php': '' },
      /serves the folder `nowhere` \(WEBDIR\), which is not in the app/,
      false,
    ],
    [
      'Composer fails, with what it said',
      { 'composer.json': '{"require": {"a/b": "1"}, "repositories": [{"packagist.org": false}]}' },
      /a\/b[\s\S]*composer install failed/,
      true,
    ],
  ];
  for (const [what, files, expected, needsDebian] of cases) {
    it(what, { skip: needsDebian && skip }, async () => {
      await using sandbox = await warmSandbox();
      await sandbox.place(files);
      const { status, output } = await sandbox.stage(['php']);
      assert.notEqual(status, 0);
      assert.match(output, expected);
    });
  }
});
