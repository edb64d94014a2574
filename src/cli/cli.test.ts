import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { listeningPort } from '#testing/listening-port.ts';
import { CfClient } from './client.ts';
import { CommandError } from './errors.ts';
import { formatLogLine } from './log-tail.ts';
import { hashFiles, listFiles } from './push/files.ts';
import { findManifest, manifestYaml, readManifest, readVariables } from './push/manifest.ts';
import { Session } from './session.ts';
import { byteSize } from './terminal.ts';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-cli-'));
  folders.push(folder);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

describe('cf push lists files', () => {
  it('without what is always ignored and what .cfignore names', async () => {
    const folder = folderWith({
      'index.html': 'x',
      'manifest.yml': '',
      '.git/config': '',
      'logs/a.log': 'x',
      'logs/keep.txt': 'x',
      empty: '',
      'node_modules/a/b.js': 'x',
      '.cfignore': '*.log\nnode_modules/\n',
    });
    symlinkSync('index.html', join(folder, 'link'));
    const files = await listFiles(folder);
    assert.deepEqual(
      files.map(({ kind, path }) => `${kind} ${path}`),
      ['file empty', 'file index.html', 'link link', 'folder logs', 'file logs/keep.txt'],
    );
  });

  it('asks only about files that hold something, with their SHA-1', async () => {
    const folder = folderWith({ 'a.txt': 'hello', empty: '' });
    assert.deepEqual(await hashFiles(await listFiles(folder)), [
      {
        checksum: { value: 'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d' },
        size_in_bytes: 5,
        path: 'a.txt',
        mode: '0644',
      },
    ]);
  });

  it('refuses a folder without files and a path that is not there', async () => {
    await assert.rejects(listFiles(folderWith({})), /No app files found/);
    await assert.rejects(listFiles('/does/not/exist'), /The specified path '\/does\/not\/exist' does not exist\./);
  });
});

describe('a manifest', () => {
  const read = (text: string, variables = new Map<string, unknown>()): ReturnType<typeof readManifest> =>
    readManifest(join(folderWith({ 'manifest.yml': text }), 'manifest.yml'), variables);

  it('is found in the folder, or where it is said to be', () => {
    const folder = folderWith({ 'manifest.yml': '' });
    assert.equal(findManifest(undefined, folder), join(folder, 'manifest.yml'));
    assert.equal(findManifest(folder, '/'), join(folder, 'manifest.yml'));
    assert.equal(findManifest(undefined, folderWith({})), undefined);
    assert.throws(() => findManifest('/none.yml', '/'), /does not exist/);
  });

  it('takes variables, whole with their type and within a text', () => {
    const { apps } = read(
      'applications:\n- name: ((app))-x\n  instances: ((n))\n',
      new Map<string, unknown>([
        ['app', 'web'],
        ['n', 3],
      ]),
    );
    assert.deepEqual(apps, [{ name: 'web-x', instances: 3 }]);
    assert.throws(() => read('applications: [{name: ((a)), command: ((b))}]'), /Expected to find variables: a, b/);
  });

  it('keeps what it does not know and drops the path of this machine', () => {
    const manifest = read('version: 1\napplications:\n- name: a\n  path: sub\n  future: {x: 1}\n');
    assert.equal(manifestYaml(manifest), 'version: 1\napplications:\n  - name: a\n    future:\n      x: 1\n');
  });

  for (const [what, text, message] of [
    ['a broken line', 'applications:\n- name: a\n  env: {x: 1\n', /not valid YAML, at line \d+, column \d+/],
    ['a duplicate key', 'applications:\n- name: a\n  name: b\n', /at line 3, column 3/],
    ['a list', '- a\n', /must be a map with the key 'applications'/],
    ['no list of applications', 'applications: 3\n', /must have a list 'applications'/],
    ['an app that is no map', 'applications: [x]\n', /application 1: must be a map/],
    ['a name that is no text', 'applications: [{name: [1]}]\n', /'name' must be text/],
  ] as const) {
    it(`says what is wrong with ${what}`, () =>
      assert.throws(
        () => read(text),
        (error) => error instanceof CommandError && message.test(error.message),
      ));
  }

  it('gets variables from files and, stronger, from flags', () => {
    const file = join(folderWith({ 'vars.yml': 'a: 1\nb: 2\n' }), 'vars.yml');
    assert.deepEqual(
      [...readVariables(['b=x=y'], [file])],
      [
        ['a', 1],
        ['b', 'x=y'],
      ],
    );
    assert.throws(() => readVariables(['nonsense'], []), /expected NAME=VALUE/);
  });
});

describe('the session', () => {
  it('keeps what the public CLI wrote and we do not know', () => {
    const home = folderWith({
      '.cf/config.json': JSON.stringify({
        ConfigVersion: 4,
        Target: 'http://api',
        ColorEnabled: 'false',
        PluginRepos: [{ Name: 'x' }],
      }),
    });
    const session = Session.load({ CF_HOME: home });
    session.update({ AccessToken: 'bearer x' });
    const kept = JSON.parse(readFileSync(join(home, '.cf/config.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual(
      [kept['Target'], kept['ColorEnabled'], kept['AccessToken'], kept['PluginRepos']],
      ['http://api', 'false', 'bearer x', [{ Name: 'x' }]],
    );
  });

  it('says so when its file is broken', () => {
    assert.throws(() => Session.load({ CF_HOME: folderWith({ '.cf/config.json': '{' }) }), /cannot be read. Remove it/);
  });
});

describe('the client', () => {
  const token = (seconds: number): string =>
    `bearer x.${Buffer.from(JSON.stringify({ user_name: 'u', exp: Date.now() / 1000 + seconds })).toString('base64url')}.x`;

  async function server(
    answer: (request: IncomingMessage) => { status: number; body?: unknown; headers?: Record<string, string> },
  ): Promise<{ url: string; seen: string[] } & AsyncDisposable> {
    const seen: string[] = [];
    const http = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`.trim());
      const { status, body, headers } = answer(request);
      request
        .resume()
        .once('end', () =>
          response
            .writeHead(status, { 'content-type': 'application/json', ...headers })
            .end(body === undefined ? '' : JSON.stringify(body)),
        );
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const url = `http://api.client.localhost:${listeningPort(http)}`;
    return {
      url,
      seen,
      [Symbol.asyncDispose]: async () => {
        http.closeAllConnections();
        await new Promise((resolve) => http.close(resolve));
      },
    };
  }
  const open = (url: string, access: string): { client: CfClient; session: Session; warnings: string[] } => {
    const session = Session.load({ CF_HOME: folderWith({}) });
    session.update({ Target: url, AuthorizationEndpoint: url, AccessToken: access, RefreshToken: 'r1' });
    const warnings: string[] = [];
    return { session, warnings, client: new CfClient({ session, onWarning: (text) => warnings.push(text) }) };
  };

  it('reaches names below .localhost without a resolver, shows warnings, and follows pages', async () => {
    await using api = await server(({ url }) => ({
      status: 200,
      headers: { 'x-cf-warnings': 'old%20thing,two' },
      body: {
        pagination: { next: url === '/v3/apps' ? { href: `${api.url}/v3/apps?page=2` } : null },
        resources: [url],
      },
    }));
    const { client, warnings } = open(api.url, token(600));
    assert.deepEqual((await client.list('/v3/apps')).resources, ['/v3/apps', '/v3/apps?page=2']);
    assert.deepEqual(warnings, ['old thing', 'two', 'old thing', 'two']);
    await client.close();
  });

  it('refreshes a token that is about to end, and one that was refused, once', async () => {
    let n = 1;
    await using api = await server(({ url, headers }) => {
      if (url === '/oauth/token')
        return {
          status: 200,
          body: { access_token: token(n === 1 ? 600 : 601).slice(7), refresh_token: `r${++n}` },
        };
      return headers.authorization === 'bearer revoked'
        ? { status: 401, body: { errors: [{ title: 'CF-InvalidAuthToken', detail: 'Invalid Auth Token' }] } }
        : { status: 200, body: {} };
    });
    const { client, session } = open(api.url, token(10));
    await client.get('/v3/apps');
    assert.equal(session.data.RefreshToken, 'r2');
    session.update({ AccessToken: 'bearer revoked' });
    await client.get('/v3/apps');
    assert.equal(session.data.RefreshToken, 'r3');
    await client.close();
  });

  it('tries what may be tried again, never a POST', async () => {
    await using api = await server(() => ({
      status: 503,
      body: { errors: [{ title: 'CF-ServiceUnavailable', detail: 'later' }] },
    }));
    const { client } = open(api.url, token(600));
    await assert.rejects(client.get('/v3/apps'), /later/);
    assert.equal(api.seen.length, 3);
    await assert.rejects(client.call('/v3/apps', { method: 'POST', json: {} }), /later/);
    assert.equal(api.seen.length, 4);
    await client.close();
  });

  it('says in words that a host cannot be reached', async () => {
    const { client } = open('http://127.0.0.1:1', token(600));
    await assert.rejects(
      client.call('/v3/apps', { method: 'POST' }),
      /Request error: http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/,
    );
    await client.close();
  });
});

describe('cf writes', () => {
  it('nothing more, and no complaint, when nobody reads on', async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), 'help', '-a']);
    child.stdout.destroy();
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => (said += part));
    const [status] = (await once(child, 'close')) as [number];
    assert.deepEqual([said, status], ['', 141]);
  });

  it('sizes as the public CLI does', () => {
    assert.deepEqual([0, 12, 1024, 1536, 5 * 1024 ** 2, 3 * 1024 ** 3].map(byteSize), [
      '0',
      '12B',
      '1K',
      '1.5K',
      '5M',
      '3G',
    ]);
  });

  it('log lines as the public CLI does, further lines below the first', () => {
    const line = formatLogLine({
      timestamp_ns: 1_700_000_000_120_000_000n,
      source: 'APP/PROC/WEB/0',
      type: 'OUT',
      text: 'a\nb',
    });
    assert.match(line, /^ {3}2023-11-14T\d\d:13:20\.12[+-]\d{4} \[APP\/PROC\/WEB\/0\] OUT a\n +b$/);
  });
});
