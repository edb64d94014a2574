import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { silentLog } from '#kernel/log.ts';
import { freePort } from '#testing/free-port.ts';
import { eventually } from '#testing/eventually.ts';
import { Home } from './home.ts';
import { withHosts } from './hosts-file.ts';
import { checkMachine, choosePort, PreflightFailed } from './preflight.ts';
import { isAlive, listProcesses, recordProcess } from './process-record.ts';
import { readSecrets } from './secrets.ts';
import { readSettings } from './settings.ts';
import { ChildFailed, Supervisor, type ChildSpec } from './supervisor.ts';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
const newHome = (): Home => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-home-'));
  folders.push(folder);
  const home = new Home(folder);
  home.prepare();
  return home;
};

describe('the hosts file', () => {
  const before = '127.0.0.1 localhost\n# mine\n10.0.0.1 other\n';

  it('gets a block of ours and loses it again, all else untouched', () => {
    const listed = withHosts(before, 'ingot', ['api.cf.localhost', 'uaa.cf.localhost']);
    assert.match(listed, /^127\.0\.0\.1 api\.cf\.localhost uaa\.cf\.localhost$/m);
    assert.equal(withHosts(listed, 'ingot', []), before);
  });

  it('keeps one block however often it is listed, and another platform its own', () => {
    const both = withHosts(withHosts(before, 'ingot', ['a']), 'other', ['b']);
    assert.equal(withHosts(both, 'ingot', ['a']).match(/# begin/g)?.length, 2);
    assert.match(withHosts(both, 'ingot', []), /^127\.0\.0\.1 b$/m);
  });
});

describe('the preflight', () => {
  it('names what is wrong with the machine and what to do', () => {
    const home = newHome();
    assert.throws(
      () => checkMachine(home, { platform: 'darwin', uid: 0, backend: 'crun' }),
      /runs its containers on Linux.*Use a Linux machine/,
    );
    assert.throws(
      () => checkMachine(home, { platform: 'linux', uid: 1000, backend: 'crun' }),
      /must be root\. Run it with sudo.*--container-backend process.*nothing isolates/,
    );
    checkMachine(home, { platform: 'linux', uid: 1000, backend: 'process' });
    const file = join(home.folder, 'file');
    writeFileSync(file, '');
    assert.throws(
      () => checkMachine(new Home(join(file, 'below')), { platform: 'linux', uid: 0, backend: 'crun' }),
      /Choose another with INGOT_HOME/,
    );
  });

  it('wants room on the disk before anything is made', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ingot-small-'));
    folders.push(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=755', 'ingot-small', folder]);
    try {
      const home = new Home(join(folder, 'home'));
      assert.throws(
        () => checkMachine(home, { platform: 'linux', uid: 0, backend: 'crun' }),
        /Only 0\.\d GB are free .* Ingot needs 3\. Free some/,
      );
    } finally {
      execFileSync('umount', [folder]);
    }
  });

  it('takes the next usual port when the first is taken, and says so when the one asked for is', async () => {
    const taken = await freePort();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(taken, '127.0.0.1', resolve));
    try {
      const other = await freePort();
      assert.equal(await choosePort('127.0.0.1', undefined, [taken, other]), other);
      await assert.rejects(
        choosePort('127.0.0.1', taken, []),
        (error) => error instanceof PreflightFailed && error.message.includes(`Port ${taken}`),
      );
    } finally {
      server.close();
    }
  });
});

describe('the home', () => {
  it("keeps what was chosen at the first start, and the admin's password for its owner alone", () => {
    const home = newHome();
    readSettings(home, { domain: 'my.test', deas: 2 });
    assert.deepEqual([readSettings(home).domain, readSettings(home).deas], ['my.test', 2]);
    const { admin_password } = readSecrets(home);
    assert.equal(readSecrets(home).admin_password, admin_password);
    assert.ok(admin_password.length >= 24);
    assert.equal(statSync(home.secrets).mode & 0o777, 0o600);
  });

  it('knows a process by more than its id', () => {
    const home = newHome();
    recordProcess(home, 'me', process.pid);
    const [record] = listProcesses(home);
    assert.ok(record && isAlive(record));
    assert.equal(isAlive({ ...record, started: '1' }), false);
    writeFileSync(join(home.run, 'half.process.json'), '{"name":');
    assert.equal(listProcesses(home).length, 1);
  });
});

describe('the supervisor', () => {
  const child = (name: string, script: string, isReady: ChildSpec['isReady'] = async () => true): ChildSpec => ({
    name,
    command: process.execPath,
    args: ['-e', script],
    stop_signal: 'SIGTERM',
    isReady,
  });
  const pidOf = (home: Home, name: string): number | undefined =>
    listProcesses(home).find((record) => record.name === name)?.pid;
  const stays = 'setInterval(() => {}, 1000)';

  it('starts a process again when it is killed, and stops it for good when told', async () => {
    const home = newHome();
    const supervisor = new Supervisor(home, silentLog);
    await supervisor.start(child('stays', stays));
    const first = pidOf(home, 'stays');
    assert.ok(first !== undefined);
    process.kill(first, 'SIGKILL');
    const second = await eventually('a new one', () => {
      const pid = pidOf(home, 'stays');
      return pid !== first ? pid : undefined;
    });
    await supervisor.stopAll();
    assert.throws(() => process.kill(second, 0));
    assert.deepEqual(listProcesses(home), []);
  });

  it('says what a process that never starts wrote last', async () => {
    const home = newHome();
    const supervisor = new Supervisor(home, silentLog);
    const fails = child('fails', "console.error('port 80 is mine'); process.exit(3)", async () => false);
    await assert.rejects(
      supervisor.start(fails),
      (error) => error instanceof ChildFailed && error.message.includes('port 80 is mine'),
    );
    await supervisor.stopAll();
  });

  it('kills a process that does not heed its signal', async () => {
    const home = newHome();
    const supervisor = new Supervisor(home, silentLog);
    const log = join(home.logs, 'deaf.log');
    const deaf = child('deaf', `process.on('SIGTERM', () => {}); console.log('listening'); ${stays}`, async () =>
      readFileSync(log, 'utf8').includes('listening'),
    );
    await supervisor.start(deaf);
    const pid = pidOf(home, 'deaf') ?? 0;
    await supervisor.stop('deaf', undefined, 200);
    assert.throws(() => process.kill(pid, 0));
  });

  it('ends what an earlier supervisor left, and nothing that took its process id since', async () => {
    const home = newHome();
    const killed = new Supervisor(home, silentLog);
    await killed.start(child('left', stays));
    const pid = pidOf(home, 'left') ?? 0;
    recordProcess(home, 'me', process.pid);
    const mine = join(home.run, 'me.process.json');
    writeFileSync(mine, readFileSync(mine, 'utf8').replace(/"started":"\d+"/, '"started":"1"'));
    // The first supervisor is still here to start it again; a real one would be gone.
    const gone = killed.stop('left');
    await new Supervisor(home, silentLog).endLeftovers();
    await gone;
    assert.throws(() => process.kill(pid, 0));
    assert.deepEqual(listProcesses(home), []);
  });
});
