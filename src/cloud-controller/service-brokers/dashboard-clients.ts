import { CfError } from '#contracts/cf-errors.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { CloudControllerConfig } from '../config.ts';
import type { Db } from '../tables.ts';
import { UaaClient } from '../users/uaa-client.ts';
import type { CatalogOffering } from './catalog.ts';
import { claimClients, clientsOfNobody, forgetClients } from './dashboard-clients-store.ts';

export const WITHOUT_CLIENTS =
  'Warning: This broker includes configuration for a dashboard client. Auto-creation of OAuth2 clients has been disabled in this Cloud Foundry instance. The broker catalog has been updated but its dashboard client configuration will be ignored.';

/** What people who sign in to a dashboard let it know: who they are, and what they may do with the instance. */
const CLIENT = {
  scope: ['openid', 'cloud_controller_service_permissions.read'],
  authorities: ['uaa.resource'],
  authorized_grant_types: ['authorization_code'],
};

/**
 * The clients of the UAA by which dashboards of brokers sign people in. Source: Cloud Foundry's "Dashboard Single Sign-On": they are
 * made, changed and removed as the catalog has them, and nobody's client is taken over.
 */
export class DashboardClients {
  readonly #db: Db;
  readonly #uaa: UaaClient | undefined;
  readonly #log: Log;

  /** Without `uaa` there are no such clients, which whoever registers a broker is warned of. */
  constructor(options: { db: Db; uaa: UaaClient | undefined; log: Log }) {
    this.#db = options.db;
    this.#uaa = options.uaa;
    this.#log = options.log;
  }

  /** Makes them as a catalog has them; gives warnings. Errors: 502 for an id that is somebody else's; 503 when the UAA is away. */
  async synchronize(broker_guid: string, offerings: readonly CatalogOffering[]): Promise<string[]> {
    const wanted = offerings.flatMap(({ dashboard_client }) => dashboard_client ?? []);
    const uaa = this.#uaa;
    if (!uaa) return wanted.length > 0 ? [WITHOUT_CLIENTS] : [];
    const ids = wanted.map(({ id }) => id);
    const existing = await asUnavailable(async () => {
      const found: string[] = [];
      for (const id of ids) if (await exists(uaa, id)) found.push(id);
      return found;
    });
    const { taken, known, left } = await claimClients(this.#db, broker_guid, ids);
    const foreign = existing.filter((id) => !known.includes(id));
    if (taken.length > 0 || foreign.length > 0) {
      const fresh = ids.filter((id) => !known.includes(id));
      if (taken.length === 0) await forgetClients(this.#db, fresh);
      throw notUnique(offerings, [...taken, ...foreign]);
    }
    const changes = wanted.map(({ id, secret, redirect_uri }) => ({
      ...CLIENT,
      client_id: id,
      client_secret: secret,
      redirect_uri: [redirect_uri],
      action: existing.includes(id) ? 'update,secret' : 'add',
    }));
    await asUnavailable(async () => {
      if (changes.length > 0) await modify(uaa, changes);
      await this.#remove(uaa, left);
    });
    return [];
  }

  /** Removes those whose broker is gone; what fails is tried again the next time. */
  async sweep(): Promise<void> {
    const uaa = this.#uaa;
    if (!uaa) return;
    try {
      await this.#remove(uaa, await clientsOfNobody(this.#db));
    } catch (error) {
      this.#log.warn({ error: describeError(error) }, 'clients of dashboards not removed');
    }
  }

  async #remove(uaa: UaaClient, client_ids: readonly string[]): Promise<void> {
    if (client_ids.length === 0) return;
    for (const client_id of client_ids)
      if (await exists(uaa, client_id)) await modify(uaa, [{ client_id, action: 'delete' }]);
    await forgetClients(this.#db, client_ids);
    this.#log.info({ client_ids }, 'clients of dashboards removed');
  }
}

export function dashboardClients(
  { uaa }: Pick<CloudControllerConfig, 'uaa'>,
  context: { db: Db; clock: Clock; log: Log },
): DashboardClients {
  const client = uaa.dashboards_client;
  return new DashboardClients({ ...context, uaa: client && new UaaClient({ ...uaa, ...context, client }) });
}

async function exists(uaa: UaaClient, id: string): Promise<boolean> {
  const { status } = await uaa.ask(`/oauth/clients/${encodeURIComponent(id)}`);
  if (status !== 200 && status !== 404) throw new AppError('uaa_refused', `the UAA answered ${status}`);
  return status === 200;
}

async function modify(uaa: UaaClient, changes: readonly object[]): Promise<void> {
  const { status, body } = await uaa.ask('/oauth/clients/tx/modify', changes);
  if (status !== 200) throw new AppError('uaa_refused', `the UAA answered ${status}: ${JSON.stringify(body)}`);
}

async function asUnavailable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CfError('UaaUnavailable', 'The UAA service is currently unavailable', { cause: error });
  }
}

function notUnique(offerings: readonly CatalogOffering[], ids: readonly string[]): CfError {
  const faults = offerings
    .filter(({ dashboard_client }) => dashboard_client && ids.includes(dashboard_client.id))
    .map(({ name }) => `Service ${name}\n  Service dashboard client id must be unique\n`);
  return new CfError('ServiceBrokerCatalogInvalid', `Service broker catalog is invalid: \n${faults.join('')}`);
}
