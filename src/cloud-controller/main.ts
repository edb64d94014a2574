import { Bus } from '#bus/bus.ts';
import { followRevocations } from '#bus/revocations.ts';
import type { DatabaseOptions } from '#db/database.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { Links } from './api/links.ts';
import { appEffects } from './apps/effects.ts';
import { sweepEventsHourly } from './audit-events/sweep.ts';
import { installBuildpacks } from './buildpacks/install.ts';
import { BrokerClient } from './broker-client/client.ts';
import type { CloudControllerConfig } from './config.ts';
import type { Deps } from './deps.ts';
import { openFaces } from './faces.ts';
import { uaaVerifier } from './http.ts';
import { JobQueue } from './jobs/queue.ts';
import { JobRegistry } from './jobs/registry.ts';
import { JobRunner } from './jobs/runner.ts';
import { openAppsSide } from './runtime/apps-side.ts';
import { openDatabase } from './seed/open-database.ts';
import { readEncryptionKeys } from './service-secrets/keys.ts';
import { Vault } from './service-secrets/vault.ts';
import { dashboardClients } from './service-brokers/dashboard-clients.ts';
import { reapLostOperations } from './service-operations/reaper.ts';
import { openStatus } from './status.ts';
import { UserDirectory } from './users/directory.ts';

/**
 * The cloud controller: the v3 API over PostgreSQL, which holds the desired state; the placement of work on DEAs over NATS; and
 * the workers of asynchronous jobs. Several can run side by side on one database.
 */
export async function start(
  config: CloudControllerConfig,
  context: ComponentContext & Pick<DatabaseOptions, 'onStatement'>,
): Promise<RunningComponent> {
  const { log, clock } = context;
  await using stack = new AsyncDisposableStack();
  const vault = new Vault(readEncryptionKeys(config));
  const database = stack.use(await openDatabase(config, vault, context));
  const bus = stack.use(await Bus.connect({ ...config.nats, name: 'cloud-controller', log }));
  const verifier = uaaVerifier(config, clock);
  stack.use(followRevocations({ bus, clock, refusers: [verifier] }));
  const apps = stack.use(await openAppsSide({ config, db: database.query, bus, clock, log, vault }));
  const brokers = stack.use(new BrokerClient({ ...config.brokers, api_url: config.urls.api }));
  const links = new Links(config.urls.api);
  const operations = new JobRegistry();
  const { job_timeout_s: timeout_s, job_retention_days: retention_days } = config.limits;
  const runner = stack.use(
    new JobRunner({ db: database.query, registry: operations, clock, log, ...config.jobs, timeout_s, retention_days }),
  );
  const deps: Deps = {
    config,
    db: database.query,
    links,
    jobs: new JobQueue({ links, wake: () => runner.wake() }),
    operations,
    effects: appEffects(database.query, apps),
    apps,
    vault,
    brokers,
    dashboards: dashboardClients(config, { db: database.query, clock, log }),
    directory: new UserDirectory({ ...config.uaa, clock }),
    verifier,
    clock,
    log,
  };
  await installBuildpacks(deps);
  const { port } = stack.use(await openFaces(deps, bus));
  if (config.status) stack.use(await openStatus(config.status, { bus, index: config.index }));
  stack.use(sweepEventsHourly(deps, config.limits.event_retention_days));
  stack.use(reapLostOperations(deps));
  runner.wake();
  const running = stack.move();
  return {
    addresses: { external: `http://${config.external.host}:${port}`, internal: config.internal_url },
    [Symbol.asyncDispose]: async () => await running.disposeAsync(),
  };
}
