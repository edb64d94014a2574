import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { Readable } from 'node:stream';
import { type Agent, fetch, type Response } from 'undici';
import { z } from 'zod';
import type { DockerImage } from '#contracts/dea.ts';
import { describeError } from '#kernel/errors.ts';
import { DigestMismatch } from '../download.ts';
import { Digest, ImageConfig, type ImageLayer, type StagedImage } from './image.ts';
import { ImageInvalid, ImageNotFound, RegistryDenied, RegistryFailed, RegistryForbidden } from './image-errors.ts';
import { type ImageName, parseImageName } from './image-name.ts';
import { agentFor, type RegistrySettings } from './registry-agent.ts';

export interface RegistryLogin {
  username: string;
  password: string;
}

/** Undefined for images that anybody may have. */
export function loginOf({ username, password }: DockerImage): RegistryLogin | undefined {
  return username === undefined || password === undefined ? undefined : { username, password };
}

const MANIFESTS = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const INDEXES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
/** Of a manifest or config: none that is honest comes near it. */
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 30_000;
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

const Described = z.object({ digest: Digest, size: z.number().int().nonnegative(), mediaType: z.string() });
const Manifest = z.object({ config: Described, layers: z.array(Described).max(127) });
const Index = z.object({
  manifests: z.array(
    Described.extend({ platform: z.object({ os: z.string(), architecture: z.string() }).loose().nullish() }),
  ),
});
const ConfigFile = z.object({
  os: z.string(),
  architecture: z.string(),
  config: ImageConfig.nullish(),
});
const Token = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/**
 * One repository of a registry, read by the Docker Registry HTTP API V2 (OCI distribution spec). What is named by its digest is
 * checked against it. Plain HTTP is spoken with loopback addresses and with `insecure_registries`, TLS with all others.
 */
export class Registry {
  readonly #name: Pick<ImageName, 'host' | 'repository'>;
  readonly #base: string;
  readonly #login: RegistryLogin | undefined;
  readonly #agent: Agent;
  #authorization: string | undefined;

  constructor(
    name: Pick<ImageName, 'host' | 'repository'>,
    options: { login?: RegistryLogin | undefined } & RegistrySettings,
  ) {
    this.#name = name;
    const isPlain = isLoopback(name.host) || options.insecure_registries.includes(name.host);
    this.#base = `${isPlain ? 'http' : 'https'}://${name.host}/v2/${name.repository}`;
    this.#login = options.login;
    this.#agent = agentFor(name.host, options);
  }

  /** A layer's bytes as they are stored; the reader checks the digest. Errors: ImageNotFound, RegistryDenied, RegistryFailed. */
  async layer({ digest }: ImageLayer, signal?: AbortSignal): Promise<Readable> {
    const response = await this.#get(`/blobs/${digest}`, { what: `the layer ${digest}`, signal });
    if (response.body === null) throw new RegistryFailed(`the registry gave nothing for the layer ${digest}`);
    return Readable.fromWeb(response.body);
  }

  /** Errors: ImageInvalid, ImageNotFound, RegistryDenied, RegistryFailed, DigestMismatch. */
  async image(reference: string, signal?: AbortSignal): Promise<StagedImage> {
    const { host, repository } = this.#name;
    let found = await this.#manifest(reference, signal);
    const index = Index.safeParse(found.body);
    if (index.success) found = await this.#manifest(ofThisMachine(index.data), signal);
    const manifest = checked(Manifest, found.body, 'manifest');
    const bytes = await this.#document(`/blobs/${manifest.config.digest}`, { what: "the image's config", signal });
    checkDigest("image's config", manifest.config.digest, bytes);
    const { os, architecture, config } = checked(ConfigFile, parsed(bytes, 'config'), 'config');
    if (os !== 'linux' || architecture !== OWN_ARCHITECTURE)
      throw new ImageInvalid(`the image is for ${os}/${architecture}, and the cells are linux/${OWN_ARCHITECTURE}`);
    const layers = manifest.layers.map(({ digest, size, mediaType }) => ({ digest, size, media_type: mediaType }));
    if (layers.length === 0) throw new ImageInvalid('the image has no layers');
    return { host, repository, digest: found.digest, layers, config: config ?? {} };
  }

  async #manifest(reference: string, signal?: AbortSignal): Promise<{ digest: string; body: unknown }> {
    const accept = [...MANIFESTS, ...INDEXES].join(', ');
    const what = `the image ${this.#name.repository}`;
    const bytes = await this.#document(`/manifests/${reference}`, { what, accept, signal });
    const digest = sha256(bytes);
    if (Digest.safeParse(reference).success) checkDigest("image's manifest", reference, bytes);
    return { digest, body: parsed(bytes, 'manifest') };
  }

  async #document(path: string, options: GetOptions): Promise<Buffer> {
    const response = await this.#get(path, options);
    return await read(response, options.what);
  }

  /** Once more with a token or the login, when the registry asks for it. */
  async #get(path: string, options: GetOptions): Promise<Response> {
    let response = await this.#ask(this.#base + path, options);
    if (response.status === 401) {
      const challenge = response.headers.get('www-authenticate') ?? '';
      await response.body?.cancel();
      this.#authorization = await this.#authorize(challenge, options);
      response = await this.#ask(this.#base + path, options);
    }
    if (response.ok) return response;
    await response.body?.cancel();
    const { host } = this.#name;
    if (response.status === 401 || response.status === 403)
      throw new RegistryDenied(
        `the registry ${host} does not let us have ${options.what}: check user name and password`,
      );
    if (response.status === 404) throw new ImageNotFound(`the registry ${host} does not have ${options.what}`);
    throw new RegistryFailed(`the registry ${host} answered with status ${response.status} for ${options.what}`);
  }

  async #ask(url: string, { accept, signal, what }: GetOptions): Promise<Response> {
    const headers = {
      ...(accept !== undefined && { Accept: accept }),
      ...(this.#authorization !== undefined && { Authorization: this.#authorization }),
    };
    // Only until the head is there: how long a layer takes is the caller's to bound.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), ANSWER_TIMEOUT_MS);
    try {
      const both = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
      return await fetch(url, { headers, signal: both, dispatcher: this.#agent });
    } catch (error) {
      signal?.throwIfAborted();
      const forbidden = causesOf(error).find((cause) => cause instanceof RegistryForbidden);
      if (forbidden) throw forbidden;
      throw new RegistryFailed(`the registry ${this.#name.host} cannot be reached for ${what}: ${shortly(error)}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** What to say in `Authorization`. Source: distribution's token authentication specification. */
  async #authorize(challenge: string, options: GetOptions): Promise<string | undefined> {
    const basic =
      this.#login && `Basic ${Buffer.from(`${this.#login.username}:${this.#login.password}`).toString('base64')}`;
    const [scheme = ''] = challenge.split(' ', 1);
    if (scheme.toLowerCase() === 'basic') return basic;
    if (scheme.toLowerCase() !== 'bearer') return undefined;
    const fields = new Map(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]),
    );
    const url = URL.parse(fields.get('realm') ?? '');
    // The login goes there: never in the clear, unless the registry itself is spoken with so.
    if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && this.#base.startsWith('http:'))))
      throw new RegistryFailed(`the registry ${this.#name.host} names no place that gives tokens`);
    const service = fields.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', fields.get('scope') ?? `repository:${this.#name.repository}:pull`);
    this.#authorization = basic;
    const response = await this.#ask(url.href, { what: 'a token', signal: options.signal });
    if (!response.ok) {
      await response.body?.cancel();
      this.#authorization = undefined;
      throw new RegistryDenied(`the registry ${this.#name.host} gives no token: check user name and password`);
    }
    const { token, access_token } = checked(Token, parsed(await read(response, 'a token'), 'token'), 'token');
    return `Bearer ${token ?? access_token ?? ''}`;
  }
}

interface GetOptions {
  /** For messages. */
  what: string;
  accept?: string;
  signal?: AbortSignal | undefined;
}

const OWN_ARCHITECTURE = ARCHITECTURES[process.arch] ?? process.arch;

/** Finds an image by its name. Errors: as Registry.image, and ImageInvalid for what is no name. */
export async function findImage(
  image: string,
  options: { login?: RegistryLogin | undefined; signal?: AbortSignal } & RegistrySettings,
): Promise<StagedImage> {
  const name = parseImageName(image);
  return await new Registry(name, options).image(name.reference, options.signal);
}

function ofThisMachine(index: z.output<typeof Index>): string {
  const own = index.manifests.find(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === OWN_ARCHITECTURE,
  );
  if (own) return own.digest;
  throw new ImageInvalid(`the image is not there for linux/${OWN_ARCHITECTURE}`);
}

function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

async function read(response: Response, what: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of response.body ?? []) {
      size += piece.length;
      if (size > MAX_DOCUMENT_BYTES) throw new ImageInvalid(`${what} is over ${MAX_DOCUMENT_BYTES} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof ImageInvalid) throw error;
    throw new RegistryFailed(`the registry broke off giving ${what}`, { cause: error });
  }
  return Buffer.concat(pieces);
}

function parsed(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new ImageInvalid(`the image's ${what} is not JSON`, { cause: error });
  }
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ImageInvalid(`the image's ${what} is not one that we know: ${z.prettifyError(result.error)}`);
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function checkDigest(what: string, expected: string, bytes: Buffer): void {
  const got = sha256(bytes);
  if (got !== expected) throw new DigestMismatch(what, expected, got);
}

function causesOf(error: unknown): unknown[] {
  return error instanceof Error ? [error, ...causesOf(error.cause)] : [error];
}

/** The last cause says it: "connect ECONNREFUSED 127.0.0.1:5000". */
function shortly(error: unknown): string {
  return describeError(error).split(': ').at(-1) ?? '';
}
