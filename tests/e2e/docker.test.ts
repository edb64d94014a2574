import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { eventually } from '#testing/eventually.ts';
import { ImageRegistry, REGISTRY_LOGIN, tarOf } from '#testing/image-registry.ts';
import { TestPlatform } from './platform.ts';

const run = promisify(execFile);

/** Says what it runs as; it needs no more than the image has. */
const SERVER = `
use IO::Socket::INET;
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 50, ReuseAddr => 1) or die $!;
while (1) {
  my $client = $server->accept or next;
  while (my $line = <$client>) { last if $line eq "\\r\\n" }
  my $body = join ' ', "$ENV{GREETING}, $ENV{NAME}!", "port=$ENV{PORT}", "uid=$<", "home=$ENV{HOME}", 'files=' . join(',', sort glob '*'), "index=$ENV{CF_INSTANCE_INDEX}";
  print $client "HTTP/1.1 200 OK\\r\\nContent-Length: " . length($body) . "\\r\\nConnection: close\\r\\n\\r\\n$body";
  close $client;
}
`;

/** Debian's perl-base with a shell and the libraries of both: each is on every Debian. */
async function baseLayer(): Promise<Buffer> {
  const programs = ['/usr/bin/perl', '/bin/sh'];
  const { stdout: linked } = await run('ldd', programs);
  const libraries = [...linked.matchAll(/(\/[^\s:]+\.so[^\s:]*)/g)].map(([path]) => path);
  const { stdout: listed } = await run('dpkg', ['-L', 'perl-base']);
  const modules = listed.split('\n').filter((path) => /^\/usr\/(lib|share)\/.*\.(pm|pl|so|ix|al)$/.test(path));
  const files = [...new Set([...programs, ...libraries, ...modules])].map((path) => path.slice(1));
  const options = { encoding: 'buffer', maxBuffer: 1 << 28 } as const;
  return (await run('tar', ['-ch', '-C', '/', '--numeric-owner', ...files], options)).stdout;
}

describe('an app that is a docker image', () => {
  let platform: TestPlatform;
  let registry: ImageRegistry;
  const folders: string[] = [];
  const env = { CF_DOCKER_PASSWORD: REGISTRY_LOGIN.password };
  before(async () => {
    [platform, registry] = await Promise.all([TestPlatform.start(), ImageRegistry.start({ has_login: true })]);
    const added = await tarOf([
      { name: 'etc/passwd', text: 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/srv/app:/bin/sh\n' },
      { name: 'tmp/', type: 'directory', mode: 0o1777 },
      { name: 'srv/app/', type: 'directory', uid: 1000, gid: 1000 },
      { name: 'srv/app/server.pl', text: SERVER, uid: 1000, gid: 1000 },
      { name: 'srv/app/taken-away', text: 'x' },
    ]);
    const taken = await tarOf([{ name: 'srv/app/.wh.taken-away' }]);
    const zstd = 'application/vnd.oci.image.layer.v1.tar+zstd';
    const layers = [
      { bytes: gzipSync(await baseLayer(), { level: 1 }) },
      { bytes: zstdCompressSync(added), media_type: zstd },
      { bytes: gzipSync(taken) },
    ];
    await registry.push('team/greeter', 'v1', {
      layers,
      config: {
        User: 'web',
        Env: ['GREETING=hello', 'NAME=nobody'],
        Entrypoint: ['/usr/bin/perl'],
        Cmd: ['server.pl'],
        WorkingDir: '/srv/app',
        ExposedPorts: { '9090/tcp': {} },
      },
    });
  });
  after(async () => {
    for (const app of ['greeter', 'listed', 'denied']) await platform.cf(['delete', app, '-f', '-r']);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    await Promise.all([platform[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
  });
  const image = (): string => `${registry.host}/team/greeter:v1`;
  const login = ['--docker-username', REGISTRY_LOGIN.username];

  it('is pulled, runs as it says and answers under its route', async () => {
    const folder = await platform.folder({});
    folders.push(folder);
    const pushed = await platform.mustCf(['push', 'greeter', '-o', image(), ...login, '-m', '64M'], {
      cwd: folder,
      env,
    });
    assert.match(pushed, new RegExp(`docker image:\\s+${image()}`));
    const { body } = await platform.get('greeter');
    assert.equal(body, 'hello, nobody! port=9090 uid=1000 home=/srv/app files=server.pl index=0');
  });

  it('takes variables, restarts, scales, and is entered as its user', async () => {
    await platform.mustCf(['set-env', 'greeter', 'NAME', 'you']);
    await platform.mustCf(['restart', 'greeter']);
    assert.match((await platform.get('greeter')).body, /^hello, you!/);
    await platform.mustCf(['scale', 'greeter', '-i', '2']);
    const seen = new Set<string>();
    await eventually('both instances answer', async () => {
      seen.add(/index=\d/.exec((await platform.get('greeter')).body)?.[0] ?? '');
      return seen.has('index=0') && seen.has('index=1');
    });
    const entered = await platform.mustCf(['ssh', 'greeter', '-c', 'echo "$GREETING $NAME"; cd; pwd']);
    assert.equal(entered.trim(), 'hello you\n/srv/app');
  });

  it('runs other commands of its user, in tasks as well', async () => {
    await platform.mustCf(['run-task', 'greeter', '-c', 'echo "task of $GREETING"', '--wait']);
    await eventually('the task has spoken', async () =>
      (await platform.mustCf(['logs', 'greeter', '--recent'])).includes('task of hello'),
    );
  });

  it('that cannot be had is told with the reason', async () => {
    const folder = await platform.folder({
      'manifest.yml': JSON.stringify({ applications: [{ name: 'denied', docker: { image: '127.0.0.1:1/none:v1' } }] }),
    });
    folders.push(folder);
    const { exit_status, output } = await platform.cf(['push'], { cwd: folder });
    assert.notEqual(exit_status, 0);
    assert.match(output, /the registry 127\.0\.0\.1:1 cannot be reached/);
    const half = await platform.cf(['push', 'denied', '-o', image(), ...login], {
      cwd: folder,
      env: { CF_DOCKER_PASSWORD: '' },
    });
    assert.match(half.output, /CF_DOCKER_PASSWORD not set/);
  });
});
