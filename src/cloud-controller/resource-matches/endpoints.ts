import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import type { Deps } from '../deps.ts';
import { findFeatureFlag } from '../feature-flags/store.ts';
import { matchResources } from './cache.ts';

const MAX_RESOURCES = 5000;

const Resource = z.looseObject({
  checksum: z.looseObject({
    value: z.string({ error: 'At least one checksum value is not a string' }).regex(/^[0-9a-f]{40}$/i, {
      error: 'At least one checksum value is not SHA-1 formatted',
    }),
  }),
  size_in_bytes: z
    .number({ error: 'All sizes must be non-negative integers' })
    .int({ error: 'All sizes must be non-negative integers' })
    .min(0, { error: 'All sizes must be non-negative integers' }),
  path: z.string().optional(),
  mode: z.string().optional(),
});

const Body = z.strictObject({
  resources: z
    .array(Resource)
    .min(1, { error: 'Resources must have at least 1 resource' })
    .max(MAX_RESOURCES, { error: `Resources array can have at most ${MAX_RESOURCES} resources` }),
});

/** Which files of a package the platform has already, so that they need not be sent. */
export function registerResourceMatchEndpoints(server: FastifyInstance, { db, config, apps }: Deps): void {
  server.post(
    '/v3/resource_matches',
    { bodyLimit: 32 * 1024 * 1024, config: { body: Body } },
    async ({ body, caller }, reply) => {
      const mayMatch = caller.isAdmin || caller.claims.scope.includes('cloud_controller.write');
      if (!mayMatch) throw new CfError('NotAuthorized', 'You are not authorized to perform the requested action');
      const { resources } = parseBody(Body, body);
      if (!(await findFeatureFlag(db, 'resource_matching')).enabled) return reply.code(201).send({ resources: [] });
      const wanted = resources.map((resource) => ({
        resource,
        sha1: resource.checksum.value.toLowerCase(),
        size: resource.size_in_bytes,
      }));
      const matched = await matchResources(apps.blobs, wanted, config.limits);
      return reply.code(201).send({ resources: matched.map(({ resource }) => resource) });
    },
  );
}
