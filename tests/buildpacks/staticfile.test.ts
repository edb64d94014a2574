import assert from 'node:assert/strict';
import { request } from 'node:http';
import { describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { Sandbox } from './sandbox.ts';

const page = '<!doctype html><title>hello</title>';

describe('the staticfile buildpack detects', () => {
  const cases: [string, Record<string, string>, boolean][] = [
    ['an app with a Staticfile', { Staticfile: '' }, true],
    ['an index.html alone', { 'index.html': page }, true],
    ['no app of another kind that has an index.html', { 'index.html': page, 'package.json': '{}' }, false],
    ['no empty folder', {}, false],
  ];
  for (const [what, files, expected] of cases) {
    it(what, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place(files);
      const { status, output } = await sandbox.detect('staticfile');
      assert.equal(status === 0, expected, output);
      if (expected) assert.match(output, /^staticfile \d+\.\d+\.\d+\n$/);
    });
  }
});

describe('an app staged by the staticfile buildpack', () => {
  it('serves its files, logs each request to standard output and hides what steers the platform', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      'index.html': page,
      'css/site.css': 'p { color: red }'.repeat(100),
      'manifest.yml': 'secret: 1',
      '.env': 'secret',
      'nginx/readme.txt': 'a folder of that name is content as well',
    });
    const { status, output, start } = await sandbox.stage(['staticfile']);
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start);
    const answer = await fetch(`${server.url}/`);
    assert.equal(await answer.text(), page);
    assert.equal(answer.headers.get('server'), 'nginx');
    assert.match(answer.headers.get('content-type') ?? '', /text\/html/);
    const css = await fetch(`${server.url}/css/site.css`, { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(css.headers.get('content-encoding'), 'gzip');
    assert.equal((await fetch(`${server.url}/nginx/readme.txt`)).status, 200);
    for (const hidden of ['/manifest.yml', '/.env', '/boot.sh', '/missing']) {
      assert.equal((await fetch(server.url + hidden)).status, 404, hidden);
    }
    const folder = await fetch(`${server.url}/css`, { redirect: 'manual' });
    assert.equal(folder.headers.get('location'), '/css/');
    await eventually('the request in the log', () => server.output.includes('"GET /missing HTTP/1.1" 404 '));
    const end = await server.stop();
    assert.equal(end.status, 0, end.output);
  });

  it('lets a request in flight end when it is told to stop', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ Staticfile: '', 'index.html': page, 'large.bin': 'x'.repeat(32 * 1024 * 1024) });
    const { start } = await sandbox.stage(['staticfile']);
    const server = await sandbox.serve(start);
    const length = await new Promise<number>((resolve, reject) => {
      request(`${server.url}/large.bin`, (response) => {
        // The first bytes are here, the rest is far larger than all buffers between: the request is in flight.
        response.once('readable', () => {
          void server.stop();
          let length = 0;
          response.on('data', (data: Buffer) => (length += data.length)).on('end', () => resolve(length));
        });
        response.on('error', reject);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(length, 32 * 1024 * 1024);
    assert.equal((await server.end).status, 0);
  });

  it('obeys the options of its Staticfile', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      Staticfile: [
        '# options',
        'root: dist',
        'directory: visible',
        'ssi: enabled',
        'pushstate: enabled',
        'http_strict_transport_security: true',
        'status_codes:',
        '  404: /lost.html',
      ].join('\n'),
      'Staticfile.auth': 'bob:$apr1$DuUQEQp8$ZccZCHQElNSjrg.erwSFC0\n',
      'dist/index.html': '<!--#echo var="REQUEST_METHOD" -->' + page,
      'dist/folder/file.txt': 'listed',
      'source.ts': 'not served',
    });
    const { status, output, start } = await sandbox.stage(['staticfile']);
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start);
    assert.equal((await fetch(server.url)).status, 401);
    const headers = { authorization: `Basic ${Buffer.from('bob:bob').toString('base64')}` };
    const index = await fetch(`${server.url}/some/state`, { headers });
    assert.equal(index.headers.get('strict-transport-security'), 'max-age=31536000');
    assert.equal(await index.text(), `GET${page}`);
    assert.match(await (await fetch(`${server.url}/folder/`, { headers })).text(), /file\.txt/);
    assert.equal(await (await fetch(`${server.url}/source.ts`, { headers })).text(), `GET${page}`);
  });

  it('may bring its own nginx.conf, which names the port and the app in any of the usual ways', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({
      Staticfile: '',
      'index.html': page,
      'nginx.conf': `daemon off; events {} http { access_log off; server { listen <%= ENV["PORT"] %>;
        root <%= ENV["APP_ROOT"] %>/public; add_header X-Own "{{env "GREETING"}}"; } }`,
    });
    const { status, output, start } = await sandbox.stage(['staticfile']);
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start, { GREETING: 'a & b' });
    assert.equal((await fetch(server.url)).headers.get('x-own'), 'a & b');
    assert.equal((await server.stop()).status, 0);
  });

  it('works by bin/compile alone as well', async () => {
    await using sandbox = await Sandbox.create();
    await sandbox.place({ Staticfile: '', 'index.html': page });
    const { status, output, start } = await sandbox.compile('staticfile');
    assert.equal(status, 0, output);
    const server = await sandbox.serve(start);
    assert.equal(await (await fetch(server.url)).text(), page);
  });
});

describe('staging by the staticfile buildpack fails and says why when', () => {
  const cases: [string, Record<string, string>, RegExp][] = [
    ['a line of the Staticfile is none', { Staticfile: 'root = dist' }, /Staticfile, line 1: expected `key: value`/],
    ['an option has no known value', { Staticfile: 'ssi: perhaps' }, /ssi is `perhaps`; use `enabled` or `disabled`/],
    ['the root is not there', { Staticfile: 'root: dist' }, /root `dist` is not a folder of the app/],
    ['the root lies outside', { Staticfile: 'root: ../..' }, /is outside of the app/],
    [
      'nginx refuses what the app includes',
      { Staticfile: 'location_include: includes/*.conf', 'nginx/conf/includes/a.conf': 'nonsense on;' },
      /unknown directive "nonsense"/,
    ],
  ];
  for (const [what, files, expected] of cases) {
    it(what, async () => {
      await using sandbox = await Sandbox.create();
      await sandbox.place({ 'index.html': page, ...files });
      const { status, output } = await sandbox.stage(['staticfile']);
      assert.notEqual(status, 0);
      assert.match(output, expected);
    });
  }
});
