import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Blobstore } from '#blobs/blobstore.ts';
import { deaStop } from '#contracts/dea.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import type { Actor } from '../events.ts';
import type { Db } from '../tables.ts';
import { recordProcessUsage } from '../usage/record.ts';
import { processesOfApp } from '../processes/store.ts';
import type { AppsSide } from '../runtime/apps-side.ts';
import { releaseApp } from '../service-instances/empty-space.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { carryOn } from '../service-operations/run.ts';
import { removeUserProvidedBindings } from '../service-credential-bindings/store.ts';
import { carryOut, NOTHING, recordAppEvent } from './lifecycle.ts';
import { findApp, type FoundApp, lockApp } from './store.ts';

const Payload = z.object({
  app_guid: z.string(),
  actor: z.custom<Actor>(),
  /** Jobs that unbind it from services. */
  asked: z.record(z.string(), z.string()).default({}),
});

/** `DELETE /v3/apps/:guid` becomes a job that can be taken up again: what is gone already is passed over. */
export function registerAppDelete(
  deps: Deps,
): (app: FoundApp, caller: Caller, reply: FastifyReply) => Promise<FastifyReply> {
  const { db, jobs, operations, apps } = deps;
  operations.register(
    'app.delete',
    (payload) => Payload.parse(payload),
    async (payload, context): Promise<JobOutcome> => {
      const { app_guid, actor, asked } = payload;
      const waiting = await releaseApp(deps, { app_guid, asked }, { actor, user_guid: context.user_guid });
      if (waiting) return carryOn(payload, waiting);
      await deleteApps({ db, apps }, [app_guid], actor);
      return undefined;
    },
  );
  return async (app, caller, reply) => {
    const job = await jobs.enqueue(db, {
      operation: 'app.delete',
      resource: { type: 'apps', guid: app.guid },
      payload: { app_guid: app.guid, actor: caller.actor },
      user_guid: caller.guid,
    });
    return await jobs.accept(reply, job);
  };
}

/** Stops and deletes apps with all that is theirs. */
export async function deleteApps(
  deps: { db: Db; apps: AppsSide },
  app_guids: readonly string[],
  actor: Actor,
): Promise<void> {
  for (const guid of app_guids) await deleteOne(deps, guid, actor);
}

async function deleteOne({ db, apps }: { db: Db; apps: AppsSide }, guid: string, actor: Actor): Promise<void> {
  const left = await inTransaction(db, async (trx) => {
    if (!(await lockApp(trx, guid))) return undefined;
    const app = await findApp(trx, guid);
    if (!app) return undefined;
    const processes = await processesOfApp(trx, guid);
    const blobs = await blobsOfApp(trx, guid);
    const tasks = await trx.selectFrom('tasks').select('guid').where('app_guid', '=', guid).execute();
    const started = processes.filter((process) => process.state === 'STARTED');
    await recordProcessUsage(trx, app, started, 'STOPPED');
    await recordAppEvent(trx, app, actor, 'delete-request');
    await removeUserProvidedBindings(trx, guid);
    await trx.deleteFrom('apps').where('guid', '=', guid).execute();
    return { processes, blobs, tasks };
  });
  if (!left) return;
  carryOut(apps, guid, { ...NOTHING, gone: left.processes, say: `Deleted app with guid ${guid}` });
  for (const task of left.tasks) apps.bus.publish(deaStop, { droplet: task.guid });
  apps.stager.stop({ app: guid });
  // What a death here leaves behind is collected later.
  for (const { bucket, key } of left.blobs) await apps.blobs.delete(bucket, key);
}

type BlobName = { bucket: Parameters<Blobstore['delete']>[0]; key: string };

async function blobsOfApp(db: Db, app_guid: string): Promise<BlobName[]> {
  const packages = await db.selectFrom('packages').select('guid').where('app_guid', '=', app_guid).execute();
  const droplets = await db.selectFrom('droplets').select('guid').where('app_guid', '=', app_guid).execute();
  return [
    ...packages.map(({ guid }) => ({ bucket: 'cc-packages' as const, key: guid })),
    ...droplets.map(({ guid }) => ({ bucket: 'cc-droplets' as const, key: guid })),
  ];
}
