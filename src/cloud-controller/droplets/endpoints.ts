import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { seeApp } from '../apps/policy.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { findApp } from '../apps/store.ts';
import { parseBody, relationships, ToOne } from '../api/body.ts';
import { presentPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import type { Deps } from '../deps.ts';
import { findPackage } from '../packages/store.ts';
import { registerDropletUpload } from './upload.ts';
import { seeDroplet } from './policy.ts';
import { presentDroplet } from './presenter.ts';
import { type FoundDroplet, listDroplets, updateDroplet } from './store.ts';

type ByGuid = { Params: { guid: string } };

const DROPLET_LIST: ListSpec = {
  filters: ['guids', 'states', 'app_guids', 'space_guids', 'organization_guids'],
  labels: true,
};
const CreateDroplet = z.strictObject({
  relationships: relationships({ app: ToOne('App') }),
  process_types: z.record(z.string().min(1).max(255), z.string()).optional(),
});
const UpdateDroplet = z.strictObject({ metadata: MetadataUpdate.optional(), image: z.string().optional() });

export function registerDropletEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, jobs, operations, apps } = deps;
  const inList = (row: FoundDroplet): Record<string, unknown> => presentDroplet(row, { links, withSecrets: false });

  server.get('/v3/droplets', { config: { list: DROPLET_LIST } }, async (request) => {
    const query = parseList(request, DROPLET_LIST);
    const page = await listDroplets(db, query, { scope: request.caller.scope('app.read') });
    return presentPage(page, { query, links, present: inList });
  });

  server.get<ByGuid>('/v3/apps/:guid/droplets', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...DROPLET_LIST, filters: ['guids', 'states'], plain: ['current'] });
    const page = await listDroplets(db, query, { scope: { everywhere: true }, app_guid: app.guid });
    return presentPage(page, { query, links, present: inList });
  });

  server.get<ByGuid>('/v3/packages/:guid/droplets', async (request) => {
    const found = request.caller.see('app.read', await findPackage(db, request.params.guid), 'Package');
    const query = parseList(request, { ...DROPLET_LIST, filters: ['guids', 'states'] });
    const page = await listDroplets(db, query, { scope: { everywhere: true }, package_guid: found.guid });
    return presentPage(page, { query, links, present: inList });
  });

  server.get<ByGuid>('/v3/droplets/:guid', async ({ params, caller }) => {
    const droplet = await seeDroplet(deps, caller, params.guid);
    return presentDroplet(droplet, { links, withSecrets: caller.may('app.read_secrets', droplet) });
  });

  server.post<{ Querystring: { source_guid?: string } }>(
    '/v3/droplets',
    { config: { body: CreateDroplet } },
    async ({ body, caller, query }, reply) => {
      const wanted = parseBody(CreateDroplet, body);
      const app = await findApp(db, wanted.relationships.app.data.guid);
      if (!app || !caller.may('app.read', app)) {
        throw unprocessable(
          `App with guid "${wanted.relationships.app.data.guid}" does not exist, or you do not have access to it.`,
        );
      }
      caller.require('app.create', app);
      const { source_guid } = query;
      const source = source_guid === undefined ? undefined : await seeDroplet(deps, caller, source_guid);
      if (source && source.state !== 'STAGED') throw unprocessable('Source droplet is not staged');
      const guid = randomUUID();
      if (source) {
        await apps.blobs.copy({ bucket: 'cc-droplets', key: source.guid }, { bucket: 'cc-droplets', key: guid });
      }
      const created = await db
        .insertInto('droplets')
        .values({
          guid,
          app_guid: app.guid,
          // Who may pull an image is known from there.
          package_guid: source?.lifecycle_type === 'docker' ? source.package_guid : null,
          build_guid: null,
          state: source ? 'STAGED' : 'AWAITING_UPLOAD',
          error: null,
          buildpacks: JSON.stringify(source?.buildpacks ?? []),
          stack: source?.stack ?? app.stack,
          lifecycle_type: source?.lifecycle_type ?? 'buildpack',
          image: source?.image ?? null,
          process_types: JSON.stringify(source?.process_types ?? wanted.process_types ?? { web: '' }),
          execution_metadata: source?.execution_metadata ?? '',
          sha256: source?.sha256 ?? null,
          size_in_bytes: source?.size_in_bytes ?? null,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAppEvent(db, app, caller.actor, { what: 'droplet.create', data: { droplet_guid: guid } });
      return reply.code(201).send(presentDroplet(created, { links, withSecrets: true }));
    },
  );

  server.patch<ByGuid>('/v3/droplets/:guid', { config: { body: UpdateDroplet } }, async ({ params, body, caller }) => {
    const found = await seeDroplet(deps, caller, params.guid);
    caller.require('app.update', found);
    const wanted = parseBody(UpdateDroplet, body);
    const updated = await updateDroplet(db, found.guid, metadataColumns(found, wanted.metadata));
    return presentDroplet(updated, { links, withSecrets: true });
  });

  operations.register(
    'droplet.delete',
    (payload) => z.object({ guid: z.string() }).parse(payload),
    async ({ guid }) => {
      await db.deleteFrom('droplets').where('guid', '=', guid).execute();
      await apps.blobs.delete('cc-droplets', guid);
    },
  );
  server.delete<ByGuid>('/v3/droplets/:guid', async ({ params, caller }, reply) => {
    const found = await seeDroplet(deps, caller, params.guid);
    caller.require('app.update', found);
    const using = await db.selectFrom('apps').select('guid').where('droplet_guid', '=', found.guid).executeTakeFirst();
    if (using) throw unprocessable('The droplet is currently used by an app');
    const job = await jobs.enqueue(db, {
      operation: 'droplet.delete',
      resource: { type: 'droplets', guid: found.guid },
      payload: { guid: found.guid },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job);
  });

  server.get<ByGuid>('/v3/droplets/:guid/download', async ({ params, caller }, reply) => {
    const found = await seeDroplet(deps, caller, params.guid);
    caller.require('droplet.download', found);
    if (found.state !== 'STAGED') throw unprocessable('Only staged droplets can be downloaded.');
    const blob = await apps.blobs.get('cc-droplets', found.guid).catch(() => {
      throw notFound('Droplet');
    });
    return reply
      .type('application/gzip')
      .header('Content-Length', blob.size)
      .header('Content-Disposition', `attachment; filename="droplet_${found.guid}.tgz"`)
      .send(blob.stream);
  });

  registerDropletUpload(server, deps);
}
