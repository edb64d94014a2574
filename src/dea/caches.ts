import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComponentContext } from '#kernel/component.ts';
import { describeError } from '#kernel/errors.ts';
import type { WardenClient } from '#http/warden-client.ts';
import type { DeaConfig } from './config.ts';
import { LayerCache } from './docker/layer-cache.ts';
import { DropletCache } from './droplet-cache.ts';
import { BuildpackCache } from './staging/buildpack-cache.ts';

/** The caches below `base_dir`, and what keeps them within their limits. */
export async function openCaches(config: DeaConfig, context: ComponentContext & { warden: WardenClient }) {
  // What builds of a killed DEA had downloaded is of no use.
  await rm(join(config.base_dir, 'staging'), { recursive: true, force: true });
  const droplets = await DropletCache.open({
    ...context,
    folder: join(config.base_dir, 'droplets'),
    max_cached_mb: config.droplet_cache_mb,
    max_droplet_bytes: config.instance.max_droplet_bytes,
  });
  const buildpacks = await BuildpackCache.open({
    ...context,
    folder: join(config.base_dir, 'buildpacks'),
    max_cached_mb: config.buildpack_cache_mb,
  });
  const images = await LayerCache.open({
    ...context,
    folder: join(config.base_dir, 'image-layers'),
    max_cached_mb: config.docker.layer_cache_mb,
    max_layer_bytes: config.docker.max_layer_bytes,
    registries: config.docker,
    layer_timeout_s: config.docker.layer_timeout_s,
  });
  const reap = async (): Promise<void> => {
    try {
      await Promise.all([droplets.reap(), buildpacks.reap(), images.reap()]);
    } catch (error) {
      context.log.warn({ error: describeError(error) }, 'caches not reaped');
    }
  };
  return { droplets, buildpacks, images, reap };
}
