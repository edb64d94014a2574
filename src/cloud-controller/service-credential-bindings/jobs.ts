import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { BindBody } from '../broker-client/replies.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { ActorSchema } from '../events.ts';
import type { JobContext, JobOutcome } from '../jobs/registry.ts';
import type { ServiceInstance } from '../service-instances/store.ts';
import { bindingAtBroker } from '../service-operations/binding-at-broker.ts';
import { contextOf } from '../service-operations/broker-access.ts';
import { SUCCEEDED } from '../service-operations/operation.ts';
import { carryOn, Progress, runOperation } from '../service-operations/run.ts';
import { recordBindingEvent } from './create.ts';
import {
  type CredentialBinding,
  deleteCredentialBinding,
  findCredentialBinding,
  updateCredentialBinding,
} from './store.ts';

const Payload = Progress.extend({
  guid: z.string(),
  actor: ActorSchema,
  parameters_sealed: z.string().optional(),
});
type Payload = z.infer<typeof Payload>;
/** What requests leave behind for `service_bindings.*` and `service_keys.*` jobs. */
export type BindingJob = z.input<typeof Payload>;

/** The jobs that bind and unbind at brokers. */
export function registerBindingJobs(deps: Deps): void {
  const parse = (given: unknown): Payload => Payload.parse(given);
  for (const kind of ['service_bindings', 'service_keys'] as const) {
    deps.operations.register(`${kind}.create`, parse, async (payload, context) =>
      carryOn(payload, await createBinding(deps, payload, context)),
    );
    deps.operations.register(`${kind}.delete`, parse, async (payload, context) =>
      carryOn(payload, await deleteBinding(deps, payload, context)),
    );
  }
}

async function find(deps: Deps, guid: string, context: JobContext) {
  const binding = await findCredentialBinding(deps.db, guid);
  return await bindingAtBroker(deps, { table: 'service_credential_bindings', binding }, context);
}

async function createBinding(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db, vault, brokers } = deps;
  const found = await find(deps, payload.guid, context);
  if (!found) throw new CfError('ResourceNotFound', `The binding could not be found: ${payload.guid}`);
  const { binding, instance, access, user_guid, target, work } = found;
  const { parameters_sealed: sealed } = payload;
  return await runOperation<BindBody>(
    deps,
    {
      ...work,
      type: 'create',
      verb: 'bind',
      ask: async () => {
        const answer = await brokers.bind(access, target, {
          user_guid,
          body: {
            ...(await bindResource(deps, binding)),
            context: await contextOf(db, binding),
            ...(sealed !== undefined && { parameters: vault.open(sealed, binding.guid) }),
          },
        });
        if (answer.state === 'in progress' && instance.bindings_retrievable !== true) {
          throw new BrokerTrouble(
            'not_retrievable',
            'The broker responded asynchronously but does not support fetching binding data',
          );
        }
        return answer;
      },
      finish: async (body) => {
        // What was made asynchronously is fetched once it is there.
        const made = body ?? (await brokers.fetchBinding(access, target, user_guid));
        checkDeclared(made, instance);
        await inTransaction(db, async (trx) => {
          await updateCredentialBinding(trx, binding.guid, {
            credentials_sealed: vault.seal(made.credentials ?? {}, binding.guid),
            syslog_drain_url: made.syslog_drain_url ?? null,
            volume_mounts: JSON.stringify(made.volume_mounts ?? []),
            ...SUCCEEDED,
          });
          await recordBindingEvent(trx, binding, payload.actor, { what: 'create' });
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
}

async function bindResource({ db }: Deps, binding: CredentialBinding): Promise<Record<string, unknown>> {
  const { app_guid, space_guid } = binding;
  if (app_guid === null) return { bind_resource: {} };
  const app = await db.selectFrom('apps').select('annotations').where('guid', '=', app_guid).executeTakeFirst();
  const annotations = Object.entries(app?.annotations ?? {}).filter(([key]) => key.includes('/'));
  return {
    app_guid,
    bind_resource: { app_guid, space_guid, app_annotations: Object.fromEntries(annotations) },
  };
}

/** Errors: BrokerTrouble for what the catalog did not say that the service would want. */
function checkDeclared(made: BindBody, instance: ServiceInstance): void {
  const requires = instance.offering_requires ?? [];
  if (made.syslog_drain_url !== undefined && made.syslog_drain_url !== '' && !requires.includes('syslog_drain')) {
    throw new BrokerTrouble(
      'undeclared',
      'The service is attempting to stream logs from your application, but is not registered as a logging service. Please contact the service provider.',
    );
  }
  if ((made.volume_mounts ?? []).length > 0 && !requires.includes('volume_mount')) {
    throw new BrokerTrouble(
      'undeclared',
      'The service is attempting to supply volume mounts from your application, but is not registered as a volume mount service. Please contact the service provider.',
    );
  }
}

async function deleteBinding(deps: Deps, payload: Payload, context: JobContext): Promise<JobOutcome> {
  const { db, brokers } = deps;
  const found = await find(deps, payload.guid, context);
  // It went with its instance, which somebody purged.
  if (!found) return undefined;
  const { access, user_guid, target, work } = found;
  return await runOperation(
    deps,
    {
      ...work,
      type: 'delete',
      verb: 'unbind',
      ask: async () => await brokers.remove(access, target, user_guid),
      finish: async () => {
        await inTransaction(db, async (trx) => {
          await deleteCredentialBinding(trx, payload.guid);
          await recordBindingEvent(trx, found.binding, payload.actor, { what: 'delete' });
          await context.complete(trx);
        });
      },
    },
    payload,
    context,
  );
}
