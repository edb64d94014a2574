import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation } from '#db/database.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { type Actor, ActorSchema, recordAuditEvent } from '../events.ts';
import { emptySpacesOfServices } from '../service-instances/empty-space.ts';
import type { JobOutcome } from '../jobs/registry.ts';
import { carryOn } from '../service-operations/run.ts';
import { removeUserProvidedOfSpace } from '../service-instances/user-provided.ts';
import { removeSpace, removeSpaceRoutes } from './delete-store.ts';
import { appGuidsOf, type FoundSpace, findSpace } from './store.ts';

const Payload = z.object({
  guid: z.string(),
  actor: ActorSchema,
  /** Jobs that delete its services. */
  asked: z.record(z.string(), z.string()).default({}),
});

/** The request that leaves `space.delete` behind, and the job itself: apps, then routes, then the space. */
export function registerSpaceDelete(
  deps: Deps,
): (found: FoundSpace, caller: Caller, reply: FastifyReply) => Promise<FastifyReply> {
  const { db, jobs, operations } = deps;
  operations.register(
    'space.delete',
    (given) => Payload.parse(given),
    async (payload, context): Promise<JobOutcome> => {
      const { guid, actor, asked } = payload;
      const space = await findSpace(db, guid);
      if (!space) return undefined;
      const failed = `Deletion of space ${space.name} failed because one or more resources within could not be deleted.`;
      const by = { actor, user_guid: context.user_guid };
      const waiting = await emptySpacesOfServices(deps, { space_guids: [guid], asked, failed }, by);
      if (waiting) return carryOn(payload, waiting);
      await emptySpace(deps, { guid, actor });
      try {
        await inTransaction(db, async (trx) => {
          await removeSpace(trx, guid);
          await context.complete(trx);
        });
      } catch (error) {
        if (!isForeignKeyViolation(error)) throw error;
        // Something was put into the space while it was emptied.
        throw unprocessable(failed);
      }
      return undefined;
    },
  );
  return async (found, caller, reply) => {
    const job_guid = await inTransaction(db, async (trx) => {
      await recordAuditEvent(trx, {
        type: 'audit.space.delete-request',
        actor: caller.actor,
        target: { guid: found.guid, type: 'space', name: found.name },
        data: { request: { recursive: true } },
        space_guid: found.guid,
        organization_guid: found.organization_guid,
      });
      return await jobs.enqueue(trx, {
        operation: 'space.delete',
        resource: { type: 'spaces', guid: found.guid },
        payload: { guid: found.guid, actor: caller.actor },
        user_guid: caller.guid,
      });
    });
    return await jobs.accept(reply, job_guid);
  };
}

/** Takes apps, user-provided services and routes out of a space, so that nothing but its roles holds on to it. */
export async function emptySpace(deps: Deps, what: { guid: string; actor: Actor }): Promise<void> {
  const { db, effects } = deps;
  await effects.deleteApps(await appGuidsOf(db, what.guid), what.actor);
  const app_guids = await inTransaction(db, async (trx) => {
    const affected = await removeUserProvidedOfSpace(trx, what.guid);
    return [...affected, ...(await removeSpaceRoutes(trx, what.guid))];
  });
  await effects.routesChanged(app_guids);
}
