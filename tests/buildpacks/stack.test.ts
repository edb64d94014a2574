import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { debianSources } from '#platform/debian-sources.ts';
import { ensureStack, stackName } from '#platform/stack.ts';
import { Sandbox, stacks_folder } from './sandbox.ts';

/** A folder with the files of an /etc. */
async function etcWith(files: Record<string, string>): Promise<string> {
  const etc = await mkdtemp(join(tmpdir(), 'ingot-etc-'));
  await mkdir(join(etc, 'apt/sources.list.d'), { recursive: true });
  for (const [path, text] of Object.entries(files)) await writeFile(join(etc, path), text);
  return etc;
}

describe("the stack's sources are what apt here has of Debian's main", () => {
  const bookworm = 'Types: deb\nURIs: http://mirror/debian\nSuites: bookworm\nComponents: main\n';
  const cases: [string, Record<string, string>, string][] = [
    [
      'from one-line sources, without other components and other suites',
      {
        'apt/sources.list':
          '# deb http://off bookworm main\ndeb http://mirror/debian bookworm main contrib\ndeb-src http://mirror/debian bookworm main\ndeb http://mirror/debian bookworm-backports main\n',
      },
      bookworm,
    ],
    [
      'from deb822 sources, without those of others and those that are off',
      {
        'apt/sources.list.d/debian.sources':
          'Types: deb\n# comment\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n /key.gpg\n\nTypes: deb\nURIs: http://off\nSuites: bookworm\nComponents: main\nEnabled: no\n',
        'apt/sources.list.d/other.sources': 'Types: deb\nURIs: http://other\nSuites: nodistro\nComponents: main\n',
      },
      'Types: deb\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /key.gpg\n',
    ],
    [
      'from the mirror of a newer Debian, which has the older suite as well',
      { 'os-release': 'VERSION_CODENAME=trixie\n', 'apt/sources.list': 'deb http://mirror/debian trixie main\n' },
      bookworm,
    ],
    ['and nothing where there is none', { 'apt/sources.list': 'deb http://x/ stable-x non-free\n' }, ''],
  ];
  for (const [what, files, expected] of cases) {
    it(what, async () => {
      const etc = await etcWith(files);
      try {
        assert.equal(await debianSources('bookworm', etc), expected);
      } finally {
        await rm(etc, { recursive: true });
      }
    });
  }
});

describe('the stack', () => {
  it('is built once however many ask for it, and then found', async () => {
    const options = { stacks_folder, name: stackName };
    const all = await Promise.all([ensureStack(options), ensureStack(options), ensureStack(options)]);
    assert.ok(all.filter(({ built }) => built).length <= 1);
    const said: string[] = [];
    const again = await ensureStack({ ...options, onProgress: (line) => said.push(line) });
    assert.deepEqual([again, said], [{ rootfs: join(stacks_folder, stackName, 'rootfs'), built: false }, []]);
  });

  it('holds no file of the host, no device, and no program that gains rights', async () => {
    const { rootfs } = await ensureStack({ stacks_folder, name: stackName });
    assert.deepEqual(await readdir(join(rootfs, 'dev')), []);
    assert.equal(await readFile(join(rootfs, 'etc/resolv.conf'), 'utf8'), '');
    assert.equal(await readFile(join(rootfs, 'etc/hostname'), 'utf8'), 'stack\n');
    assert.deepEqual(await readdir(join(rootfs, 'etc/apt/sources.list.d')), []);
    for (const program of ['su', 'mount', 'passwd', 'chsh']) {
      assert.equal((await stat(join(rootfs, 'usr/bin', program))).mode & 0o6000, 0, program);
    }
    const home = await stat(join(rootfs, 'home/vcap'));
    assert.deepEqual([home.uid, home.gid], [2000, 2000]);
  });

  it('has what buildpacks and apps call, for vcap', async () => {
    await using sandbox = await Sandbox.create();
    const programs = 'bash curl git openssl xz unzip zip ps python3 pip3 nginx jq file catatonit gcc g++ make zstd';
    const check = `PATH=$PATH:/usr/sbin; for p in ${programs}; do command -v $p >/dev/null || echo "no $p"; done`;
    const { output } = await sandbox.runToEnd(`${check}; python3 -m venv /tmp/v && locale -a | grep C.utf8; id -un`);
    assert.equal(output, 'C.utf8\nvcap\n');
  });
});
