import { type Bus, BusUnavailable } from '#bus/bus.ts';
import type { BlobUrlSigner } from '#blobs/signed-url.ts';
import { deaStart, deaStop, type StartMessage } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { CloudControllerConfig } from '../config.ts';
import type { AdvertPool } from '../placement/advert-pool.ts';
import type { Dispatcher } from '../runtime/dispatcher.ts';
import type { InstanceTracker } from '../runtime/instance-tracker.ts';
import { isolationSegmentOf } from '../isolation-segments/store.ts';
import { loadDocker } from '../packages/docker.ts';
import { findAppInSpace, loadEgressRules, loadVariableGroup } from '../runtime/start-facts.ts';
import { vcapApplication } from '../runtime/start-message.ts';
import { loadAppServices } from '../service-credential-bindings/vcap-services.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import type { TaskRow } from '../tables-apps.ts';
import { completeTask } from './complete.ts';
import { leaseTasks, noteRunning } from './store.ts';

export interface TaskRunnerOptions {
  config: CloudControllerConfig;
  db: Db;
  bus: Bus;
  pool: AdvertPool;
  tracker: InstanceTracker;
  signer: BlobUrlSigner;
  dispatcher: Dispatcher;
  clock: Clock;
  log: Log;
  vault: Vault;
}

const LEASE_S = 25;
const REPLY_TIMEOUT_MS = 5_000;
const DROPLET_URL_VALID_S = 3_600;
/** A DEA that is silent for so long is taken for dead with its tasks, which are never run twice. */
const DEA_SILENCE_MS = 60_000;
/** What was cancelled and of which no DEA says the end: none has it. */
const CANCEL_GRACE_MS = 30_000;

/** Finds a DEA for each task and an end for each, whatever dies meanwhile. */
export class TaskRunner implements AsyncDisposable {
  readonly #options: TaskRunnerOptions;
  readonly #sweep: Disposable;
  readonly #silentSince_ms = new Map<string, number>();
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    this.#sweep = options.clock.every(options.config.placement.sweep_interval_s * 1000, async () => {
      this.#sweeping = this.#sweepOnce();
      await this.#sweeping;
    });
  }

  /** Looks for DEAs for tasks that have none; returns at once. */
  wake(): void {
    this.#options.dispatcher.background('tasks', async () => await this.#dispatchAll());
  }

  /** Tells the DEA to stop a task that is cancelled; one that no DEA has ends here. */
  async cancel(task: TaskRow): Promise<void> {
    this.#options.bus.publish(deaStop, { droplet: task.guid });
    if (task.dea === null) await completeTask(this.#options.db, task.guid, { failed: true, failure_reason: null });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sweep[Symbol.dispose]();
    await this.#sweeping;
  }

  async #dispatchAll(): Promise<void> {
    const tasks = await leaseTasks(this.#options.db, LEASE_S);
    await Promise.all(tasks.map(async (task) => await this.#dispatch(task)));
  }

  async #dispatch(task: TaskRow): Promise<void> {
    const { db, bus, dispatcher, log } = this.#options;
    const message = await this.#message(task);
    if ('impossible' in message) {
      await completeTask(db, task.guid, { failed: true, failure_reason: message.impossible });
      return;
    }
    const demand = {
      droplet: task.guid,
      stack: message.stack,
      isolation_segment: (await isolationSegmentOf(db, task.app_guid)) ?? undefined,
      memory_mb: task.memory_in_mb,
      disk_mb: task.disk_in_mb,
    };
    try {
      const outcome = await dispatcher.offer(demand, (dea) => ({
        send: async () => await bus.request(deaStart(dea), message, { timeout_ms: REPLY_TIMEOUT_MS }),
        abandon: () => void bus.publish(deaStop, { droplet: task.guid }),
      }));
      if ('refused' in outcome) {
        log.warn({ task_guid: task.guid, error: outcome.refused }, 'task not placed');
        await completeTask(db, task.guid, { failed: true, failure_reason: outcome.refused });
        return;
      }
      log.info({ task_guid: task.guid, dea: outcome.dea }, 'task placed');
      if (!(await noteRunning(db, task.guid, outcome.dea))) bus.publish(deaStop, { droplet: task.guid });
    } catch (error) {
      // The lease runs out, and it is tried again.
      if (!(error instanceof BusUnavailable)) throw error;
    }
  }

  async #message(task: TaskRow): Promise<StartMessage | { impossible: string }> {
    const { db, signer, config, vault } = this.#options;
    const [app, droplet, group_variables, egress_network_rules, services] = await Promise.all([
      findAppInSpace(db, task.app_guid),
      db
        .selectFrom('droplets')
        .selectAll()
        .where('guid', '=', task.droplet_guid ?? '')
        .executeTakeFirst(),
      loadVariableGroup(db, 'running'),
      loadEgressRules(db, task.app_guid, 'running'),
      loadAppServices(db, vault, task.app_guid),
    ]);
    if (!app || droplet?.state !== 'STAGED' || droplet.sha256 === null)
      return { impossible: 'the droplet of the task is gone' };
    if (services.unfit !== undefined) return { impossible: services.unfit };
    const docker = await loadDocker(db, vault, droplet);
    const limits = { memory_mb: task.memory_in_mb, disk_mb: task.disk_in_mb };
    const settings = { api_url: config.urls.api, fds: config.limits.fds };
    return {
      kind: 'TASK',
      droplet: task.guid,
      app: app.guid,
      version: task.guid,
      instance: task.guid,
      index: 0,
      process_type: 'task',
      name: app.name,
      space_name: app.space_name,
      organization_name: app.organization_name,
      task_name: task.name,
      stack: droplet.stack ?? config.default_stack,
      droplet_guid: droplet.guid,
      droplet_uri: signer.sign({ method: 'GET', bucket: 'cc-droplets', key: droplet.guid }, DROPLET_URL_VALID_S),
      droplet_sha256: droplet.sha256,
      ...(docker && { docker }),
      start_command: task.command,
      uris: [],
      internal_uris: [],
      ports: [],
      limits: {
        mem: task.memory_in_mb,
        disk: task.disk_in_mb,
        fds: config.limits.fds,
        log_rate: task.log_rate_limit_in_bytes_per_second,
      },
      env: [...Object.entries(group_variables), ...Object.entries(task.environment_variables)],
      vcap_application: vcapApplication({ app, uris: [] }, limits, settings),
      ...services.told,
      volume_mounts: services.volume_mounts,
      health_check: { type: 'process' },
      sidecars: [],
      egress_network_rules,
      cc_partition: config.cc_partition,
    };
  }

  async #sweepOnce(): Promise<void> {
    try {
      await this.#dispatchAll();
      await this.#failLost();
    } catch (error) {
      this.#options.log.warn({ error: describeError(error) }, 'tasks not swept');
    }
  }

  async #failLost(): Promise<void> {
    const { db, pool, tracker, clock, bus } = this.#options;
    const held = await db.selectFrom('tasks').selectAll().where('state', 'in', ['RUNNING', 'CANCELING']).execute();
    const now = clock.monotonic();
    const deas = new Set(held.flatMap(({ dea }) => (dea === null ? [] : [dea])));
    for (const dea of this.#silentSince_ms.keys()) if (!deas.has(dea)) this.#silentSince_ms.delete(dea);
    for (const dea of deas) {
      if (!bus.isConnected || pool.isHeard(dea) || tracker.isHeard(dea)) this.#silentSince_ms.delete(dea);
      else if (!this.#silentSince_ms.has(dea)) this.#silentSince_ms.set(dea, now);
    }
    for (const task of held) {
      const silent_ms = now - (this.#silentSince_ms.get(task.dea ?? '') ?? now);
      const isForgotten =
        task.state === 'CANCELING' && clock.now() - task.updated_at.getTime() > CANCEL_GRACE_MS && bus.isConnected;
      if (task.state === 'CANCELING' && !isForgotten) bus.publish(deaStop, { droplet: task.guid });
      if (silent_ms < DEA_SILENCE_MS && !isForgotten) continue;
      const failure_reason = 'the machine that ran the task is gone';
      await completeTask(db, task.guid, { failed: true, failure_reason });
    }
  }
}
