import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { fetch } from 'undici';
import { systemClock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';
import { silentLog } from '#kernel/log.ts';
import { digestOf, ImageRegistry, REGISTRY_LOGIN, tarOf } from '#testing/image-registry.ts';
import { imageCommand, imagePorts } from './image.ts';
import { parseImageName } from './image-name.ts';
import { LayerCache } from './layer-cache.ts';
import { findImage } from './registry.ts';
import { agentFor } from './registry-agent.ts';

const OWN = process.arch === 'x64' ? 'amd64' : process.arch;
const config = { Cmd: ['/bin/server'], Env: ['A=1'], ExposedPorts: { '9000/tcp': {} } };
const failsWith = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

const local = { insecure_registries: [], allows_local_registries: true, stall_timeout_s: 30 };

describe('images of a registry', () => {
  let open: ImageRegistry;
  let closed: ImageRegistry;
  let folder: string;
  before(async () => {
    [open, closed] = await Promise.all([ImageRegistry.start(), ImageRegistry.start({ has_login: true })]);
    folder = await mkdtemp(join(tmpdir(), 'ingot-layers-'));
  });
  after(async () => {
    await Promise.all([open[Symbol.asyncDispose](), closed[Symbol.asyncDispose]()]);
    await rm(folder, { recursive: true, force: true });
  });
  const find = async (image: string, login?: typeof REGISTRY_LOGIN) => await findImage(image, { login, ...local });
  const cache = async (name: string, max_cached_mb = 10) =>
    await LayerCache.open({
      folder: join(folder, name),
      max_cached_mb,
      max_layer_bytes: 1 << 20,
      registries: { ...local, stall_timeout_s: 0.5 },
      layer_timeout_s: 60,
      warden: { convertLayer: async () => {} },
      clock: systemClock,
      log: silentLog,
    });
  const layer = async (text: string) => ({ bytes: gzipSync(await tarOf([{ name: 'file', text }])) });

  it('are found by tag and by digest, with their layers and how to run them', async () => {
    const sample = await layer('found');
    const digest = await open.push('team/app', 'v1', { layers: [sample], config });
    for (const name of [`${open.host}/team/app:v1`, `${open.host}/team/app@${digest}`]) {
      const image = await find(name);
      assert.deepEqual([image.digest, image.layers.map((one) => one.digest)], [digest, [digestOf(sample.bytes)]]);
      assert.deepEqual(image.config, config);
    }
  });

  it('are taken from a list by the architecture of this machine, and refused when it has none', async () => {
    const own = await open.push('many', 'own', { layers: [await layer('own')], config });
    const other = await open.push('many', 'other', { layers: [await layer('x')], config, architecture: 's390x' });
    await open.pushList('many', 'all', { s390x: other, [OWN]: own });
    await open.pushList('many', 'foreign', { s390x: other });
    assert.equal((await find(`${open.host}/many:all`)).digest, own);
    await assert.rejects(find(`${open.host}/many:foreign`), failsWith('image_invalid'));
    await assert.rejects(find(`${open.host}/many:other`), failsWith('image_invalid'));
  });

  it('need the right login where the registry asks for one', async () => {
    await closed.push('secret', 'latest', { layers: [await layer('secret')], config });
    const name = `${closed.host}/secret`;
    assert.deepEqual((await find(name, REGISTRY_LOGIN)).config, config);
    await assert.rejects(find(name), failsWith('registry_denied'));
    await assert.rejects(find(name, { ...REGISTRY_LOGIN, password: 'wrong' }), failsWith('registry_denied'));
  });

  it('are fetched with a token from where the registry says', async () => {
    const body = gzipSync(await tarOf([{ name: 'file', text: 'by token' }]));
    const digest = await open.push('tokens', 'v1', { layers: [{ bytes: body }], config });
    const asked: string[] = [];
    let port = 0;
    const server: Server = createServer((request, response) => {
      if (request.url?.startsWith('/token')) {
        asked.push(`${request.headers.authorization?.split(' ')[0]} ${request.url}`);
        response.end(JSON.stringify({ token: 'T' }));
        return;
      }
      if (request.headers.authorization !== 'Bearer T') {
        const realm = `Bearer realm="http://127.0.0.1:${port}/token",service="reg"`;
        response.writeHead(401, { 'WWW-Authenticate': realm }).end();
        return;
      }
      const { accept } = request.headers;
      void fetch(`http://${open.host}${request.url}`, { headers: accept ? { accept } : {} }).then(async (answer) => {
        response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
    try {
      assert.equal((await find(`127.0.0.1:${port}/tokens:v1`, REGISTRY_LOGIN)).digest, digest);
    } finally {
      server.close();
      server.closeAllConnections();
    }
    assert.deepEqual(asked, ['Basic /token?service=reg&scope=repository%3Atokens%3Apull']);
  });

  it('that are not there, or whose registry is away, are told apart', async () => {
    await assert.rejects(find(`${open.host}/nowhere:v1`), failsWith('image_not_found'));
    await assert.rejects(find('127.0.0.1:1/away'), failsWith('registry_failed'));
    await assert.rejects(find('Not An Image'), failsWith('image_invalid'));
  });

  it('whose bytes are not those of their digest are refused, and leave nothing', async () => {
    const good = await layer('honest');
    const bad = await layer('to be spoilt');
    await open.push('spoilt', 'v1', { layers: [good, bad], config });
    await writeFile(open.pathOf(digestOf(bad.bytes)), gzipSync(await tarOf([{ name: 'file', text: 'evil' }])));
    const image = await find(`${open.host}/spoilt:v1`);
    const layers = await cache('spoilt');
    await assert.rejects(layers.acquire(image, undefined), failsWith('digest_mismatch'));
    assert.deepEqual(
      await readdir(join(folder, 'spoilt')).then((names) => names.filter((n) => n.endsWith('partial'))),
      [],
    );
    await assert.rejects(stat(join(folder, 'spoilt', digestOf(bad.bytes).slice(7))));
  });

  it('are not asked for on this machine, by name, address or redirect, unless that is allowed', async () => {
    await open.push('own', 'v1', { layers: [await layer('own')], config });
    const strict = { ...local, allows_local_registries: false };
    const own = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === 'IPv4' && !one.internal);
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '169.254.169.254', ...(own ? [own.address] : [])])
      await assert.rejects(findImage(`${host}:${open.port}/own:v1`, strict), failsWith('registry_forbidden'), host);
    const named = { ...strict, insecure_registries: [open.host] };
    assert.deepEqual((await findImage(`${open.host}/own:v1`, named)).config, config);

    const elsewhere = createServer((request, response) => {
      response.writeHead(307, { location: `http://${open.host}${request.url}` }).end();
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.2', resolve));
    const host = `registry.example:${(elsewhere.address() as AddressInfo).port}`;
    const agent = agentFor(host, strict);
    try {
      const redirected = fetch(`http://127.0.0.2:${host.split(':')[1]}/v2/`, { dispatcher: agent });
      await assert.rejects(redirected, (error: Error) => failsWith('registry_forbidden')(error.cause));
    } finally {
      elsewhere.close();
      await agent.close();
    }
  });

  it('of which nothing more comes are given up, and asked for again', async () => {
    const body = gzipSync(await tarOf([{ name: 'file', text: 'slow' }]));
    await open.push('slow', 'v1', { layers: [{ bytes: body }], config });
    let asked = 0;
    const slow = createServer((request, response) => {
      const isStalled = request.url?.includes(`/blobs/${digestOf(body)}`) && asked++ === 0;
      if (isStalled) response.writeHead(200, { 'content-length': body.length }).write(body.subarray(0, 10));
      else response.writeHead(307, { location: `http://${open.host}${request.url}` }).end();
    });
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
    try {
      const image = await find(`127.0.0.1:${(slow.address() as AddressInfo).port}/slow:v1`);
      const [folder_of_it] = await (await cache('slow')).acquire(image, undefined);
      assert.equal(await readFile(join(folder_of_it ?? '', 'file'), 'utf8'), 'slow');
      assert.equal(asked, 2);
    } finally {
      slow.closeAllConnections();
      slow.close();
    }
  });

  it('are unpacked once with owners, hard links and any compression, and evicted when nobody uses them', async () => {
    const base = await tarOf([
      { name: 'srv/', type: 'directory', mode: 0o1777 },
      { name: 'srv/own', uid: 33, gid: 34, mode: 0o4755, text: 'mine' },
      { name: 'srv/again', type: 'link', linkname: 'srv/own' },
      { name: 'dev/null', type: 'character-device' },
      { name: 'bin', type: 'symlink', linkname: '/usr/bin' },
    ]);
    const tar = await tarOf([{ name: 'plain', text: 'plain' }]);
    const oci = 'application/vnd.oci.image.layer.v1.tar';
    const zstd = { media_type: `${oci}+zstd`, bytes: zstdCompressSync(base) };
    const plain = { media_type: oci, bytes: tar };
    await open.push('forms', 'v1', { layers: [plain, zstd, plain], config });
    const image = await find(`${open.host}/forms:v1`);
    const layers = await cache('forms', 0.000001);
    const [[lower, upper], again] = await Promise.all([
      layers.acquire(image, undefined),
      layers.acquire(image, undefined),
    ]);
    assert.deepEqual(again, [lower, upper]);
    assert.equal(await readFile(join(upper ?? '', 'plain'), 'utf8'), 'plain');
    const [own, linked, parent] = await Promise.all(
      ['srv/own', 'srv/again', 'srv'].map(async (path) => await stat(join(lower ?? '', path))),
    );
    assert.deepEqual([own?.uid, own?.gid, own?.mode, linked?.ino], [33, 34, 0o100755, own?.ino]);
    assert.equal(parent?.mode, 0o41777);
    layers.release(image);
    await layers.reap();
    assert.equal((await readdir(join(folder, 'forms'))).length, 2);
    layers.release(image);
    await layers.reap();
    assert.deepEqual(await readdir(join(folder, 'forms')), []);
  });

  it('that would write outside of their folder, or are too large, are refused', async () => {
    const cases = {
      escape: await tarOf([{ name: '../out', text: 'x' }]),
      beneath: await tarOf([
        { name: 'a', type: 'symlink', linkname: '/etc' },
        { name: 'a/b', text: 'x' },
      ]),
      hard: await tarOf([
        { name: 'a', type: 'symlink', linkname: '/etc' },
        { name: 'b', type: 'link', linkname: 'a/passwd' },
      ]),
      large: await tarOf([{ name: 'a', text: 'x'.repeat((1 << 20) + 1) }]),
    };
    for (const [tag, tar] of Object.entries(cases)) {
      await open.push('bad', tag, { layers: [{ bytes: gzipSync(tar) }], config });
      const image = await find(`${open.host}/bad:${tag}`);
      await assert.rejects(
        (await cache('bad')).acquire(image, undefined),
        /Archive|archive|beneath|bytes|escape/i,
        tag,
      );
    }
    assert.deepEqual(await readdir(join(folder, 'bad')), []);
  });
});

it('names of images are read as docker reads them', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const cases: [string, [string, string, string]][] = [
    ['nginx', ['registry-1.docker.io', 'library/nginx', 'latest']],
    ['docker.io/nginx:1', ['registry-1.docker.io', 'library/nginx', '1']],
    ['cloudfoundry/test-app:v2', ['registry-1.docker.io', 'cloudfoundry/test-app', 'v2']],
    ['ghcr.io/a/b/c', ['ghcr.io', 'a/b/c', 'latest']],
    ['localhost:5000/app', ['localhost:5000', 'app', 'latest']],
    [`reg.example/app:v1@${digest}`, ['reg.example', 'app', digest]],
  ];
  for (const [text, [host, repository, reference]] of cases)
    assert.deepEqual(parseImageName(text), { host, repository, reference }, text);
  for (const bad of ['', 'UPPER/case', 'a b', 'host:5000/', '../etc', 'a/../b', 'a@sha256:12', 'x.y/a?b', 'http://a/b'])
    assert.throws(() => parseImageName(bad), failsWith('image_invalid'), bad);
});

it('an image says what it runs and which ports it opens', () => {
  assert.equal(imageCommand({ Entrypoint: ['/run'], Cmd: ['a b', "it's"] }), `/run 'a b' 'it'\\''s'`);
  assert.deepEqual(imagePorts({ ExposedPorts: { '9000/tcp': {}, '53/udp': {}, '80': {} } }), [80, 9000]);
});
