import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import { digestFile, DigestStream } from './digest.ts';
import { ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge } from './errors.ts';
import { packTarGz, tarGzStream, TreeReadFailed } from './pack-tar.ts';
import { packZip, zipSourcesOf, type ZipSource } from './pack-zip.ts';
import { unpackTarGz } from './unpack-tar.ts';
import { listZip, unpackZip } from './unpack-zip.ts';

const run = promisify(execFile);
const roomy = { max_bytes: 1 << 24, max_entries: 1000, links: 'inside' as const };

class Folder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<Folder> {
    return new Folder(await mkdtemp(join(tmpdir(), 'ingot-archive-')));
  }

  at(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

async function sampleTree(folder: Folder): Promise<string> {
  const tree = folder.at('tree');
  await mkdir(join(tree, 'bin/empty'), { recursive: true });
  await writeFile(join(tree, 'bin/run'), '#!/bin/sh\necho hi\n');
  await chmod(join(tree, 'bin/run'), 0o755);
  await writeFile(join(tree, 'ünïcode name.txt'), 'x'.repeat(100_000));
  await chmod(join(tree, 'ünïcode name.txt'), 0o640);
  await symlink('bin/run', join(tree, 'start'));
  await symlink('../start', join(tree, 'bin/again'));
  return tree;
}

async function assertSampleTree(folder: string): Promise<void> {
  assert.equal(await readFile(join(folder, 'start'), 'utf8'), '#!/bin/sh\necho hi\n');
  assert.equal((await stat(join(folder, 'bin/run'))).mode & 0o7777, 0o755);
  assert.equal((await stat(join(folder, 'ünïcode name.txt'))).mode & 0o7777, 0o640);
  assert.equal((await stat(join(folder, 'ünïcode name.txt'))).size, 100_000);
  assert.equal(await readlink(join(folder, 'bin/again')), '../start');
  assert.ok((await stat(join(folder, 'bin/empty'))).isDirectory());
}

/**
 * A zip of stored entries whose names are written as they are, which no packer would do.
 */
function rawZip(entries: readonly { name: string; mode?: number; content?: string; claims?: number }[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const content = Buffer.from(entry.content ?? '');
    const size = entry.claims ?? content.length;
    const sum = crc(content);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt32LE(sum, 14);
    local.writeUInt32LE(content.length, 18);
    local.writeUInt32LE(size, 22);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE((3 << 8) | 20, 4);
    central.writeUInt16LE(20, 6);
    central.writeUInt32LE(sum, 16);
    central.writeUInt32LE(content.length, 20);
    central.writeUInt32LE(size, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 38);
    central.writeUInt32LE(offset, 42);
    bodies.push(local, name, content);
    directory.push(central, name);
    offset += local.length + name.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, ...directory, end]);
}

function crc(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

async function tarGz(entries: readonly (Partial<Header> & { name: string; content?: string })[]): Promise<Buffer> {
  const packed = pack();
  for (const { content, ...header } of entries) packed.entry(header, content ?? '');
  packed.finalize();
  return gzipSync(await buffer(packed));
}

const link = (name: string, target: string) => ({ name, mode: 0o120777, content: target });

describe('a zip', () => {
  it('keeps content, modes, links, empty folders and names from packing to unpacking', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    await packZip(await zipSourcesOf(tree), folder.at('a.zip'));
    await unpackZip(folder.at('a.zip'), folder.at('out'), roomy);
    await assertSampleTree(folder.at('out'));
    const listed = await listZip(folder.at('a.zip'));
    assert.deepEqual(
      listed.map(({ path, kind }) => `${kind} ${path}`),
      ['folder bin/', 'link bin/again', 'folder bin/empty/', 'file bin/run', 'link start', 'file ünïcode name.txt'],
    );
  });

  it('is read by unzip, links and modes as well', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    await packZip(await zipSourcesOf(tree), folder.at('a.zip'));
    // Its own status 1 would be a warning: none is wanted.
    await run('unzip', ['-q', folder.at('a.zip'), '-d', folder.at('out')], { env: { LC_ALL: 'C.UTF-8' } });
    await assertSampleTree(folder.at('out'));
  });

  it('has the same bytes for the same tree', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    const digests: string[] = [];
    for (const name of ['a.zip', 'b.zip']) {
      await packZip(await zipSourcesOf(tree), folder.at(name));
      digests.push((await digestFile(folder.at(name), 'sha256')).sha256);
    }
    assert.equal(digests[0], digests[1]);
  });

  it('is packed from streams, without what is not accepted', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    const sources: ZipSource[] = [
      { path: 'made.txt', kind: 'file', mode: 0o600, source: () => Readable.from([Buffer.from('made up')]) },
      ...(await zipSourcesOf(tree, (path) => !path.startsWith('bin/'))),
    ];
    await packZip(sources, folder.at('a.zip'));
    assert.deepEqual(
      (await listZip(folder.at('a.zip'))).map((entry) => entry.path),
      ['made.txt', 'start', 'ünïcode name.txt'],
    );
  });

  it('fails to be packed when a source cannot be read', async () => {
    await using folder = await Folder.make();
    const gone: ZipSource = { path: 'gone', kind: 'file', mode: 0o600, source: folder.at('gone') };
    await assert.rejects(packZip([gone], folder.at('a.zip')), { code: 'ENOENT' });
  });

  it('may have more entries than a plain zip can count, and files of every size', async () => {
    await using folder = await Folder.make();
    const names = Array.from({ length: 66_000 }, (_, n) => `d${n % 10}/f${n}`);
    const small = names.map((path): ZipSource => ({ path: `${path}/`, kind: 'folder', mode: 0o755 }));
    await writeFile(folder.at('big'), Buffer.alloc(3 << 20, 'large '));
    const big: ZipSource = { path: 'big', kind: 'file', mode: 0o600, source: folder.at('big') };
    await packZip([...small, big], folder.at('a.zip'));
    const listed = await listZip(folder.at('a.zip'));
    assert.deepEqual([listed.length, listed[65_999]?.path, listed[66_000]?.size], [66_001, 'd9/f65999/', 3 << 20]);
    await run('unzip', ['-tqq', folder.at('a.zip')]);
    await packZip([big], folder.at('b.zip'));
    await unpackZip(folder.at('b.zip'), folder.at('out'), roomy);
    assert.deepEqual(await readFile(folder.at('out/big')), await readFile(folder.at('big')));
  });

  it('is refused when a large file in it is damaged', async () => {
    await using folder = await Folder.make();
    const bytes = randomBytes(2 << 20);
    await packZip([{ path: 'a', kind: 'file', mode: 0o600, source: () => Readable.from([bytes]) }], folder.at('a.zip'));
    const zip = await readFile(folder.at('a.zip'));
    zip.writeUInt8(zip.readUInt8(1 << 20) ^ 1, 1 << 20);
    await writeFile(folder.at('a.zip'), zip);
    await assert.rejects(unpackZip(folder.at('a.zip'), folder.at('out'), roomy), ArchiveInvalid);
  });

  const escapes: [string, Parameters<typeof rawZip>[0]][] = [
    ['a path that goes up', [{ name: '../evil' }]],
    ['a path that goes up half-way', [{ name: 'a/../../evil' }]],
    ['an absolute path', [{ name: '/etc/evil' }]],
    ['a backslash path that goes up', [{ name: '..\\evil' }]],
    ['a link that goes up', [link('a', '../evil')]],
    ['an absolute link', [link('a', '/etc/passwd')]],
    [
      'a link that only other links lead out',
      [{ name: 'sub/deep/x' }, link('sub/deep/up', '../..'), link('a', 'sub/deep/up/../evil')],
    ],
  ];
  for (const [what, entries] of escapes) {
    it(`is refused for ${what}`, async () => {
      await using folder = await Folder.make();
      await writeFile(folder.at('a.zip'), rawZip(entries));
      await assert.rejects(unpackZip(folder.at('a.zip'), folder.at('in/out'), roomy), ArchivePathEscapes);
      await assert.rejects(lstat(folder.at('evil')), { code: 'ENOENT' });
      await assert.rejects(lstat(folder.at('in/evil')), { code: 'ENOENT' });
    });
  }

  it('writes nothing through a link of its own', async () => {
    await using folder = await Folder.make();
    await mkdir(folder.at('target'));
    for (const name of ['a/evil', 'a']) {
      await writeFile(folder.at('a.zip'), rawZip([link('a', folder.at('target')), { name: 'a/evil', content: 'x' }]));
      await assert.rejects(
        unpackZip(folder.at('a.zip'), folder.at('out'), { ...roomy, links: 'kept' }),
        ArchiveInvalid,
      );
      await assert.rejects(lstat(folder.at('target', name)), { code: 'ENOENT' });
    }
  });

  it('loses setuid bits and is refused for devices', async () => {
    await using folder = await Folder.make();
    await writeFile(folder.at('a.zip'), rawZip([{ name: 'su', mode: 0o104755 }]));
    await unpackZip(folder.at('a.zip'), folder.at('out'), roomy);
    assert.equal((await stat(folder.at('out/su'))).mode & 0o7777, 0o755);
    await writeFile(folder.at('a.zip'), rawZip([{ name: 'disk', mode: 0o060600 }]));
    await assert.rejects(unpackZip(folder.at('a.zip'), folder.at('out'), roomy), ArchiveInvalid);
  });

  it('is refused when it is too much: by bytes, by entries, and by bytes that it does not admit', async () => {
    await using folder = await Folder.make();
    const zeros = () => Readable.from([Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)]);
    await packZip([{ path: 'bomb', kind: 'file', mode: 0o644, source: zeros }], folder.at('bomb.zip'));
    assert.ok((await stat(folder.at('bomb.zip'))).size < 10_000);
    const unpack = async (name: string, limits: object) =>
      await unpackZip(folder.at(name), folder.at('out'), { ...roomy, ...limits });
    await assert.rejects(unpack('bomb.zip', { max_bytes: 1 << 20 }), ArchiveTooLarge);
    await writeFile(folder.at('many.zip'), rawZip(Array.from({ length: 20 }, (_, n) => ({ name: `f${n}` }))));
    await assert.rejects(unpack('many.zip', { max_entries: 10 }), ArchiveTooLarge);
    await writeFile(folder.at('liar.zip'), rawZip([{ name: 'liar', content: 'twelve bytes', claims: 2 }]));
    await assert.rejects(unpack('liar.zip', {}), ArchiveInvalid);
  });

  it('is refused when it is cut short, damaged, or no zip at all', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    await packZip(await zipSourcesOf(tree), folder.at('a.zip'));
    await truncate(folder.at('a.zip'), (await stat(folder.at('a.zip'))).size - 40);
    await assert.rejects(unpackZip(folder.at('a.zip'), folder.at('out'), roomy), ArchiveInvalid);
    const damaged = rawZip([{ name: 'a', content: 'the right words' }]);
    damaged.write('wrong', damaged.indexOf('right'));
    await writeFile(folder.at('b.zip'), damaged);
    await assert.rejects(unpackZip(folder.at('b.zip'), folder.at('out'), roomy), ArchiveInvalid);
    await writeFile(folder.at('c.zip'), 'not a zip');
    await assert.rejects(listZip(folder.at('c.zip')), ArchiveInvalid);
    await writeFile(folder.at('d.zip'), '');
    await assert.rejects(listZip(folder.at('d.zip')), ArchiveInvalid);
    await assert.rejects(listZip(folder.at('absent.zip')), { code: 'ENOENT' });
  });
});

describe('a tar.gz', () => {
  it('keeps content, modes, links and empty folders, with the owner asked for', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    await packTarGz(tree, folder.at('a.tgz'), { owner: { uid: 2000, gid: 2000 } });
    const owner = process.getuid?.() === 0 ? { owner: { uid: 2000, gid: 2000 } } : {};
    const { bytes } = await unpackTarGz(folder.at('a.tgz'), folder.at('out'), { ...roomy, ...owner });
    assert.equal(bytes, 100_018);
    await assertSampleTree(folder.at('out'));
    if ('owner' in owner) assert.equal((await lstat(folder.at('out/start'))).uid, 2000);
  });

  it('has the same bytes for the same tree when the time is given', async () => {
    await using folder = await Folder.make();
    const tree = await sampleTree(folder);
    const options = { mtime: new Date(1e12), owner: { uid: 1, gid: 1 } };
    const first = await buffer(tarGzStream(tree, options));
    assert.deepEqual(await buffer(tarGzStream(tree, options)), first);
  });

  it('keeps links that lead out where they are looked at from a container only', async () => {
    await using folder = await Folder.make();
    const archive = await tarGz([{ name: 'python', type: 'symlink', linkname: '/usr/bin/python3' }]);
    await unpackTarGz(Readable.from([archive]), folder.at('out'), { ...roomy, links: 'kept' });
    assert.equal(await readlink(folder.at('out/python')), '/usr/bin/python3');
    await assert.rejects(unpackTarGz(Readable.from([archive]), folder.at('other'), roomy), ArchivePathEscapes);
  });

  const refused: [string, Partial<Header> & { name: string }, new (...parts: never[]) => Error][] = [
    ['a path that goes up', { name: '../evil', type: 'file' }, ArchivePathEscapes],
    ['an absolute path', { name: '/evil', type: 'file' }, ArchivePathEscapes],
    ['a hard link', { name: 'a', type: 'link', linkname: '/etc/passwd' }, ArchiveInvalid],
    ['a device', { name: 'a', type: 'block-device', devmajor: 8, devminor: 0 }, ArchiveInvalid],
    ['a pipe', { name: 'a', type: 'fifo' }, ArchiveInvalid],
  ];
  for (const [what, header, fault] of refused) {
    it(`is refused for ${what}`, async () => {
      await using folder = await Folder.make();
      await writeFile(folder.at('a.tgz'), await tarGz([{ name: 'good', content: 'x' }, header]));
      await assert.rejects(unpackTarGz(folder.at('a.tgz'), folder.at('in/out'), roomy), fault);
      await assert.rejects(lstat(folder.at('in/evil')), { code: 'ENOENT' });
    });
  }

  it('is refused when it is too much, cut short or no tar.gz', async () => {
    await using folder = await Folder.make();
    const big = await tarGz([{ name: 'big', content: 'x'.repeat(100_000) }]);
    const unpack = async (bytes: Buffer, limits = {}) =>
      await unpackTarGz(Readable.from([bytes]), folder.at('out'), { ...roomy, ...limits });
    await assert.rejects(unpack(big, { max_bytes: 1000 }), ArchiveTooLarge);
    await assert.rejects(unpack(big.subarray(0, big.length - 20)), ArchiveInvalid);
    await assert.rejects(unpack(Buffer.from('no gzip at all')), ArchiveInvalid);
    await assert.rejects(unpack(gzipSync('x'.repeat(2000))), ArchiveInvalid);
  });

  it('fails to be packed when its folder is not there', async () => {
    await using folder = await Folder.make();
    await assert.rejects(packTarGz(folder.at('gone'), folder.at('a.tgz')), TreeReadFailed);
  });
});

describe('a digest', () => {
  it('is that of the file, by both algorithms in one reading, and of what passes through a stream', async () => {
    await using folder = await Folder.make();
    await writeFile(folder.at('f'), 'hello');
    const sha256 = createHash('sha256').update('hello').digest('hex');
    const sha1 = createHash('sha1').update('hello').digest('hex');
    assert.deepEqual(await digestFile(folder.at('f'), 'sha256', 'sha1'), { sha256, sha1 });
    const stream = new DigestStream('sha256');
    await buffer(Readable.from([Buffer.from('hel'), Buffer.from('lo')]).pipe(stream));
    assert.deepEqual([stream.digest, stream.size], [sha256, 5]);
  });
});
