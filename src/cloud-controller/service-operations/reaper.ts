import { describeError } from '#kernel/errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { findCredentialBinding } from '../service-credential-bindings/store.ts';
import { findServiceInstance } from '../service-instances/store.ts';
import { targetOf } from './broker-access.ts';
import { mitigateOrphan } from './orphans.ts';
import { lostOperations, moveOperation, type OperationTable } from './store.ts';

const INTERVAL_MS = 30_000;
const TABLES: readonly OperationTable[] = [
  'service_instances',
  'service_credential_bindings',
  'service_route_bindings',
];

type Dependencies = Pick<Deps, 'db' | 'jobs' | 'log' | 'clock' | 'dashboards'>;

/** Ends, now and then, clients of dashboards whose broker went with its space, and operations whose job ended without them: an operator cancelled it, or its workers died too often. */
export function reapLostOperations(deps: Dependencies): Disposable {
  return deps.clock.every(INTERVAL_MS, async () => {
    try {
      await reapOnce(deps);
      await deps.dashboards.sweep();
    } catch (error) {
      deps.log.warn({ error: describeError(error) }, 'lost operations of services not looked for');
    }
  });
}

export async function reapOnce(deps: Dependencies): Promise<void> {
  for (const table of TABLES) {
    for (const lost of await lostOperations(deps.db, table)) {
      await inTransaction(deps.db, async (trx) => {
        const of = { table, guid: lost.guid, job_guid: lost.job_guid };
        const description = 'The operation was interrupted.';
        if (!(await moveOperation(trx, of, { state: 'failed', description }))) return;
        if (lost.operation_type !== 'create') return;
        const binding =
          table === 'service_credential_bindings' ? await findCredentialBinding(trx, lost.guid) : undefined;
        if (table === 'service_route_bindings') return;
        const instance = await findServiceInstance(trx, binding?.service_instance_guid ?? lost.guid);
        if (instance?.broker_guid == null) return;
        const target = targetOf(instance, binding?.guid);
        await mitigateOrphan(deps, trx, { broker_guid: instance.broker_guid, target, user_guid: null });
      });
      deps.log.warn({ table, guid: lost.guid }, 'operation of a service was lost and has failed');
      deps.jobs.wake();
    }
  }
}
