import type { Blobstore } from '#blobs/blobstore.ts';
import { openBlobstore } from '#blobs/config.ts';
import { BlobUrlSigner } from '#blobs/signed-url.ts';
import type { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { deaBeat } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import { listenToBus } from '../bus.ts';
import type { CloudControllerConfig } from '../config.ts';
import { DeploymentDriver } from '../deployments/driver.ts';
import { PolicyTeller } from '../network-policies/teller.ts';
import { Assembler } from '../packages/assembler.ts';
import { AdvertPool } from '../placement/advert-pool.ts';
import { Stager } from '../staging/stager.ts';
import type { Vault } from '../service-secrets/vault.ts';
import { TaskRunner } from '../tasks/runner.ts';
import type { Db } from '../tables.ts';
import { Dispatcher } from './dispatcher.ts';
import { InstanceTracker } from './instance-tracker.ts';
import { Janitor } from './janitor.ts';

/** What apps need besides the database: the DEAs, the blobs, and their logs. */
export interface AppsSide extends AsyncDisposable {
  bus: Bus;
  blobs: Blobstore;
  assembler: Assembler;
  signer: BlobUrlSigner;
  pool: AdvertPool;
  tracker: InstanceTracker;
  dispatcher: Dispatcher;
  stager: Stager;
  tasks: TaskRunner;
  /** Tells the DEAs which app may reach which. */
  policies: PolicyTeller;
  /** Says a line in an app's log, as `[API/0]`. */
  say(app_guid: string, text: string): void;
}

const PRUNE_INTERVAL_MS = 30_000;

/** Opens the blobstore and begins to hear the DEAs. */
export async function openAppsSide(options: {
  config: CloudControllerConfig;
  db: Db;
  bus: Bus;
  clock: Clock;
  log: Log;
  vault: Vault;
}): Promise<AppsSide> {
  const { config, db, bus, clock, log, vault } = options;
  await using stack = new AsyncDisposableStack();
  const blobs = stack.use(await openBlobstore(config.blobstore));
  const signer = new BlobUrlSigner({ base_url: config.internal_url, secret: config.internal_api.password, clock });
  const { advertisement_timeout_s, instance_silence_s, start_batch } = config.placement;
  const pool = new AdvertPool({ clock, advertisement_timeout_s });
  const tracker = new InstanceTracker({
    clock,
    instance_silence_s,
    askForBeat: (dea) => void bus.publish(deaBeat, { dea }),
  });
  const settings = {
    api_url: config.urls.api,
    cc_partition: config.cc_partition,
    fds: config.limits.fds,
    health_check_timeout_s: config.defaults.health_check_timeout_s,
    default_stack: config.default_stack,
    start_batch,
    vault,
  };
  const emitter = stack.use(
    new LogEmitter({ publisher: bus, tags: { origin: 'cloud_controller', index: String(config.index) } }),
  );
  const say = (app_guid: string, text: string): void =>
    emitter.emit({ source_id: app_guid, instance_id: '0', source_type: 'API', payload: text, type: 'OUT' });
  const dispatcher = stack.use(new Dispatcher({ db, bus, pool, tracker, signer, clock, log, settings }));
  const stager = stack.use(
    new Stager({ config, db, bus, pool, signer, blobs, dispatcher, tracker, clock, log, vault }),
  );
  const tasks = stack.use(new TaskRunner({ config, db, bus, pool, signer, dispatcher, tracker, clock, log, vault }));
  const policies = stack.use(new PolicyTeller({ bus, db, clock, log }));
  const { deployment_interval_s: interval_s } = config.placement;
  stack.use(new DeploymentDriver({ db, dispatcher, tracker, clock, log, interval_s }));
  const { event_retention_days: task_retention_days } = config.limits;
  stack.use(new Janitor({ db, blobs, clock, log, task_retention_days }));
  stack.use(listenToBus({ bus, db, pool, tracker, dispatcher, log }));
  stack.use(clock.every(PRUNE_INTERVAL_MS, () => tracker.prune()));
  const opened = stack.move();
  return {
    bus,
    blobs,
    assembler: new Assembler({ blobs, blobstore: config.blobstore }),
    signer,
    pool,
    tracker,
    dispatcher,
    stager,
    tasks,
    policies,
    say,
    [Symbol.asyncDispose]: async () => await opened.disposeAsync(),
  };
}
