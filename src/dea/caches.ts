import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComponentContext } from '#kernel/component.ts';
import { describeError } from '#kernel/errors.ts';
import type { DeaConfig } from './config.ts';
import { DropletCache } from './droplet-cache.ts';
import { BuildpackCache } from './staging/buildpack-cache.ts';

/** The caches below `base_dir`, and what keeps both within their limits. */
export async function openCaches(config: DeaConfig, context: ComponentContext) {
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
  const reap = async (): Promise<void> => {
    try {
      await Promise.all([droplets.reap(), buildpacks.reap()]);
    } catch (error) {
      context.log.warn({ error: describeError(error) }, 'caches not reaped');
    }
  };
  return { droplets, buildpacks, reap };
}
