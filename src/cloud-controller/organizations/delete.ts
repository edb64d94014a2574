import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation } from '#db/database.ts';
import type { Caller } from '../api/caller.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { ActorSchema, recordAuditEvent } from '../events.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import { emptySpacesOfServices } from '../service-instances/empty-space.ts';
import { carryOn } from '../service-operations/run.ts';
import { emptySpace } from '../spaces/delete.ts';
import { removeOrganization } from './delete-store.ts';
import { type FoundOrganization, findOrganization, spaceGuidsOf } from './store.ts';

const Payload = z.object({
  guid: z.string(),
  actor: ActorSchema,
  /** Jobs that delete services in its spaces. */
  asked: z.record(z.string(), z.string()).default({}),
});
type Payload = z.infer<typeof Payload>;

/** The request that leaves `organization.delete` behind, and the job itself: spaces one by one, then what the organization owns. */
export function registerOrganizationDelete(
  deps: Deps,
): (found: FoundOrganization, caller: Caller, reply: FastifyReply) => Promise<FastifyReply> {
  const { db, jobs, operations } = deps;
  operations.register(
    'organization.delete',
    (given) => Payload.parse(given),
    async (payload, context) => carryOn(payload, await deleteOrganization(deps, payload, context)),
  );
  return async (found, caller, reply) => {
    const job_guid = await inTransaction(db, async (trx) => {
      await recordAuditEvent(trx, {
        type: 'audit.organization.delete-request',
        actor: caller.actor,
        target: { guid: found.guid, type: 'organization', name: found.name },
        data: { request: { recursive: true } },
        organization_guid: found.guid,
      });
      return await jobs.enqueue(trx, {
        operation: 'organization.delete',
        resource: { type: 'organizations', guid: found.guid },
        payload: { guid: found.guid, actor: caller.actor },
        user_guid: caller.guid,
      });
    });
    return await jobs.accept(reply, job_guid);
  };
}

async function deleteOrganization(deps: Deps, what: Payload, context: JobContext): Promise<JobOutcome> {
  const { db, effects } = deps;
  const organization = await findOrganization(db, what.guid);
  if (!organization) return undefined;
  const space_guids = await spaceGuidsOf(db, what.guid);
  const failed = `Deletion of organization ${organization.name} failed because one or more resources within could not be deleted.`;
  const by = { actor: what.actor, user_guid: context.user_guid };
  const waiting = await emptySpacesOfServices(deps, { space_guids, asked: what.asked, failed }, by);
  if (waiting) return waiting;
  for (const space_guid of space_guids) {
    context.signal.throwIfAborted();
    await emptySpace(deps, { guid: space_guid, actor: what.actor });
  }
  try {
    const app_guids = await inTransaction(db, async (trx) => {
      const affected = await removeOrganization(trx, what.guid);
      await context.complete(trx);
      return affected;
    });
    await effects.routesChanged(app_guids);
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    // Something was put into the organization while it was emptied.
    throw unprocessable(failed);
  }
  return undefined;
}
