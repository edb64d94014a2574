import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { DigestStream } from '#archive/digest.ts';
import { unpackTar } from '#archive/unpack-tar.ts';
import type { WardenClient } from '#http/warden-client.ts';
import { DigestMismatch } from '../download.ts';
import { FolderCache, type FolderCacheOptions } from '../folder-cache.ts';
import type { ImageLayer, StagedImage } from './image.ts';
import { ImageInvalid, RegistryFailed } from './image-errors.ts';
import type { RegistrySettings } from './registry-agent.ts';
import { Registry, type RegistryLogin } from './registry.ts';

export interface LayerCacheOptions extends Omit<FolderCacheOptions, 'what'> {
  max_layer_bytes: number;
  registries: RegistrySettings;
  layer_timeout_s: number;
  warden: Pick<WardenClient, 'convertLayer'>;
}

const MAX_ENTRIES = 1_000_000;

/**
 * Layers of images unpacked once each, whichever image they come with: `<sha256>/layer/…`, with whiteouts as overlay has them. Who
 * may have an image is the registry's to say at each pull of its config; a layer that is here is found only by whoever knows
 * its digest from there.
 */
export class LayerCache {
  readonly #options: LayerCacheOptions;
  readonly #folders: FolderCache;

  private constructor(options: LayerCacheOptions, folders: FolderCache) {
    this.#options = options;
    this.#folders = folders;
  }

  static async open(options: LayerCacheOptions): Promise<LayerCache> {
    return new LayerCache(options, await FolderCache.open({ ...options, what: 'image layer' }));
  }

  /**
   * The folders of an image's layers, lowest first. Give them back with `release`.
   * Errors: those of Registry, DigestMismatch, those of the archive room and of warden.
   */
  async acquire(image: StagedImage, login: RegistryLogin | undefined): Promise<string[]> {
    const registry = new Registry(image, { login, ...this.#options.registries });
    const layers = distinctLayers(image);
    const isWorthRetrying = (error: unknown): boolean => error instanceof RegistryFailed;
    const had = await Promise.allSettled(
      layers.map(async (layer) => {
        const fill = async (partial: string): Promise<number> => await this.#fetch(layer, registry, partial);
        return join(await this.#folders.acquire(nameOf(layer), { fill, isWorthRetrying }), 'layer');
      }),
    );
    const failed = had.find((one) => one.status === 'rejected');
    if (!failed) return had.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    for (const [n, { status }] of had.entries())
      if (status === 'fulfilled') this.#folders.release(nameOf(layers[n] as ImageLayer));
    throw failed.reason;
  }

  /** Counts a user of an image whose layers are here already. */
  hold(image: StagedImage): void {
    for (const layer of distinctLayers(image)) this.#folders.hold(nameOf(layer));
  }

  release(image: StagedImage): void {
    for (const layer of distinctLayers(image)) this.#folders.release(nameOf(layer));
  }

  async reap(): Promise<void> {
    await this.#folders.reap();
  }

  async #fetch(layer: ImageLayer, registry: Registry, partial: string): Promise<number> {
    const { max_layer_bytes, layer_timeout_s, warden } = this.#options;
    const root = join(partial, 'layer');
    let broken: unknown;
    try {
      await mkdir(root);
      const source = await registry.layer(layer, AbortSignal.timeout(layer_timeout_s * 1000));
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
      return bytes;
    } catch (error) {
      throw broken === undefined ? error : new RegistryFailed('the layer broke off', { cause: broken });
    }
  }
}

const nameOf = ({ digest }: ImageLayer): string => digest.slice('sha256:'.length);

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
