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
  /** Once the broker has taken the deletion on: its operation, and until when it may take. */
  polling: z.object({ operation: z.string().optional(), deadline_ms: z.number() }).optional(),
});

/**
 * Leaves a job behind that deletes at the broker what a failed operation may have made there: now, and if that fails after
 * 2, 4, 8… minutes, 11 times. One that takes the deletion on is asked how it goes, and a deletion that fails later is tried again
 * like one that fails at once. Source: OSB 2.17, "Orphan Mitigation".
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
  const { brokers, config, clock } = deps;
  const { broker_guid, target, tries, polling } = payload;
  const facts = { broker_guid, ...target, tries };
  const { poll_interval_s, poll_duration_max_s } = config.brokers;
  try {
    const access = await accessTo(deps, broker_guid, context.signal);
    const user_guid = context.user_guid ?? undefined;
    if (!polling) {
      const answer = await brokers.remove(access, target, user_guid);
      if (answer.state === 'in progress') {
        const deadline_ms = clock.now() + poll_duration_max_s * 1000;
        const { operation } = answer.body;
        const next = { ...payload, polling: { deadline_ms, ...(operation !== undefined && { operation }) } };
        return { again_in_ms: poll_interval_s * 1000, payload: next };
      }
    } else {
      const last = await brokers.lastOperation(access, target, { operation: polling.operation, user_guid });
      if (last.state === 'failed') throw new BrokerTrouble('failed_later', last.description);
      if (last.state !== 'gone' && last.state !== 'succeeded') {
        if (clock.now() >= polling.deadline_ms) throw new BrokerTrouble('overdue', 'The deletion takes too long.');
        return { again_in_ms: Math.max(poll_interval_s, last.retry_after_s ?? 0) * 1000, payload };
      }
    }
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
    return { again_in_ms, payload: { broker_guid, target, tries: tries + 1 } };
  }
}
