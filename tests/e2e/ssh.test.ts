import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { TestPlatform } from './platform.ts';

const SERVER = `
import http.server, os, socket, threading
def echo():
    s = socket.create_server(('127.0.0.1', 7070))
    while True:
        c, _ = s.accept()
        c.sendall(c.recv(100).upper())
        c.close()
threading.Thread(target=echo, daemon=True).start()
http.server.HTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()
`;

interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** The OpenSSH client, and our own, against instances of an app. */
describe('ssh into an app', () => {
  let platform: TestPlatform;
  const folders: string[] = [];
  let env: Record<string, string>;
  let work: string;
  let user: string;
  let port: number;

  before(async () => {
    platform = await TestPlatform.start();
    const session = await readFile(join(platform.cfHome, '.cf/config.json'), 'utf8');
    work = await platform.folder({ '.cf/config.json': session, askpass: '#!/bin/sh\necho "$SSH_CODE"\n' });
    env = { CF_HOME: work };
    await must('create-org', 'ssh-org');
    await must('target', '-o', 'ssh-org');
    await must('create-space', 'ssh-space');
    await must('target', '-s', 'ssh-space');
    const app = await platform.folder({ 'server.py': SERVER, 'run.sh': '#!/bin/sh\nexec python3 server.py\n' });
    folders.push(work, app);
    await must('push', 'entered', '-p', app, '-b', 'binary_buildpack', '-c', './run.sh', '-i', '2', '-m', '64M');
    const guid = (await must('app', 'entered', '--guid')).trim();
    const { body } = await platform.api(`/v3/apps/${guid}/processes`);
    const [process] = (JSON.parse(body) as { resources: { guid: string }[] }).resources;
    user = `cf:${process?.guid}`;
    const root = JSON.parse((await platform.api('/')).body) as { links: { app_ssh: { href: string } } };
    port = Number(root.links.app_ssh.href.split(':')[1]);
  });
  after(async () => {
    await platform.cf(['delete-org', 'ssh-org', '-f'], { env });
    await platform.cf(['delete-user', 'ssh-guest', '-f'], { env });
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await platform[Symbol.asyncDispose]();
  });

  async function must(...args: string[]): Promise<string> {
    return await platform.mustCf(args, { env });
  }
  async function code(as: Record<string, string> = env): Promise<string> {
    return (await platform.mustCf(['ssh-code'], { env: as })).trim();
  }
  const options = (index: number, login = `${user}/${index}`): string[] => [
    '-F',
    'none',
    ...['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'NumberOfPasswordPrompts=1']
      .concat('PreferredAuthentications=password', `User=${login}`)
      .flatMap((setting) => ['-o', setting]),
  ];

  function begin(command: string, args: string[], passcode: string): ChildProcess {
    return spawn(command, args, {
      env: { ...process.env, SSH_ASKPASS: join(work, 'askpass'), SSH_ASKPASS_REQUIRE: 'force', SSH_CODE: passcode },
    });
  }
  async function outcome(child: ChildProcess, input = ''): Promise<Outcome> {
    let [stdout, stderr] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin?.end(input);
    const [status] = (await once(child, 'close')) as [number];
    return { status, stdout, stderr };
  }
  async function ssh(
    args: string[],
    more: { index?: number; input?: string; passcode?: string } = {},
  ): Promise<Outcome> {
    const all = [...options(more.index ?? 0), '-p', String(port), '127.0.0.1', ...args];
    return await outcome(begin('ssh', all, more.passcode ?? (await code())), more.input);
  }
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port: free } = server.address() as AddressInfo;
    server.close();
    return free;
  }
  /** What the app's own port of the loopback answers to `hello` through a forwarded one. */
  async function ask(local: number): Promise<string> {
    return await eventually('an answer', async () => {
      const socket = connect(local, '127.0.0.1');
      let heard = '';
      socket.on('error', () => {});
      socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
      socket.write('hello');
      await once(socket, 'close');
      return heard === '' ? undefined : heard;
    });
  }

  it('runs a command as vcap in the instance that was named, with its environment, streams and exit status', async () => {
    const script = 'id -un; pwd; echo $CF_INSTANCE_INDEX; test -n "$VCAP_APPLICATION"; cat; echo oops >&2; exit 7';
    const ran = await ssh([script], { index: 1, input: 'what it reads\n' });
    assert.deepEqual(ran, { status: 7, stdout: 'vcap\n/home/vcap\n1\nwhat it reads\n', stderr: 'oops\n' });
    const launched = await ssh(['/tmp/lifecycle/launcher /home/vcap/app "pwd; ls" ""']);
    assert.match(launched.stdout, /^\/home\/vcap\/app\nrun\.sh\nserver\.py\n$/);
  });

  it('gives a terminal whose size follows the one of the user, and ends with its shell', async () => {
    const flag = join(work, 'resize');
    const command = ['ssh', '-tt', ...options(0), '-p', String(port), '127.0.0.1'].join(' ');
    const resize = `(until [ -e ${flag} ]; do sleep 0.1; done; stty rows 40 cols 100) </dev/tty &`;
    const child = begin('script', ['-qec', `stty rows 31 cols 99; ${resize} ${command}`, '/dev/null'], await code());
    let heard = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (heard += text));
    const over = once(child, 'close');
    const asks = async (what: RegExp): Promise<void> => {
      await eventually(String(what), () => {
        child.stdin?.write('stty size\n');
        return what.test(heard);
      });
    };
    await asks(/31 99/);
    await writeFile(flag, '');
    await asks(/40 100/);
    child.stdin?.write('exit 5\n');
    const [status] = (await over) as [number];
    assert.equal(status, 5, heard);
  });

  it('copies files both ways, by the old protocol and by sftp', async () => {
    const file = join(work, 'file');
    await writeFile(file, Buffer.alloc(3_000_000, 'data'));
    for (const [flag, name] of [
      ['-s', 'by-sftp'],
      ['-O', 'by-scp'],
    ] as const) {
      for (const [from, to] of [
        [file, `127.0.0.1:/home/vcap/tmp/${name}`],
        [`127.0.0.1:/home/vcap/tmp/${name}`, join(work, name)],
      ] as const) {
        const copied = await outcome(begin('scp', [flag, ...options(0), '-P', String(port), from, to], await code()));
        assert.deepEqual(copied, { status: 0, stdout: '', stderr: '' });
      }
      assert.ok((await readFile(join(work, name))).equals(await readFile(file)), name);
    }
  });

  it('forwards a port to what listens on the loopback of the container alone', async () => {
    const local = await freePort();
    const forward = ['-N', '-L', `${local}:localhost:7070`];
    const child = begin('ssh', [...options(0), '-p', String(port), ...forward, '127.0.0.1'], await code());
    const over = once(child, 'close');
    assert.equal(await ask(local), 'HELLO');
    assert.equal(await ask(local), 'HELLO');
    child.kill();
    await over;
  });

  it('is what our own cf ssh does as well', async () => {
    const ran = await platform.cf(['ssh', 'entered', '-i', '1', '-c', 'echo $CF_INSTANCE_INDEX; exit 3'], { env });
    assert.deepEqual([ran.exit_status, ran.output.trim()], [3, '1']);
    const local = await freePort();
    const untilTold = 'until [ -e /tmp/enough ]; do sleep 0.1; done';
    const held = platform.begin(['ssh', 'entered', '-L', `${local}:127.0.0.1:7070`, '-c', untilTold], { env });
    assert.equal(await ask(local), 'HELLO');
    await ssh(['touch /tmp/enough']);
    assert.equal((await held.outcome).exit_status, 0);
    const missing = await platform.cf(['ssh', 'entered', '-i', '9'], { env });
    assert.match(missing.output, /Instance 9 of process web not found/);
  });

  it('is told in the log of the app and among its events', async () => {
    await eventually('the lines', async () => {
      const log = await must('logs', 'entered', '--recent');
      return /\[SSH\/0\] +OUT Successful remote access by 127/.test(log) && /Remote access ended for/.test(log);
    });
    assert.match(await must('events', 'entered'), /audit\.app\.ssh-authorized/);
  });

  it('takes a code once, and only with a user name that names a process', async () => {
    const passcode = await code();
    assert.equal((await ssh(['true'], { passcode })).status, 0);
    assert.match((await ssh(['true'], { passcode })).stderr, /Permission denied/);
    assert.match((await ssh(['true'], { passcode: 'no code' })).stderr, /Permission denied/);
    const asRoot = [...options(0, 'root'), '-p', String(port), '127.0.0.1', 'true'];
    const refused = await outcome(begin('ssh', asRoot, await code()));
    assert.match(refused.stderr, /Permission denied/);
  });

  it('refuses who is no developer of the space', async () => {
    const guest = await platform.folder({});
    folders.push(guest);
    await must('create-user', 'ssh-guest', 'ssh-guest-password');
    await must('set-space-role', 'ssh-guest', 'ssh-org', 'ssh-space', 'SpaceAuditor');
    const as = { CF_HOME: guest };
    const { Target } = JSON.parse(await readFile(join(work, '.cf/config.json'), 'utf8')) as { Target: string };
    await platform.mustCf(['api', Target], { env: as });
    await platform.mustCf(['auth', 'ssh-guest', 'ssh-guest-password'], { env: as });
    assert.match((await ssh(['true'], { passcode: await code(as) })).stderr, /Permission denied/);
    assert.match(await must('events', 'entered'), /audit\.app\.ssh-unauthorized +ssh-guest/);
  });

  it('is closed by disable-ssh and by disallow-space-ssh, and open again after', async () => {
    await must('disable-ssh', 'entered');
    assert.match(await must('ssh-enabled', 'entered'), /disabled/);
    assert.match((await ssh(['true'])).stderr, /Permission denied/);
    await must('enable-ssh', 'entered');
    await must('disallow-space-ssh', 'ssh-space');
    const refused = await platform.cf(['ssh', 'entered', '-c', 'true'], { env });
    assert.match(refused.output, /You are not authorized to perform the requested action/);
    await must('allow-space-ssh', 'ssh-space');
    assert.equal((await ssh(['true'])).status, 0);
  });

  it('ends with the instance', async () => {
    const running = begin('ssh', [...options(1), '-p', String(port), '127.0.0.1', 'echo in; sleep 1000'], await code());
    await once(running.stdout ?? running, 'data');
    const over = once(running, 'close');
    await must('scale', 'entered', '-i', '1');
    const [status] = (await over) as [number];
    assert.notEqual(status, 0);
    assert.match((await ssh(['true'], { index: 1 })).stderr, /Permission denied/);
  });
});
