import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type ImageRegistry, tarOf } from './image-registry.ts';

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

/** Pushes `team/greeter:v1`: three layers, of gzip and zstd, the last of which only takes a file away. */
export async function pushGreeter(registry: ImageRegistry): Promise<void> {
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
}
