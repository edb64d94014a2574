import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack, type Header } from 'tar-stream';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

export const REGISTRY_LOGIN = { username: 'puller', password: 'pull-secret' };
/** bcrypt of that password. */
const HTPASSWD = 'puller:$2b$04$abcdefghijklmnopqrstuuH5wTQzvC3Zall/mZjSDa23DrVdMWhT6\n';
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

export interface SampleLayer {
  media_type?: string;
  bytes: Buffer;
}

/** Debian's docker-registry on a free loopback port, with an empty storage of its own. */
export class ImageRegistry implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(options: { has_login?: boolean } = {}): Promise<ImageRegistry> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-registry-'));
    const port = await freePort();
    await writeFile(join(folder, 'htpasswd'), HTPASSWD);
    const auth = options.has_login ? { auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } } } : {};
    const config = {
      version: '0.1',
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(folder, 'images') } },
      http: { addr: `127.0.0.1:${port}`, secret: 'test' },
      ...auth,
    };
    await writeFile(join(folder, 'config.yml'), JSON.stringify(config));
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
    const registry = new ImageRegistry(port, folder, child);
    await eventually('the registry answers', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined);
      return answer !== undefined && [200, 401].includes(answer.status);
    });
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Stores bytes below their digest, which it returns. */
  async blob(repository: string, bytes: Buffer): Promise<string> {
    const begun = await this.#send(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const digest = digestOf(bytes);
    const to = new URL(begun.headers.get('location') ?? '', `http://${this.host}`);
    to.searchParams.set('digest', digest);
    await this.#send(to.pathname + to.search, {
      method: 'PUT',
      body: new Uint8Array(bytes),
      headers: { 'Content-Type': 'application/octet-stream' },
    });
    return digest;
  }

  /** Stores an image and returns its manifest's digest. */
  async push(
    repository: string,
    tag: string,
    image: { layers: readonly SampleLayer[]; config: object; architecture?: string },
  ): Promise<string> {
    const { layers, config, architecture = ARCHITECTURE } = image;
    const described = [];
    for (const { bytes, media_type = 'application/vnd.docker.image.rootfs.diff.tar.gzip' } of layers)
      described.push({ mediaType: media_type, size: bytes.length, digest: await this.blob(repository, bytes) });
    const rootfs = { type: 'layers', diff_ids: described.map(({ digest }) => digest) };
    const file = Buffer.from(JSON.stringify({ os: 'linux', architecture, config, rootfs }));
    const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: 'application/vnd.docker.container.image.v1+json',
        size: file.length,
        digest: await this.blob(repository, file),
      },
      layers: described,
    };
    return await this.manifest(repository, tag, manifest);
  }

  /** Stores a list of images, one for each architecture. */
  async pushList(repository: string, tag: string, digests: Readonly<Record<string, string>>): Promise<string> {
    return await this.manifest(repository, tag, {
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
      manifests: Object.entries(digests).map(([architecture, digest]) => ({
        mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
        size: 1,
        digest,
        platform: { os: 'linux', architecture },
      })),
    });
  }

  async manifest(
    repository: string,
    tag: string,
    manifest: { mediaType: string; [field: string]: unknown },
  ): Promise<string> {
    const body = JSON.stringify(manifest);
    const headers = { 'Content-Type': manifest.mediaType };
    await this.#send(`/v2/${repository}/manifests/${tag}`, { method: 'PUT', body, headers });
    return digestOf(Buffer.from(body));
  }

  /** Where the bytes of a digest lie, for tests that spoil them. */
  pathOf(digest: string): string {
    const hex = digest.slice('sha256:'.length);
    return join(this.#folder, 'images/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const { username, password } = REGISTRY_LOGIN;
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    const headers = new Headers(init.headers);
    headers.set('Authorization', authorization);
    const answer = await fetch(`http://${this.host}${path}`, { ...init, headers });
    if (!answer.ok) throw new Error(`the registry answered ${answer.status} to ${path}: ${await answer.text()}`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill();
      await once(this.#child, 'exit');
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A tar of these entries, in their order. */
export async function tarOf(entries: readonly (Partial<Header> & { name: string; text?: string })[]): Promise<Buffer> {
  const tar = pack();
  for (const { text, ...header } of entries) tar.entry(header, text ?? '');
  tar.finalize();
  return Buffer.concat(await Array.fromAsync(tar as AsyncIterable<Buffer>));
}
