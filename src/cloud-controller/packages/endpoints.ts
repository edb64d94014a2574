import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { seeApp } from '../apps/policy.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { findApp, type FoundApp } from '../apps/store.ts';
import { parseBody, relationships, ToOne } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { PackageRow } from '../tables-apps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { copiedDockerColumns, dockerColumns, type DockerColumns } from './docker.ts';
import { seePackage } from './policy.ts';
import { presentPackage } from './presenter.ts';
import { findPackage, type FoundPackage, listPackages, updatePackage } from './store.ts';
import { registerPackageUpload } from './upload.ts';

type ByGuid = { Params: { guid: string } };

const PACKAGE_LIST: ListSpec = {
  filters: ['guids', 'states', 'types', 'app_guids', 'space_guids', 'organization_guids'],
  labels: true,
};
const Relationships = relationships({ app: ToOne('App') });
const CreatePackage = z.strictObject({
  type: z.enum(['bits', 'docker'], { error: "Type must be one of 'bits', 'docker'" }),
  data: z
    .strictObject({ image: z.string().optional(), username: z.string().optional(), password: z.string().optional() })
    .optional(),
  metadata: MetadataUpdate.optional(),
  relationships: Relationships,
});
const CopyPackage = z.strictObject({ relationships: Relationships });
const UpdatePackage = z.strictObject({ metadata: MetadataUpdate.optional() });

export function registerPackageEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations, apps, vault } = deps;

  server.get('/v3/packages', { config: { list: PACKAGE_LIST } }, async (request) => {
    const query = parseList(request, PACKAGE_LIST);
    const page = await listPackages(db, query, { scope: request.caller.scope('app.read') });
    return presentPage(page, { query, links, present: (row) => presentPackage(row, links) });
  });

  server.get<ByGuid>('/v3/apps/:guid/packages', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...PACKAGE_LIST, filters: ['guids', 'states', 'types'] });
    const page = await listPackages(db, query, { scope: { everywhere: true }, app_guid: app.guid });
    return presentPage(page, { query, links, present: (row) => presentPackage(row, links) });
  });

  server.get<ByGuid>('/v3/packages/:guid', async ({ params, caller }) =>
    presentPackage(await seePackage(deps, caller, params.guid), links),
  );

  server.post<{ Querystring: { source_guid?: string } }>(
    '/v3/packages',
    { config: { body: CreatePackage } },
    async ({ body, caller, query }, reply) => {
      const { source_guid } = query;
      if (source_guid !== undefined) {
        const { relationships: to } = parseBody(CopyPackage, body);
        const app = await writableApp(deps, caller, to.app.data.guid);
        const source = await findPackage(db, source_guid);
        if (!source || !caller.may('app.read', source)) throw unprocessable('Invalid source package');
        return reply.code(201).send(presentPackage(await copyPackage(deps, { source, app, caller }), links));
      }
      const wanted = parseBody(CreatePackage, body);
      const app = await writableApp(deps, caller, wanted.relationships.app.data.guid);
      const guid = randomUUID();
      const isDocker = wanted.type === 'docker';
      if (isDocker) await requireFeature(db, 'diego_docker', caller);
      if (isDocker !== (app.lifecycle_type === 'docker'))
        throw unprocessable(`Cannot create a package of the type ${wanted.type} for a ${app.lifecycle_type} app.`);
      const docker = isDocker ? dockerColumns(vault, guid, wanted.data) : undefined;
      const created = await inTransaction(db, async (trx) => {
        const state = isDocker ? 'READY' : 'AWAITING_UPLOAD';
        const row = await insertPackage(trx, { guid, app_guid: app.guid, state, docker }, wanted.metadata);
        await recordAppEvent(trx, app, caller.actor, { what: 'package.create', data: { package_guid: row.guid } });
        return row;
      });
      apps.say(app.guid, `Creating app package for app with guid ${app.guid}`);
      return reply.code(201).send(presentPackage(created, links));
    },
  );

  server.patch<ByGuid>('/v3/packages/:guid', { config: { body: UpdatePackage } }, async ({ params, body, caller }) => {
    const found = await seePackage(deps, caller, params.guid);
    caller.require('app.update', found);
    const { metadata } = parseBody(UpdatePackage, body);
    return presentPackage(await updatePackage(db, found.guid, metadataColumns(found, metadata)), links);
  });

  operations.register(
    'package.delete',
    (payload) => z.object({ guid: z.string() }).parse(payload),
    async ({ guid }) => {
      await db.deleteFrom('packages').where('guid', '=', guid).execute();
      await apps.blobs.delete('cc-packages', guid);
    },
  );
  server.delete<ByGuid>('/v3/packages/:guid', async ({ params, caller }, reply) => {
    const found = await seePackage(deps, caller, params.guid);
    caller.require('app.update', found);
    const job = await jobs.enqueue(db, {
      operation: 'package.delete',
      resource: { type: 'packages', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job);
  });

  server.get<ByGuid>('/v3/packages/:guid/download', async ({ params, caller }, reply) => {
    const found = await seePackage(deps, caller, params.guid);
    caller.require('package.download', found);
    if (found.type !== 'bits') throw unprocessable('Package type must be bits.');
    if (found.state !== 'READY') throw unprocessable('Package has no bits to download.');
    const blob = await apps.blobs.get('cc-packages', found.guid).catch(() => {
      throw notFound('Package');
    });
    return reply.type('application/zip').header('Content-Length', blob.size).send(blob.stream);
  });

  registerPackageUpload(server, deps);
}

async function writableApp(deps: Pick<Deps, 'db'>, caller: Caller, guid: string): Promise<FoundApp> {
  const app = await findApp(deps.db, guid);
  if (!app || !caller.may('app.read', app)) {
    throw unprocessable('App is invalid. Ensure it exists and you have access to it.');
  }
  caller.require('app.create', app);
  return app;
}

export async function insertPackage(
  db: Deps['db'],
  row: {
    guid?: string;
    app_guid: string;
    state: PackageRow['state'];
    sha256?: string | null;
    size_in_bytes?: number | null;
    docker?: DockerColumns | undefined;
  },
  metadata?: MetadataUpdate,
): Promise<PackageRow> {
  return await db
    .insertInto('packages')
    .values({
      guid: row.guid ?? randomUUID(),
      app_guid: row.app_guid,
      type: row.docker ? 'docker' : 'bits',
      state: row.state,
      error: null,
      sha256: row.sha256 ?? null,
      size_in_bytes: row.size_in_bytes ?? null,
      ...(row.docker ?? { docker_image: null, docker_username: null, docker_password: null }),
      ...metadataColumns(undefined, metadata),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Bits are copied in the blobstore at once; both packages are then whole and apart. */
async function copyPackage(
  deps: Deps,
  { source, app, caller }: { source: FoundPackage; app: FoundApp; caller: Caller },
): Promise<PackageRow> {
  if (source.state !== 'READY') throw unprocessable('Source package is not ready');
  const { db, apps, vault } = deps;
  const guid = randomUUID();
  const docker = source.type === 'docker' ? copiedDockerColumns(vault, guid, source) : undefined;
  if (!docker) await apps.blobs.copy({ bucket: 'cc-packages', key: source.guid }, { bucket: 'cc-packages', key: guid });
  return await inTransaction(db, async (trx) => {
    const { sha256, size_in_bytes } = source;
    const row = await insertPackage(trx, { guid, app_guid: app.guid, state: 'READY', sha256, size_in_bytes, docker });
    await recordAppEvent(trx, app, caller.actor, {
      what: 'package.create',
      data: { package_guid: guid, request: { source_guid: source.guid } },
    });
    return row;
  });
}
