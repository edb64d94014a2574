import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform, type Outcome } from './platform.ts';
import { bitsForm, packedZeros, rawZip, type RawEntry } from './raw-zip.ts';

const GIGABYTE = 1024 ** 3;

describe('bad input', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  const apps = new Set<string>();

  before(async () => {
    platform = await TestPlatform.start();
  });
  after(async () => {
    for (const app of apps) await platform.cf(['delete', app, '-f', '-r']);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  const folderOf = async (files: Record<string, string>): Promise<string> => {
    const folder = await platform.folder(files);
    folders.push(folder);
    return folder;
  };
  const push = async (cwd: string, ...args: string[]): Promise<Outcome> => {
    if (args[0] !== undefined) apps.add(args[0]);
    return await platform.cf(['push', ...args], { cwd });
  };
  const refused = ({ exit_status, output }: Outcome, why: RegExp): void => {
    assert.match(output, why);
    assert.match(output, /^FAILED$/m);
    assert.equal(exit_status, 1);
  };
  const isThere = async (app: string): Promise<boolean> => (await platform.mustCf(['apps'])).includes(app);

  describe('a push', () => {
    it('of an empty folder, or of one where .cfignore leaves nothing, says so and changes nothing', async () => {
      refused(await push(await folderOf({}), 'bad-empty'), /No app files found in '\/.*ingot-app-/);
      refused(await push(await folderOf({ '.cfignore': '*.o\n', 'a.o': 'x' }), 'bad-empty'), /No app files found/);
      assert.equal(await isThere('bad-empty'), false);
    });

    it('of a path that is not there names the path and changes nothing', async () => {
      const folder = await folderOf({ 'index.html': 'x' });
      refused(
        await push(folder, 'bad-path', '-p', '/no/such/folder'),
        /The specified path '\/no\/such\/folder' does not exist\./,
      );
      await writeFile(join(folder, 'manifest.yml'), 'applications:\n  - name: bad-path\n    path: not/here\n');
      refused(await push(folder), /The specified path '.*\/not\/here' does not exist\./);
      refused(
        await push(folder, 'bad-path', '-f', 'other.yml'),
        /The specified path '.*\/other\.yml' does not exist\./,
      );
      assert.equal(await isThere('bad-path'), false);
    });

    it('of five gigabytes is refused before anything is read, packed or changed', async () => {
      const folder = await folderOf({ 'index.html': 'x', 'movie.bin': '' });
      await truncate(join(folder, 'movie.bin'), 5 * GIGABYTE);
      const outcome = await push(folder, 'bad-size');
      refused(outcome, /has 5G of files, and this platform takes 2G\.\nTIP: the largest is movie\.bin \(5G\)/);
      assert.doesNotMatch(outcome.output, /Packaging files/);
      assert.equal(await isThere('bad-size'), false);
    });

    it('with a broken manifest says where it is broken, by line and column', async () => {
      const folder = await folderOf({
        'index.html': 'x',
        'manifest.yml': 'applications:\n  - name: bad-manifest\n    memory: [64M\n    instances: 1\n',
      });
      refused(await push(folder), /The manifest .*\/manifest\.yml is not valid YAML, at line 4, column 5/);
      await writeFile(join(folder, 'manifest.yml'), 'applications:\n\t- name: bad-manifest\n');
      refused(await push(folder), /not valid YAML, at line 2, column 1/);
      await writeFile(join(folder, 'manifest.yml'), 'applications:\n  - name: bad-manifest\n    instances: many\n');
      refused(await push(folder), /[Ii]nstances/);
      assert.equal(await isThere('bad-manifest'), false);
    });

    it('with an unknown buildpack names it', async () => {
      const folder = await folderOf({ 'index.html': 'x' });
      refused(
        await push(folder, 'bad-buildpack', '-b', 'no_such_buildpack'),
        /"no_such_buildpack" must be an existing admin buildpack or a valid git URI/,
      );
    });

    it('whose npm ci fails shows what npm says, and the old version keeps serving', async () => {
      const site = await folderOf({ Staticfile: '', 'index.html': 'the old version' });
      const pushed = await push(site, 'bad-npm', '-m', '64M', '-b', 'staticfile_buildpack');
      assert.equal(pushed.exit_status, 0, pushed.output);
      const broken = await folderOf({
        'package.json': JSON.stringify({
          name: 'a',
          version: '1.0.0',
          scripts: { install: 'echo the compiler is missing; exit 7', start: 'node server.js' },
        }),
        'package-lock.json': JSON.stringify({
          name: 'a',
          version: '1.0.0',
          lockfileVersion: 3,
          requires: true,
          packages: { '': { name: 'a', version: '1.0.0', hasInstallScript: true } },
        }),
        'server.js': '',
      });
      const failed = await push(broken, 'bad-npm', '-m', '64M', '-b', 'nodejs_buildpack');
      refused(failed, /npm error code 7[\s\S]*Error staging application: BuildpackCompileFailed/);
      assert.match(failed.output, /the compiler is missing/);
      for (let n = 0; n < 5; n++) {
        const { status, body } = await platform.get('bad-npm');
        assert.deepEqual([status, body], [200, 'the old version']);
      }
      assert.match(await platform.mustCf(['app', 'bad-npm']), /instances: +1\/1/);
      // A stop and a start bring back the droplet that works, not the package that does not.
      const guid = (await platform.mustCf(['app', 'bad-npm', '--guid'])).trim();
      for (const [action, status] of [
        ['stop', 404],
        ['start', 200],
      ] as const) {
        const done = await platform.api(`/v3/apps/${guid}/actions/${action}`, { method: 'POST' });
        assert.equal(done.status, 200, done.body);
        await eventually(`the ${action}`, async () => (await platform.get('bad-npm')).status === status);
      }
      assert.equal((await platform.get('bad-npm')).body, 'the old version');
    });
  });

  describe('a package sent to the API', () => {
    let app_guid: string;
    before(async () => {
      const folder = await folderOf({ 'index.html': 'x' });
      const { exit_status, output } = await push(folder, 'bad-bits', '--no-start', '--no-route');
      assert.equal(exit_status, 0, output);
      app_guid = (await platform.mustCf(['app', 'bad-bits', '--guid'])).trim();
    });

    const emptyPackage = async (): Promise<string> => {
      const relationships = { app: { data: { guid: app_guid } } };
      const { status, body } = await platform.api('/v3/packages', {
        method: 'POST',
        json: { type: 'bits', relationships },
      });
      assert.equal(status, 201, body);
      return (JSON.parse(body) as { guid: string }).guid;
    };
    const upload = async (zip: Buffer): Promise<{ status: number; body: string; guid: string }> => {
      const guid = await emptyPackage();
      const { status, body } = await platform.api(`/v3/packages/${guid}/upload`, { method: 'POST', ...bitsForm(zip) });
      return { status, body, guid };
    };
    const stateOf = async (guid: string): Promise<string> =>
      (JSON.parse((await platform.api(`/v3/packages/${guid}`)).body) as { state: string }).state;

    const file = (path: string): RawEntry => ({ path, data: Buffer.from('owned') });
    const link = (path: string, to: string): RawEntry => ({ path, data: Buffer.from(to), mode: 0o120777 });
    const mark = `ingot-escaped-${process.pid}`;
    const hostile: [string, RawEntry[]][] = [
      ['a path that climbs out', [file('index.html'), file(`../../../../../../tmp/${mark}`)]],
      ['an absolute path', [file(`/tmp/${mark}`)]],
      ['a link to an absolute path', [file('index.html'), link('passwords', '/etc/shadow')]],
      ['a link that climbs out', [link('up', '../../../../etc/shadow')]],
      ['a link that climbs out by another', [link('a/b', '..'), link('c', 'a/b/../../etc')]],
      ['a file beneath a link', [link('tmp', '/tmp'), file(`tmp/${mark}`)]],
    ];
    for (const [what, entries] of hostile) {
      it(`with ${what} is refused, fails for good, and nothing is written outside`, async () => {
        const { status, body, guid } = await upload(rawZip(entries));
        assert.ok(status >= 400 && status < 500, `${status} ${body}`);
        assert.match(body, /CF-AppResourcesFilePathInvalid|CF-AppBitsUploadInvalid/);
        assert.equal(await stateOf(guid), 'FAILED');
        assert.ok(!(await readdir('/tmp')).includes(mark));
      });
    }

    it('that is no zip is refused', async () => {
      const { status, body } = await upload(Buffer.from('this is not a zip'));
      assert.equal(status, 400, body);
      assert.match(body, /CF-AppBitsUploadInvalid/);
    });

    it('that unpacks to five gigabytes is refused by what it declares', async () => {
      const entries = [1, 2].map((n) => ({ path: `zeros-${n}`, ...packedZeros(40) }));
      const { status, body } = await upload(rawZip(entries));
      assert.equal(status, 413, body);
      assert.match(body, /CF-PayloadTooLarge/);
    });

    it('that declares little and unpacks to much is refused at the declared byte', async () => {
      const { data } = packedZeros(40);
      const { status, body } = await upload(rawZip([{ path: 'liar', data, deflated: { size: 10 } }]));
      assert.equal(status, 400, body);
      assert.match(body, /CF-AppBitsUploadInvalid/);
    });

    it('of five gigabytes is refused by its length, before it is sent', async () => {
      const guid = await emptyPackage();
      const { status, body } = await platform.api(`/v3/packages/${guid}/upload`, {
        method: 'POST',
        body: Buffer.from('--x\r\n'),
        type: 'multipart/form-data; boundary=x',
        declared_length: 5 * GIGABYTE,
      });
      assert.equal(status, 413, body);
      assert.match(body, /CF-PayloadTooLarge/);
    });
  });

  describe('a session', () => {
    const sessionOf = (home: string): { AccessToken: string; RefreshToken: string } =>
      JSON.parse(readFileSync(join(home, '.cf/config.json'), 'utf8')) as { AccessToken: string; RefreshToken: string };
    const change = (home: string, fields: Record<string, string>): void =>
      writeFileSync(join(home, '.cf/config.json'), JSON.stringify({ ...sessionOf(home), ...fields }));
    /** A session apart from the platform's: one that is copied counts as stolen once its refresh token is used twice. */
    const ownSession = async (): Promise<string> => {
      const home = await mkdtemp(join(tmpdir(), 'ingot-cf-'));
      folders.push(home);
      const { exit_status, output } = await platform.ingot(['login'], { env: { CF_HOME: home } });
      assert.equal(exit_status, 0, output);
      return home;
    };

    it('is not begun with a wrong password', async () => {
      const CF_HOME = await ownSession();
      refused(
        await platform.cf(['auth', 'admin', 'wrong'], { env: { CF_HOME } }),
        /Credentials were rejected, please try again\./,
      );
      refused(
        await platform.cf(['login', '-u', 'admin', '-p', 'wrong'], { env: { CF_HOME } }),
        /Credentials were rejected, please try again\.[\s\S]*Unable to authenticate\./,
      );
      refused(await platform.cf(['apps'], { env: { CF_HOME } }), /Not logged in\. Use 'cf login'/);
      assert.deepEqual([sessionOf(CF_HOME).AccessToken, sessionOf(CF_HOME).RefreshToken], ['', '']);
    });

    it('goes on silently when its token has expired', async () => {
      const CF_HOME = await ownSession();
      const tokens = await platform.shortLivedTokens();
      const refusal = await eventually('the token is refused', async () => {
        const answer = await platform.api('/v3/apps', { token: `bearer ${tokens.access_token}` });
        return answer.status === 401 && answer.body;
      });
      assert.match(refusal, /CF-InvalidAuthToken/);
      change(CF_HOME, {
        AccessToken: `bearer ${tokens.access_token}`,
        RefreshToken: tokens.refresh_token,
        UAAOAuthClient: tokens.client.id,
        UAAOAuthClientSecret: tokens.client.secret,
      });
      const output = await platform.mustCf(['apps'], { env: { CF_HOME } });
      assert.match(output, /^Getting apps in org main \/ space dev as admin\.\.\./);
      assert.notEqual(sessionOf(CF_HOME).AccessToken, `bearer ${tokens.access_token}`);
    });

    it('goes on silently when the platform refuses a token that looks fresh', async () => {
      const CF_HOME = await ownSession();
      const { AccessToken } = sessionOf(CF_HOME);
      change(CF_HOME, { AccessToken: AccessToken.replace(/[^.]{20}$/, 'A'.repeat(20)) });
      const output = await platform.mustCf(['apps'], { env: { CF_HOME } });
      assert.match(output, /^Getting apps in org main/);
    });

    it('ends with a sentence when its refresh token is worth nothing', async () => {
      const CF_HOME = await ownSession();
      const { AccessToken } = sessionOf(CF_HOME);
      change(CF_HOME, { AccessToken: AccessToken.replace(/[^.]{20}$/, 'A'.repeat(20)), RefreshToken: 'nonsense' });
      refused(await platform.cf(['apps'], { env: { CF_HOME } }), /Please log back in to re-authenticate\./);
    });
  });
});
