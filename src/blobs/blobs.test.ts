import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import type { AppError } from '#kernel/errors.ts';
import { listeningPort } from '#testing/listening-port.ts';
import { BlobNameInvalid, BlobNotFound, type Blobstore, BlobstoreFull, BlobTooLarge } from './blobstore.ts';
import { openBlobstore } from './config.ts';
import { BlobUrlSigner } from './signed-url.ts';

const limits = { max_bytes: 1_000_000 };
const isError = (kind: new (...given: never[]) => AppError) => (error: unknown) => error instanceof kind;

/** As much of S3's protocol as the blobstore speaks; signatures are not judged. */
async function serveS3(): Promise<Server> {
  const objects = new Map<string, Buffer>();
  const server = createServer((request, response) => void answer(request, response));
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://s3');
    const name = url.pathname.slice(1);
    const absent = (): void =>
      void response.writeHead(404).end(request.method === 'HEAD' ? '' : '<Error><Code>NoSuchKey</Code></Error>');
    if (request.method === 'PUT') {
      const source = request.headers['x-amz-copy-source'];
      const body = await buffer(request);
      if (typeof source !== 'string') {
        objects.set(name, body);
        return void response.end();
      }
      const found = objects.get(decodeURIComponent(source).replace(/^\//, ''));
      if (!found) return absent();
      objects.set(name, found);
      return void response.end('<CopyObjectResult></CopyObjectResult>');
    }
    if (url.searchParams.get('list-type') === '2') {
      const prefix = `${name.replace(/\/$/, '')}/${url.searchParams.get('prefix') ?? ''}`;
      const held = [...objects.keys()].filter((key) => key.startsWith(prefix));
      const items = held.map(
        (key) =>
          `<Contents><Key>${key.replace(/^[^/]+\//, '')}</Key><Size>${objects.get(key)?.length}</Size></Contents>`,
      );
      return void response.end(
        `<ListBucketResult><IsTruncated>false</IsTruncated>${items.join('')}</ListBucketResult>`,
      );
    }
    const found = objects.get(name);
    if (request.method === 'DELETE') {
      objects.delete(name);
      return void response.writeHead(204).end();
    }
    if (!found) return absent();
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    const part = range ? found.subarray(Number(range[1]), Number(range[2]) + 1) : found;
    response.writeHead(range ? 206 : 200, {
      'content-length': part.length,
      'last-modified': new Date().toUTCString(),
      ...(range && { 'content-range': `bytes ${range[1]}-${range[2]}/${found.length}` }),
    });
    response.end(request.method === 'HEAD' ? undefined : part);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

for (const kind of ['folder', 's3'] as const) {
  describe(`the ${kind} blobstore`, () => {
    let folder: string;
    let store: Blobstore;
    let s3: Server | undefined;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'ingot-blobs-'));
      if (kind === 'folder') {
        store = await openBlobstore({ kind, folder, min_free_mb: 0 });
        return;
      }
      s3 = await serveS3();
      store = await openBlobstore({
        kind,
        endpoint: `http://127.0.0.1:${listeningPort(s3)}`,
        region: 'us-east-1',
        bucket: 'ours',
        access_key_id: 'a',
        secret_access_key: 'b',
        force_path_style: true,
        spool_folder: folder,
      });
    });
    after(async () => {
      await store[Symbol.asyncDispose]();
      s3?.closeAllConnections();
      s3?.close();
      await rm(folder, { recursive: true });
    });
    const leftovers = async (): Promise<string[]> =>
      await readdir(kind === 'folder' ? join(folder, '.unfinished') : folder);

    it('gives back what was put, whole or in part, and tells its digests', async () => {
      const bytes = randomBytes(300_000);
      const stored = await store.put('cc-packages', 'abcd-1', Readable.from([bytes]), limits);
      assert.deepEqual(stored, {
        size: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
        sha1: createHash('sha1').update(bytes).digest('hex'),
      });
      const whole = await store.get('cc-packages', 'abcd-1');
      assert.deepEqual([whole.size, whole.total_size], [bytes.length, bytes.length]);
      assert.ok((await buffer(whole.stream)).equals(bytes));
      const part = await store.get('cc-packages', 'abcd-1', { start: 10, end: 19 });
      assert.deepEqual([part.size, part.total_size], [10, bytes.length]);
      assert.ok((await buffer(part.stream)).equals(bytes.subarray(10, 20)));
      assert.deepEqual(await leftovers(), []);
    });

    it('keeps an empty blob, copies, lists and deletes', async () => {
      await store.put('cc-droplets', 'efgh-1', Readable.from([]), limits);
      assert.equal((await buffer((await store.get('cc-droplets', 'efgh-1')).stream)).length, 0);
      await store.copy({ bucket: 'cc-droplets', key: 'efgh-1' }, { bucket: 'cc-droplets', key: 'efgh-2' });
      const keys: string[] = [];
      for await (const blob of store.list('cc-droplets')) keys.push(blob.key);
      assert.deepEqual(keys.sort(), ['efgh-1', 'efgh-2']);
      assert.equal(await store.delete('cc-droplets', 'efgh-1'), true);
      assert.equal(await store.delete('cc-droplets', 'efgh-1'), false);
      assert.equal(await store.head('cc-droplets', 'efgh-1'), undefined);
      assert.equal((await store.head('cc-droplets', 'efgh-2'))?.size, 0);
    });

    it('replaces a blob at once and whole', async () => {
      await store.put('cc-packages', 'ijkl', Readable.from([Buffer.from('old')]), limits);
      await store.put('cc-packages', 'ijkl', Readable.from([Buffer.from('newer')]), limits);
      assert.equal(String(await buffer((await store.get('cc-packages', 'ijkl')).stream)), 'newer');
    });

    it('leaves nothing of an upload that breaks or is too large, and keeps what was there', async () => {
      await store.put('cc-packages', 'mnop', Readable.from([Buffer.from('kept')]), limits);
      const broken = Readable.from(
        (function* () {
          yield Buffer.from('half');
          throw new Error('the line broke');
        })(),
      );
      await assert.rejects(store.put('cc-packages', 'mnop', broken, limits), /the line broke/);
      const large = Readable.from([Buffer.alloc(11)]);
      await assert.rejects(store.put('cc-packages', 'mnop', large, { max_bytes: 10 }), isError(BlobTooLarge));
      assert.equal(String(await buffer((await store.get('cc-packages', 'mnop')).stream)), 'kept');
      assert.deepEqual(await leftovers(), []);
    });

    it('says which blob is not there', async () => {
      await assert.rejects(store.get('cc-packages', 'none'), isError(BlobNotFound));
      const to = { bucket: 'cc-packages', key: 'none-2' } as const;
      await assert.rejects(store.copy({ bucket: 'cc-packages', key: 'none' }, to), isError(BlobNotFound));
    });

    for (const key of ['', 'abc', '../../etc/passwd', 'abcd/../x', 'abcd..', '.abcd', 'ab%2Fcd', 'abcd\0', 'ABCD']) {
      it(`refuses the key ${JSON.stringify(key)}`, async () => {
        await assert.rejects(store.put('cc-packages', key, Readable.from(['x']), limits), isError(BlobNameInvalid));
        await assert.rejects(store.get('cc-packages', key), isError(BlobNameInvalid));
      });
    }
  });
}

describe('a folder blobstore on a disk nearly full', () => {
  it('refuses uploads and still reads', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-blobs-'));
    try {
      const roomy = await openBlobstore({ kind: 'folder', folder, min_free_mb: 0 });
      await roomy.put('cc-packages', 'abcd', Readable.from(['x']), limits);
      const full = await openBlobstore({ kind: 'folder', folder, min_free_mb: 1e9 });
      await assert.rejects(full.put('cc-packages', 'efgh', Readable.from(['x']), limits), isError(BlobstoreFull));
      assert.equal(String(await buffer((await full.get('cc-packages', 'abcd')).stream)), 'x');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a signed URL', () => {
  let now = 1_000_000;
  const clock = { now: () => now } as ConstructorParameters<typeof BlobUrlSigner>[0]['clock'];
  const signer = new BlobUrlSigner({ base_url: 'http://cc:1/', secret: 's', clock });
  const grant = { method: 'GET', bucket: 'cc-droplets', key: 'abcd' } as const;

  it('permits what it names until it expires, and nothing else', () => {
    const url = new URL(signer.sign(grant, 60));
    assert.equal(url.pathname, '/internal/blobs/cc-droplets/abcd');
    const given = {
      expires: url.searchParams.get('expires') ?? '',
      signature: url.searchParams.get('signature') ?? '',
    };
    assert.equal(signer.isGranted(grant, given), true);
    assert.equal(signer.isGranted({ ...grant, method: 'PUT' }, given), false);
    assert.equal(signer.isGranted({ ...grant, key: 'abce' }, given), false);
    assert.equal(signer.isGranted(grant, { ...given, expires: String(Number(given.expires) + 1) }), false);
    assert.equal(signer.isGranted(grant, { ...given, signature: 'zz' }), false);
    now += 61_000;
    assert.equal(signer.isGranted(grant, given), false);
  });
});
