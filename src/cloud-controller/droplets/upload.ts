import { createReadStream } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { unprocessable } from '#contracts/cf-errors.ts';
import { spoolUpload, withMultipart } from '../api/multipart.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { findApp } from '../apps/store.ts';
import type { Deps } from '../deps.ts';
import { asCfError } from '../packages/upload.ts';
import { seeDroplet } from './policy.ts';
import { updateDroplet } from './store.ts';

/** A droplet that was staged elsewhere: a tar.gz as part `bits`. */
export function registerDropletUpload(server: FastifyInstance, deps: Deps): void {
  const { db, config, apps, jobs, operations } = deps;
  // The bits are stored when the request is answered; the job is what clients wait for.
  operations.register(
    'droplet.upload',
    (payload) => payload,
    async () => {},
  );
  withMultipart(server, (scope) => {
    scope.post<{ Params: { guid: string } }>('/v3/droplets/:guid/upload', async (request, reply) => {
      const { caller } = request;
      const found = await seeDroplet(deps, caller, request.params.guid);
      caller.require('app.update', found);
      if (found.state !== 'AWAITING_UPLOAD')
        throw unprocessable('Droplet may be uploaded only once. Create a new droplet to upload bits.');
      const max_bytes = config.limits.upload_max_bytes;
      const stored = await spoolUpload(request, { max_bytes }, async ({ files }) => {
        const bits = files.get('bits');
        if (!bits) throw unprocessable('Bits must be a valid droplet file');
        if (!/\.(tgz|tar\.gz)$/i.test(bits.filename) && bits.filename !== '') {
          throw unprocessable('Uploaded bits are not a valid droplet file');
        }
        return await apps.blobs.put('cc-droplets', found.guid, createReadStream(bits.path), { max_bytes });
      }).catch((error: unknown) => {
        throw asCfError(error);
      });
      await updateDroplet(db, found.guid, { state: 'STAGED', sha256: stored.sha256, size_in_bytes: stored.size });
      const app = await findApp(db, found.app_guid);
      if (app)
        await recordAppEvent(db, app, caller.actor, { what: 'droplet.upload', data: { droplet_guid: found.guid } });
      const job = await jobs.enqueue(db, {
        operation: 'droplet.upload',
        resource: { type: 'droplets', guid: found.guid },
        payload: { guid: found.guid },
        user_guid: caller.guid,
      });
      return await jobs.accept(reply, job);
    });
  });
}
