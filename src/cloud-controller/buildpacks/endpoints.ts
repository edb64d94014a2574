import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import { type Links, presentCommon, presentMetadata } from '../api/links.ts';
import { presentPage } from '../api/list-store.ts';
import { badQuery, type ListSpec, parseList } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';
import { spoolUpload, withMultipart } from '../api/multipart.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { asCfError } from '../packages/upload.ts';
import { storeBits, takeBits } from './bits.ts';
import {
  type Buildpack,
  deleteBuildpack,
  findBuildpack,
  insertBuildpack,
  listBuildpacks,
  updateBuildpack,
} from './store.ts';

const FIELDS = {
  stack: z.string().min(1).max(250).nullable().optional(),
  position: z.number().int().min(1, { error: 'Position must be greater than or equal to 1' }).optional(),
  enabled: z.boolean().optional(),
  locked: z.boolean().optional(),
  metadata: MetadataUpdate.optional(),
};
const BuildpackName = z
  .string()
  .min(1)
  .max(250)
  .regex(/^[\w-]+$/, { error: 'Name can only contain alphanumeric characters, dashes and underscores' });
const CreateBuildpack = z.strictObject({
  name: BuildpackName,
  lifecycle: z.enum(['buildpack'], { error: 'Lifecycle must be buildpack' }).optional(),
  ...FIELDS,
});
const UpdateBuildpack = z.strictObject({ name: BuildpackName.optional(), ...FIELDS });

const LIST: ListSpec = {
  filters: ['names', 'stacks'],
  plain: ['lifecycle'],
  order: ['position', 'lifecycle'],
  labels: true,
};
type ByGuid = { Params: { guid: string } };

export function registerBuildpackEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations, config } = deps;
  const see = async (guid: string): Promise<Buildpack> => {
    const found = await findBuildpack(db, guid);
    if (!found) throw notFound('Buildpack');
    return found;
  };

  server.get('/v3/buildpacks', { config: { list: LIST } }, async (request) => {
    const query = parseList(request, LIST);
    const lifecycle = query.plain['lifecycle'];
    if (lifecycle !== undefined && lifecycle !== 'buildpack' && lifecycle !== 'cnb') {
      throw badQuery("Lifecycle must be one of: 'buildpack', 'cnb'");
    }
    return presentPage(await listBuildpacks(db, query), {
      query,
      links,
      present: (row) => presentBuildpack(row, links),
    });
  });

  server.get<ByGuid>('/v3/buildpacks/:guid', async ({ params }) => presentBuildpack(await see(params.guid), links));

  server.post('/v3/buildpacks', { config: { body: CreateBuildpack } }, async ({ body, caller }, reply) => {
    caller.require('platform.write');
    const wanted = parseBody(CreateBuildpack, body);
    const created = await inTransaction(db, async (trx) => await insertBuildpack(trx, wanted));
    return reply.code(201).send(presentBuildpack(created, links));
  });

  server.patch<ByGuid>(
    '/v3/buildpacks/:guid',
    { config: { body: UpdateBuildpack } },
    async ({ params, body, caller }) => {
      const found = await see(params.guid);
      caller.require('platform.write');
      const wanted = parseBody(UpdateBuildpack, body);
      return presentBuildpack(await inTransaction(db, async (trx) => await updateBuildpack(trx, found, wanted)), links);
    },
  );

  const Payload = z.object({ guid: z.string() });
  operations.register(
    'buildpack.delete',
    (given) => Payload.parse(given),
    async ({ guid }, context) => {
      const found = await findBuildpack(db, guid);
      if (!found) return;
      await inTransaction(db, async (trx) => {
        await deleteBuildpack(trx, found);
        await context.complete(trx);
      });
      await takeBits(deps, found);
    },
  );
  server.delete<ByGuid>('/v3/buildpacks/:guid', async ({ params, caller }, reply) => {
    const found = await see(params.guid);
    caller.require('platform.write');
    const job_guid = await jobs.enqueue(db, {
      operation: 'buildpack.delete',
      resource: { type: 'buildpacks', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job_guid);
  });

  // The bits are stored within the request; what is left to the job is to end, which is what clients wait for.
  operations.register(
    'buildpack.upload',
    (given) => Payload.parse(given),
    async () => {},
  );
  withMultipart(server, (scope) => {
    scope.post<ByGuid>('/v3/buildpacks/:guid/upload', async (request, reply) => {
      const { caller } = request;
      const found = await see(request.params.guid);
      caller.require('platform.write');
      if (found.locked) throw unprocessable('Buildpack is locked');
      try {
        await spoolUpload(request, { max_bytes: config.limits.upload_max_bytes }, async ({ files }) => {
          const bits = files.get('bits');
          if (!bits) throw unprocessable('A buildpack zip file must be uploaded as bits');
          if (!/\.zip$/i.test(bits.filename)) throw unprocessable(`${bits.filename} is not a zip`);
          await storeBits(deps, found, bits);
        });
      } catch (error) {
        throw asCfError(error);
      }
      const job_guid = await jobs.enqueue(db, {
        operation: 'buildpack.upload',
        resource: { type: 'buildpacks', guid: found.guid },
        payload: { guid: found.guid },
        user_guid: caller.guid,
      });
      jobs.wake();
      return reply
        .code(202)
        .header('Location', links.href(`/v3/jobs/${job_guid}`))
        .send(presentBuildpack(await see(found.guid), links));
    });
  });
}

function presentBuildpack(row: Buildpack, links: Links): Record<string, unknown> {
  const path = `/v3/buildpacks/${row.guid}`;
  return {
    ...presentCommon(row),
    name: row.name,
    stack: row.stack,
    state: row.state,
    lifecycle: row.lifecycle,
    filename: row.filename,
    position: row.position,
    enabled: row.enabled,
    locked: row.locked,
    ...presentMetadata(row),
    links: { self: links.to(path), upload: links.with(`${path}/upload`, 'POST') },
  };
}
