import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { DigestStream } from '#archive/digest.ts';
import { unpackTar } from '#archive/unpack-tar.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { Clock } from '#kernel/clock.ts';
import { systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';
import { DigestMismatch } from '../download.ts';
import type { ImageLayer, StagedImage } from './image.ts';
import { ImageInvalid, RegistryFailed } from './image-errors.ts';
import type { RegistrySettings } from './registry-agent.ts';
import { Registry, type RegistryLogin } from './registry.ts';

export interface LayerCacheOptions {
  folder: string;
  max_cached_mb: number;
  max_layer_bytes: number;
  registries: RegistrySettings;
  layer_timeout_s: number;
  warden: Pick<WardenClient, 'convertLayer'>;
  clock: Clock;
  log: Log;
}

const MAX_ENTRIES = 1_000_000;

/**
 * Layers of images unpacked once each, whichever image they come with: `<sha256>/layer/…`, with whiteouts as overlay has them. A
 * layer appears by one rename, as droplets do (droplet-cache.ts). Who may have an image is the registry's to say at each pull of
 * its config; a layer that is here is found only by whoever knows its digest from there.
 */
export class LayerCache {
  readonly #options: LayerCacheOptions;
  readonly #users = new Map<string, number>();
  readonly #fetching = new Map<string, Promise<void>>();

  private constructor(options: LayerCacheOptions) {
    this.#options = options;
  }

  static async open(options: LayerCacheOptions): Promise<LayerCache> {
    await mkdir(options.folder, { recursive: true });
    for (const name of await readdir(options.folder)) {
      if (name.endsWith('.partial')) await rm(join(options.folder, name), { recursive: true, force: true });
    }
    return new LayerCache(options);
  }

  /**
   * The folders of an image's layers, lowest first. Give them back with `release`.
   * Errors: those of Registry, DigestMismatch, those of the archive room and of warden.
   */
  async acquire(image: StagedImage, login: RegistryLogin | undefined): Promise<string[]> {
    this.hold(image);
    try {
      const registry = new Registry(image, { login, ...this.#options.registries });
      const layers = distinctLayers(image);
      await Promise.all(layers.map(async (layer) => await this.#have(layer, registry)));
      return layers.map(({ digest }) => join(this.#path(digest), 'layer'));
    } catch (error) {
      this.release(image);
      throw error;
    }
  }

  /** Counts a user of an image whose layers are here already. */
  hold(image: StagedImage): void {
    for (const { digest } of distinctLayers(image)) this.#users.set(digest, (this.#users.get(digest) ?? 0) + 1);
  }

  release(image: StagedImage): void {
    const now = new Date(this.#options.clock.now());
    for (const { digest } of distinctLayers(image)) {
      const users = (this.#users.get(digest) ?? 0) - 1;
      if (users > 0) this.#users.set(digest, users);
      else {
        this.#users.delete(digest);
        utimes(this.#path(digest), now, now).catch(() => {});
      }
    }
  }

  /** Deletes unused layers, those longest unused first, until the rest is within the limit. */
  async reap(): Promise<void> {
    const { folder, max_cached_mb, log } = this.#options;
    const held: { name: string; bytes: number; used_ms: number }[] = [];
    for (const name of await readdir(folder)) {
      if (name.endsWith('.partial')) continue;
      const bytes = Number(await readFile(join(folder, name, 'bytes'), 'utf8').catch(() => '0'));
      held.push({ name, bytes, used_ms: (await stat(join(folder, name))).mtimeMs });
    }
    let total = held.reduce((sum, layer) => sum + layer.bytes, 0);
    for (const { name, bytes } of held.sort((a, b) => a.used_ms - b.used_ms)) {
      if (total <= max_cached_mb * 1024 * 1024) return;
      if (this.#users.has(`sha256:${name}`)) continue;
      const doomed = join(folder, `${name}.${randomBytes(4).toString('hex')}.partial`);
      await rename(join(folder, name), doomed);
      await rm(doomed, { recursive: true, force: true });
      total -= bytes;
      log.info({ layer: name, bytes }, 'image layer evicted');
    }
  }

  #path(digest: string): string {
    return join(this.#options.folder, digest.slice('sha256:'.length));
  }

  async #have(layer: ImageLayer, registry: Registry): Promise<void> {
    if (await exists(this.#path(layer.digest))) return;
    let fetching = this.#fetching.get(layer.digest);
    if (!fetching) {
      fetching = this.#fetch(layer, registry).finally(() => this.#fetching.delete(layer.digest));
      this.#fetching.set(layer.digest, fetching);
    }
    await fetching;
  }

  async #fetch(layer: ImageLayer, registry: Registry): Promise<void> {
    const { clock, log } = this.#options;
    const from_ms = clock.monotonic();
    await retry(async () => await this.#fetchOnce(layer, registry), {
      clock,
      attempts: 4,
      first_delay_ms: 200,
      max_delay_ms: 2000,
      isWorthRetrying: (error) => error instanceof RegistryFailed,
    });
    log.info({ layer: layer.digest, duration_ms: Math.round(clock.monotonic() - from_ms) }, 'image layer unpacked');
  }

  async #fetchOnce(layer: ImageLayer, registry: Registry): Promise<void> {
    const { max_layer_bytes, warden } = this.#options;
    const final = this.#path(layer.digest);
    const partial = `${final}.${randomBytes(4).toString('hex')}.partial`;
    const root = join(partial, 'layer');
    let broken: unknown;
    try {
      await mkdir(root, { recursive: true });
      const late = AbortSignal.timeout(this.#options.layer_timeout_s * 1000);
      const source = await registry.layer(layer, late);
      const digest = new DigestStream('sha256');
      const tar = decompressed(layer);
      // Whoever unpacks sees only that the archive has no end; that it is the registry's fault is known here.
      source.once('error', (error) => (broken = error));
      const fed = pipeline(source, digest, tar).catch(() => {});
      const limits = { max_bytes: max_layer_bytes, max_entries: MAX_ENTRIES };
      const { bytes } = await unpackTar(tar, root, { ...limits, links: 'kept', owner: 'as said' });
      await fed;
      const got = `sha256:${digest.digest}`;
      if (got !== layer.digest) throw new DigestMismatch('layer', layer.digest, got);
      await warden.convertLayer(root);
      await writeFile(join(partial, 'bytes'), String(bytes));
      await rename(partial, final);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw broken === undefined ? error : new RegistryFailed('the layer broke off', { cause: broken });
    }
  }
}

/** A layer that an image has twice counts where it is highest: overlay takes no folder twice, and the higher hides the lower. */
function distinctLayers({ layers }: StagedImage): ImageLayer[] {
  return layers.filter(({ digest }, at) => layers.findLastIndex((other) => other.digest === digest) === at);
}

function decompressed({ media_type }: ImageLayer): NodeJS.ReadWriteStream & Readable {
  if (media_type.endsWith('gzip')) return createGunzip();
  if (media_type.endsWith('zstd')) return createZstdDecompress();
  if (media_type.endsWith('.tar')) return new PassThrough();
  throw new ImageInvalid(`the image has a layer of the type ${JSON.stringify(media_type)}, which we cannot read`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
