import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { launchArguments } from './launcher.ts';

/** Runs a launch with the droplet below a folder of the test's own instead of /home/vcap. */
async function launch(command: string, scripts: Record<string, string> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'ingot-launch-'));
  try {
    await mkdir(join(root, 'app'), { recursive: true });
    for (const [path, text] of Object.entries(scripts)) {
      await mkdir(join(root, path, '..'), { recursive: true });
      await writeFile(join(root, path), text);
    }
    const [file = '', ...args] = launchArguments(command).map((argument) => argument.replaceAll('/home/vcap', root));
    const env = { PATH: '/usr/bin:/bin', HOME: `${root}/app`, TMPDIR: `${root}/tmp`, GEM_PATH: 'x', ORDER: '' };
    return spawnSync(file, args, { env, encoding: 'utf8' });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

describe('the launcher', () => {
  it("sources the buildpacks' scripts, the app's, and .profile, in this order", async () => {
    const ran = await launch('echo "$ORDER"', {
      'profile.d/1.sh': 'ORDER="$ORDER buildpack1"',
      'profile.d/2.sh': 'ORDER="$ORDER buildpack2"',
      'profile.d/no.txt': 'ORDER="$ORDER never"',
      'app/.profile.d/a.sh': 'ORDER="$ORDER app"',
      'app/.profile': 'export ORDER="$ORDER profile"',
    });
    assert.equal(ran.stdout, ' buildpack1 buildpack2 app profile\n');
  });

  it('runs the command by a shell in the app folder, and becomes it', async () => {
    const ran = await launch('echo $(basename "$PWD") && [ -z "$GEM_PATH" ] && [ -d "$TMPDIR" ] && exit 7');
    assert.deepEqual([ran.stdout, ran.status], ['app\n', 7]);
    const killed = await launch('kill -TERM $$');
    assert.equal(killed.signal, 'SIGTERM');
  });

  it('says so when the droplet has no app', async () => {
    const ran = await launch('true', {});
    assert.equal(ran.status, 0);
    const args = launchArguments('true');
    const bare = spawnSync(args[0] ?? '', args.slice(1), {
      env: { HOME: '/nowhere/app', PATH: '/bin' },
      encoding: 'utf8',
    });
    assert.equal(bare.status, 1);
    assert.match(bare.stderr, /no folder \/nowhere\/app in the droplet/);
  });
});
