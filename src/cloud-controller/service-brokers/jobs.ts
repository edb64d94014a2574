import { z } from 'zod';
import { CfError, notFound } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation } from '#db/database.ts';
import { inTransaction } from '../api/statement-store.ts';
import { BrokerTrouble } from '../broker-client/trouble.ts';
import type { Deps } from '../deps.ts';
import { type Actor, ActorSchema, recordAuditEvent } from '../events.ts';
import type { JobContext } from '../jobs/registry.ts';
import { accessTo } from '../service-operations/broker-access.ts';
import type { Trx } from '../tables.ts';
import { CatalogBody, type CatalogOffering, readCatalog } from './catalog.ts';
import {
  deleteServiceBroker,
  findServiceBroker,
  hasInstances,
  type ServiceBroker,
  type ServiceBrokerChange,
  updateServiceBroker,
} from './store.ts';
import { synchronizeCatalog } from './synchronize-store.ts';

const Payload = z.object({
  guid: z.string(),
  actor: ActorSchema,
  /** What an update changes, once the catalog at the new place was found good. */
  change: z
    .object({
      name: z.string().optional(),
      url: z.string().optional(),
      username: z.string().optional(),
      password_sealed: z.string().optional(),
    })
    .default({}),
});
type Payload = z.infer<typeof Payload>;
export type BrokerJob = z.input<typeof Payload>;

/** The jobs that read catalogs, change brokers and remove them. */
export function registerBrokerJobs(deps: Deps): void {
  const { db, operations } = deps;
  const parse = (given: unknown): Payload => Payload.parse(given);

  operations.register('service_broker.catalog.synchronize', parse, async (payload, context) => {
    try {
      await synchronize(deps, payload, context);
    } catch (error) {
      if (error instanceof CfError) await markFailed(deps, payload.guid);
      throw error;
    }
  });

  operations.register('service_broker.update', parse, async (payload, context) => {
    const { url, username, password_sealed } = payload.change;
    if (url !== undefined || username !== undefined || password_sealed !== undefined) {
      await synchronize(deps, payload, context);
      return;
    }
    await inTransaction(db, async (trx) => {
      await updateServiceBroker(trx, payload.guid, defined(payload.change));
      await context.complete(trx);
    });
  });

  operations.register('service_broker.delete', parse, async ({ guid, actor }, context) => {
    const broker = await findServiceBroker(db, guid);
    if (!broker) return;
    await inTransaction(db, async (trx) => {
      await removeBroker(trx, broker, actor);
      await context.complete(trx);
    });
    await deps.dashboards.sweep();
  });
}

/** Errors: 422 when there are instances of its plans. */
export async function removeBroker(trx: Trx, broker: ServiceBroker, actor: Actor): Promise<void> {
  if (await hasInstances(trx, broker.guid)) throw notRemovable(broker);
  try {
    await deleteServiceBroker(trx, broker.guid);
  } catch (error) {
    if (isForeignKeyViolation(error)) throw notRemovable(broker);
    throw error;
  }
  await recordBrokerEvent(trx, broker, actor, { what: 'delete', request: {} });
}

export function notRemovable(broker: { name: string }): CfError {
  return new CfError(
    'ServiceBrokerNotRemovable',
    `Can not remove brokers that have associated service instances: ${broker.name}`,
  );
}

async function synchronize(deps: Deps, payload: Payload, context: JobContext): Promise<void> {
  const { db, vault } = deps;
  const broker = await findServiceBroker(db, payload.guid);
  if (!broker) throw notFound('Service broker');
  const { change } = payload;
  const access = await accessTo(deps, broker.guid, context.signal);
  const { url = access.url, username = access.username, password_sealed: sealed } = change;
  const password = sealed === undefined ? access.password : z.string().parse(vault.open(sealed, broker.guid));
  const offerings = await fetchCatalog(deps, { ...access, url, username, password });
  const notes = await deps.dashboards.synchronize(broker.guid, offerings);
  await inTransaction(db, async (trx) => {
    await updateServiceBroker(trx, broker.guid, { ...defined(change), state: 'AVAILABLE' });
    const warnings = await synchronizeCatalog(trx, { ...broker, url }, offerings);
    await context.complete(trx, [...warnings, ...notes]);
  });
}

/** Errors: 502 for a broker that cannot be asked, or whose catalog breaks the rules. */
async function fetchCatalog(
  { brokers }: Pick<Deps, 'brokers'>,
  access: Awaited<ReturnType<typeof accessTo>>,
): Promise<CatalogOffering[]> {
  const body = await brokers.catalog(access, CatalogBody).catch((error: unknown) => {
    throw error instanceof BrokerTrouble ? catalogTrouble(error) : error;
  });
  const read = readCatalog(body);
  if ('offerings' in read) return read.offerings;
  throw new CfError('ServiceBrokerCatalogInvalid', `Service broker catalog is invalid: \n${read.faults}\n`);
}

function catalogTrouble(error: BrokerTrouble): CfError {
  switch (error.trouble) {
    case 'malformed_ok':
      return new CfError(
        'ServiceBrokerRequestMalformed',
        'The service broker returned an invalid response: expected valid JSON object in body. Please check that the URL points to a valid service broker.',
      );
    case 'unauthorized':
    case 'timed_out':
    case 'unreachable':
      return error.toCfError();
    default:
      return new CfError(
        'ServiceBrokerRequestRejected',
        `The service broker rejected the request. ${error.message} Please check that the URL points to a valid service broker.`,
      );
  }
}

async function markFailed({ db }: Pick<Deps, 'db'>, guid: string): Promise<void> {
  if (await findServiceBroker(db, guid)) await updateServiceBroker(db, guid, { state: 'SYNCHRONIZATION_FAILED' });
}

function defined(change: Payload['change']): ServiceBrokerChange {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

/** `audit.service_broker.create`, … */
export async function recordBrokerEvent(
  trx: Trx,
  broker: Pick<ServiceBroker, 'guid' | 'name' | 'space_guid' | 'organization_guid'>,
  actor: Actor,
  event: { what: string; request: unknown },
): Promise<void> {
  await recordAuditEvent(trx, {
    type: `audit.service_broker.${event.what}`,
    actor,
    target: { guid: broker.guid, type: 'service_broker', name: broker.name },
    data: { request: event.request },
    space_guid: broker.space_guid,
    organization_guid: broker.organization_guid,
  });
}
