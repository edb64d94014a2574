import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StartMessage } from '#contracts/dea.ts';
import { StagedImage } from './docker/image.ts';
import { ImageInvalid } from './docker/image-errors.ts';
import type { LayerCache } from './docker/layer-cache.ts';
import { loginOf } from './docker/registry.ts';
import type { DropletCache } from './droplet-cache.ts';
import { rejectionOf } from './rejection-of.ts';
import type { ServiceBindings } from './service-bindings.ts';

interface Caches {
  droplets: DropletCache;
  images: LayerCache;
  bindings: ServiceBindings;
}

/** Where its droplet has an image's description: droplets are unpacked below home/vcap. */
const IMAGE_FILE = 'home/vcap/image.json';

/** The folders that one instance's container is made of, held in the caches for as long as it lives. */
export class InstanceRoot {
  readonly #start: StartMessage;
  readonly #caches: Caches;
  readonly #releases: (() => void)[] = [];

  constructor(start: StartMessage, caches: Caches) {
    this.#start = start;
    this.#caches = caches;
  }

  /** Of an instance that outlived us. */
  hold(image: StagedImage | undefined): void {
    const { droplets, images } = this.#caches;
    droplets.hold(this.#start.droplet_sha256);
    this.#releases.push(() => this.#releaseBindings());
    this.#releases.push(() => droplets.release(this.#start.droplet_sha256));
    if (!image) return;
    images.hold(image);
    this.#releases.push(() => images.release(image));
  }

  /**
   * The droplet's layer, or those of the image that it describes. Whoever stops an instance does not wait for a large one first.
   * Errors: the signal's reason, those of the caches, ImageInvalid.
   */
  async acquire(
    stop: AbortSignal,
  ): Promise<{ layers: string[]; image?: StagedImage; bind_mounts: Awaited<ReturnType<ServiceBindings['acquire']>> }> {
    const { droplets, images, bindings } = this.#caches;
    const { droplet_sha256, droplet_uri, docker } = this.#start;
    const release = (): void => droplets.release(droplet_sha256);
    const layer = await this.#unlessStopped(droplets.acquire(droplet_sha256, droplet_uri), release, stop);
    this.#releases.push(() => this.#releaseBindings());
    const bind_mounts = await bindings.acquire(this.#start.instance, this.#start);
    if (!docker) return { layers: [layer], bind_mounts };
    const image = await readImage(join(layer, IMAGE_FILE));
    const fetching = images.acquire(image, loginOf(docker));
    const layers = await this.#unlessStopped(fetching, () => images.release(image), stop);
    return { layers, image, bind_mounts };
  }

  release(): void {
    for (const release of this.#releases.splice(0)) release();
  }

  #releaseBindings(): void {
    // What stays after all is swept at the next start.
    this.#caches.bindings.release(this.#start.instance).catch(() => {});
  }

  async #unlessStopped<T>(fetching: Promise<T>, release: () => void, stop: AbortSignal): Promise<T> {
    try {
      const held = await Promise.race([fetching, rejectionOf(stop)]);
      this.#releases.push(release);
      return held;
    } catch (error) {
      if (stop.aborted) fetching.then(release).catch(() => {});
      throw error;
    }
  }
}

async function readImage(path: string): Promise<StagedImage> {
  try {
    return StagedImage.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    throw new ImageInvalid('the droplet does not describe an image', { cause: error });
  }
}
