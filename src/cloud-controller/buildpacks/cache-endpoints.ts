import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Deps } from '../deps.ts';

/** All apps' staging caches at once; one app's is cleared by the app's own action. */
export function registerBuildpackCacheEndpoints(server: FastifyInstance, { db, jobs, operations, apps }: Deps): void {
  operations.register(
    'admin.clear_buildpack_cache',
    (given) => z.object({}).parse(given),
    async (_payload, { signal }) => {
      for await (const { key } of apps.blobs.list('cc-droplets')) {
        signal.throwIfAborted();
        // As `stagingCacheKey` makes them: no droplet's key has a word in it.
        if (key.includes('-cache-')) await apps.blobs.delete('cc-droplets', key);
      }
    },
  );

  server.post('/v3/admin/actions/clear_buildpack_cache', async ({ caller }, reply) => {
    caller.require('platform.write');
    const operation = 'admin.clear_buildpack_cache';
    return await jobs.accept(reply, await jobs.enqueue(db, { operation, payload: {}, user_guid: caller.guid }));
  });
}
