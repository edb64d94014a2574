import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { BrokerTarget } from '../broker-client/client.ts';
import type { Deps } from '../deps.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import type { Trx } from '../tables.ts';
import { accessTo } from './broker-access.ts';

const OPERATION = 'service_orphan.delete';
const MAX_TRIES = 11;

const Payload = z.object({
  broker_guid: z.string(),
  target: z.object({
    instance_guid: z.string(),
    binding_guid: z.string().optional(),
    service_id: z.string(),
    plan_id: z.string(),
  }),
  tries: z.number().int().default(0),
});

/**
 * Leaves a job behind that deletes at the broker what a failed operation may have made there: now, and if that fails after
 * 2, 4, 8… minutes, 11 times. Source: OSB 2.17, "Orphan Mitigation".
 */
export async function mitigateOrphan(
  { jobs }: Pick<Deps, 'jobs'>,
  trx: Trx,
  orphan: { broker_guid: string; target: BrokerTarget; user_guid: string | null },
): Promise<void> {
  const { broker_guid, target, user_guid } = orphan;
  await jobs.enqueue(trx, { operation: OPERATION, payload: { broker_guid, target }, user_guid });
}

export function registerOrphanJobs(deps: Deps): void {
  deps.operations.register(
    OPERATION,
    (given) => Payload.parse(given),
    async (payload, context) => await deleteOrphan(deps, payload, context),
  );
}

async function deleteOrphan(deps: Deps, payload: z.infer<typeof Payload>, context: JobContext): Promise<JobOutcome> {
  const { brokers, config } = deps;
  const { broker_guid, target, tries } = payload;
  const facts = { broker_guid, ...target, tries };
  try {
    const access = await accessTo(deps, broker_guid, context.signal);
    await brokers.remove(access, target, context.user_guid ?? undefined);
    context.log.info(facts, 'orphan deleted at the broker');
    return undefined;
  } catch (error) {
    if (error instanceof CfError && error.title === 'ResourceNotFound') return undefined;
    if (!(error instanceof BrokerTrouble)) throw error;
    if (tries >= MAX_TRIES) {
      context.log.error({ ...facts, error: error.message }, 'orphan not deleted at the broker, given up');
      throw error.toCfError();
    }
    context.log.warn({ ...facts, error: error.message }, 'orphan not deleted at the broker yet');
    const again_in_ms = config.brokers.orphan_retry_s * 1000 * 2 ** (tries + 1);
    return { again_in_ms, payload: { ...payload, tries: tries + 1 } };
  }
}
