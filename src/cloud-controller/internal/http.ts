import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { BlobNameInvalid, BlobNotFound, isBucket } from '#blobs/blobstore.ts';
import { TaskResult, type BulkApps } from '#contracts/cloud-controller.ts';
import { CfError, notFound } from '#contracts/cf-errors.ts';
import { StagingResult } from '#contracts/staging.ts';
import { isAuthorized } from '#http/basic-auth.ts';
import { useCfErrors } from '#http/cf-errors.ts';
import { createHttpServer } from '#http/server.ts';
import { parseBody } from '../api/body.ts';
import type { Deps } from '../deps.ts';
import { registerJobOperatorEndpoints } from '../jobs/operator-endpoints.ts';
import { asCfError } from '../packages/upload.ts';
import { presentDesired } from '../runtime/dispatcher.ts';
import { completeStaging } from '../staging/complete.ts';
import { completeTask } from '../tasks/complete.ts';
import { registerAccess } from './access.ts';
import { registerSyslogDrains } from './syslog-drains.ts';

const BulkQuery = z.object({
  batch_size: z.coerce.number().int().min(1).max(10_000).default(500),
  bulk_token: z
    .string()
    .regex(/^\d{1,18}$/)
    .default('0'),
});

/** The face for other components, per contracts/cloud-controller.ts. It listens nowhere yet. */
export function createInternalServer(deps: Deps): FastifyInstance {
  const { config, log } = deps;
  const server = createHttpServer({ log, body_limit_bytes: config.limits.body_max_bytes });
  useCfErrors(server, log);
  server.addHook('onRequest', async (request) => {
    // A signed URL is its own permission; log and ssh access come with the user's token.
    if (/^\/internal\/(blobs|v4\/log_access|apps)\//.test(request.url)) return;
    if (!isAuthorized(request.headers.authorization, config.internal_api)) {
      throw new CfError('NotAuthenticated', 'Authentication error');
    }
  });
  registerBulk(server, deps);
  registerCompletions(server, deps);
  registerBlobs(server, deps);
  registerAccess(server, deps);
  registerSyslogDrains(server, deps);
  registerJobOperatorEndpoints(server, deps);
  return server;
}

/** The desired state, in the order of ids, so that what changes meanwhile is neither lost nor said twice. */
function registerBulk(server: FastifyInstance, { db }: Deps): void {
  server.get('/internal/bulk/apps', async ({ query }): Promise<BulkApps> => {
    const { batch_size, bulk_token } = parseBody(BulkQuery, query);
    const rows = await db
      .selectFrom('processes')
      .select(['id', 'guid', 'app_guid', 'version', 'instances', 'state'])
      .where('id', '>', Number(bulk_token))
      .where('state', '=', 'STARTED')
      .orderBy('id')
      .limit(batch_size)
      .execute();
    const last = rows.length === batch_size ? rows.at(-1) : undefined;
    return { results: rows.map(presentDesired), bulk_token: last ? String(last.id) : null };
  });
}

function registerCompletions(server: FastifyInstance, deps: Deps): void {
  const { db, apps, config, log } = deps;
  const ended = (what: string): CfError => new CfError('UnprocessableEntity', `The ${what} has ended already`);

  server.post<{ Params: { build_guid: string } }>(
    '/internal/staging/:build_guid/completed',
    async ({ params, body }, reply) => {
      const result = parseBody(StagingResult, body);
      const done = await completeStaging(
        { db, blobs: apps.blobs, droplets_kept: config.limits.droplets_kept },
        params.build_guid,
        result,
      );
      if (done.completion === 'unknown') throw notFound('Build');
      if (done.completion === 'ended') return reply.code(409).send(ended('build').toJSON());
      log.info({ build_guid: params.build_guid, dea: result.dea, outcome: result.outcome }, 'build ended');
      for (const guid of done.expired) await apps.blobs.delete('cc-droplets', guid);
      return {};
    },
  );

  server.post<{ Params: { task_guid: string } }>(
    '/internal/tasks/:task_guid/completed',
    async ({ params, body }, reply) => {
      const completion = await completeTask(db, params.task_guid, parseBody(TaskResult, body));
      if (completion === 'unknown') throw notFound('Task');
      if (completion === 'ended') return reply.code(409).send(ended('task').toJSON());
      return {};
    },
  );
}

function registerBlobs(server: FastifyInstance, { db, apps, config }: Deps): void {
  type Named = {
    Params: { bucket: string; key: string };
    Querystring: { expires?: string; signature?: string };
  };
  const path = '/internal/blobs/:bucket/:key';
  const grant = (
    method: 'GET' | 'PUT',
    { params, query }: { params: Named['Params']; query: Named['Querystring'] },
  ): { bucket: Parameters<typeof apps.blobs.get>[0]; key: string } => {
    const { bucket, key } = params;
    const { expires = '', signature = '' } = query;
    if (!isBucket(bucket) || !apps.signer.isGranted({ method, bucket, key }, { expires, signature })) {
      throw new CfError('NotAuthorized', 'The signature does not permit this, or is expired');
    }
    return { bucket, key };
  };

  server.get<Named>(path, async (request, reply) => {
    const { bucket, key } = grant('GET', request);
    try {
      const range = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(request.headers.range ?? '');
      const wanted = range ? { start: Number(range[1]), end: Number(range[2]) } : undefined;
      const blob = await apps.blobs.get(bucket, key, wanted);
      if (wanted) {
        const end = wanted.start + blob.size - 1;
        reply.code(206).header('Content-Range', `bytes ${wanted.start}-${end}/${blob.total_size}`);
      }
      return reply.type('application/octet-stream').header('Content-Length', blob.size).send(blob.stream);
    } catch (error) {
      if (error instanceof BlobNotFound || error instanceof BlobNameInvalid) throw notFound('Blob');
      throw asCfError(error);
    }
  });

  void server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.put<Named>(path, { bodyLimit: Number.MAX_SAFE_INTEGER }, async (request, reply) => {
      const { bucket, key } = grant('PUT', request);
      // A stager that was given up must not change what was staged by another and may run already.
      const staged = await db.selectFrom('droplets').select('guid').where('guid', '=', key).executeTakeFirst();
      if (staged) return reply.code(409).send(new CfError('UnprocessableEntity', 'The blob is final').toJSON());
      try {
        const limits = { max_bytes: config.limits.upload_max_bytes };
        const { size, sha256 } = await apps.blobs.put(bucket, key, request.raw, limits);
        return await reply.code(201).send({ size, sha256 });
      } catch (error) {
        throw asCfError(error);
      }
    });
  });
}
