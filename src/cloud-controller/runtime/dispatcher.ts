import { randomUUID } from 'node:crypto';
import { type Bus, NoReply } from '#bus/bus.ts';
import type { BlobUrlSigner } from '#blobs/signed-url.ts';
import { type DesiredProcess, dropletUpdated } from '#contracts/cloud-controller.ts';
import { type OrderReply, type StartMessage, deaStart, deaStop, deaUpdate } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { AdvertPool } from '../placement/advert-pool.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import type { ProcessRow } from '../tables-apps.ts';
import type { InstanceTracker } from './instance-tracker.ts';
import { loadRoutes, loadStartFacts, type StartFacts } from './start-facts.ts';
import { routesOf, startMessage, type StartSettings } from './start-message.ts';

export interface DispatcherOptions {
  db: Db;
  bus: Bus;
  pool: AdvertPool;
  tracker: InstanceTracker;
  signer: BlobUrlSigner;
  clock: Clock;
  log: Log;
  settings: StartSettings & { default_stack: string; start_batch: number; vault: Vault };
}

export type OrderOutcome = { dea: string } | { refused: string };

const REPLY_TIMEOUT_MS = 5_000;
const MAX_TRIES = 5;
const DROPLET_URL_VALID_S = 3_600;
// A DEA frees what it stops only once that is gone, which takes as long as an app may take to shut down.
const ROOM_PATIENCE_MS = 15_000;
const ROOM_RETRY_MS = 500;

/**
 * Carries changes of the desired state to the DEAs: starts, stops, routes. Everything here may get lost, since the health
 * manager asks again for what is missing; so nothing is queued and no caller waits. Disposing of it awaits what is under way.
 */
export class Dispatcher implements AsyncDisposable {
  readonly #options: DispatcherOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #starting = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Runs work that no request waits for. Its failure is logged: the health manager covers for it. */
  background(what: string, work: () => Promise<void>): void {
    const run = (async () => {
      try {
        await work();
      } catch (error) {
        this.#options.log.warn({ what, error: describeError(error) }, 'background work failed');
      }
    })();
    this.#running.add(run);
    void run.finally(() => this.#running.delete(run));
  }

  /** Says the desired state of processes and starts all of their indices that are missing. */
  startMissing(process_guids: readonly string[]): void {
    for (const guid of process_guids) {
      this.background('start of a process', async () => {
        const { db } = this.#options;
        const process = await db.selectFrom('processes').selectAll().where('guid', '=', guid).executeTakeFirst();
        if (!process) return;
        this.sayDesired(process);
        const indices = Array.from({ length: process.state === 'STARTED' ? process.instances : 0 }, (_, at) => at);
        await this.startIndices(guid, { version: process.version, indices, waitsForRoom: true });
      });
    }
  }

  /** Starts those of the indices that are desired and not alive; on demand tries again for what a restart is about to free. */
  async startIndices(
    process_guid: string,
    wanted: { version: string; indices: readonly number[]; waitsForRoom?: boolean },
  ): Promise<void> {
    const { db, tracker, settings } = this.#options;
    if (wanted.indices.length === 0) return;
    const facts = await loadStartFacts(db, process_guid, settings);
    if (!facts || facts.process.version !== wanted.version) return;
    const pending = wanted.indices.filter(
      (index) => index < facts.process.instances && !tracker.isAlive(facts.process, index),
    );
    const lacking: number[] = [];
    const lanes = Array.from({ length: Math.min(settings.start_batch, pending.length) }, async () => {
      for (let index = pending.shift(); index !== undefined; index = pending.shift()) {
        if (!(await this.#startOne(facts, index))) lacking.push(index);
      }
    });
    await Promise.all(lanes);
    if (wanted.waitsForRoom === true) await this.#startWhenThereIsRoom(process_guid, wanted.version, lacking);
  }

  /** Starts an index although one is alive, for the one that evacuates. */
  async startAnyway(process_guid: string, wanted: { version: string; index: number }): Promise<void> {
    const facts = await loadStartFacts(this.#options.db, process_guid, this.#options.settings);
    if (!facts || facts.process.version !== wanted.version || wanted.index >= facts.process.instances) return;
    await this.#startOne(facts, wanted.index);
  }

  /** Stops a version of a process: what ran before a restart, or all of it when it was stopped. */
  stopVersion(process: Pick<ProcessRow, 'guid' | 'version'>): void {
    this.#options.bus.publish(deaStop, { droplet: process.guid, version: process.version });
  }

  /** Stops everything of a process that is no more, and tells that nothing of it is desired. */
  stopGone(process: Pick<ProcessRow, 'guid' | 'app_guid' | 'version'>): void {
    const { bus, tracker } = this.#options;
    bus.publish(deaStop, { droplet: process.guid });
    this.sayDesired({ ...process, instances: 0, state: 'STOPPED' });
    tracker.forgetProcess(process.guid);
  }

  stopIndices(process: Pick<ProcessRow, 'guid' | 'version'>, indices: number[]): void {
    if (indices.length === 0) return;
    this.#options.bus.publish(deaStop, { droplet: process.guid, version: process.version, indices });
  }

  stopInstance(process: Pick<ProcessRow, 'guid'>, instance: string): void {
    this.#options.bus.publish(deaStop, { droplet: process.guid, instances: [instance] });
  }

  /** The hint to the health manager that a process's desired state changed. */
  sayDesired(process: Pick<ProcessRow, 'guid' | 'app_guid' | 'version' | 'instances' | 'state'>): void {
    this.#options.bus.publish(dropletUpdated, presentDesired(process));
  }

  /** Tells the DEAs the routes of apps' started processes anew. */
  async routesChanged(app_guids: readonly string[]): Promise<void> {
    const { db, bus } = this.#options;
    for (const app_guid of new Set(app_guids)) {
      const processes = await db
        .selectFrom('processes')
        .select(['guid', 'type'])
        .where('app_guid', '=', app_guid)
        .where('state', '=', 'STARTED')
        .execute();
      if (processes.length === 0) continue;
      const routes = await loadRoutes(db, app_guid);
      for (const { guid, type } of processes) bus.publish(deaUpdate, { droplet: guid, ...routesOf(type, routes) });
    }
  }

  /**
   * Offers an order to DEAs until one takes it. `order` makes it anew for each, since one that got no answer may have been
   * taken after all; `abandon` is told of those.
   */
  async offer(
    demand: Parameters<AdvertPool['take']>[0],
    order: (dea: string) => { send: () => Promise<OrderReply>; abandon: () => void },
  ): Promise<OrderOutcome> {
    const { pool, log, tracker } = this.#options;
    // Beats come more often than adverts: to ask one that is silent would cost the time-out.
    for (const { id } of pool.adverts) if (tracker.isSilent(id)) pool.forget(id);
    const tried = new Set<string>();
    let lastRefusal: string | undefined;
    while (tried.size < MAX_TRIES) {
      const placement = pool.take(demand, tried);
      if ('refused' in placement) return { refused: lastRefusal ?? placement.refused };
      const { dea } = placement;
      tried.add(dea);
      const { send, abandon } = order(dea);
      try {
        const reply = await send();
        if (reply.accepted) return { dea };
        lastRefusal = reply.error?.message ?? 'the DEA refused';
        log.info({ dea, droplet: demand.droplet, error: reply.error }, 'order refused by a DEA');
      } catch (error) {
        if (!(error instanceof NoReply)) throw error;
        pool.forget(dea);
        abandon();
        log.warn({ dea, droplet: demand.droplet }, 'order not answered by a DEA');
      }
    }
    return { refused: lastRefusal ?? 'no DEA took the order' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #startWhenThereIsRoom(process_guid: string, version: string, lacking: readonly number[]): Promise<void> {
    const { clock, db, settings, tracker } = this.#options;
    const end_ms = clock.monotonic() + ROOM_PATIENCE_MS;
    let pending = [...lacking];
    while (pending.length > 0 && clock.monotonic() < end_ms) {
      try {
        await clock.sleep(ROOM_RETRY_MS, this.#stop.signal);
      } catch {
        return;
      }
      const facts = await loadStartFacts(db, process_guid, settings);
      if (!facts || facts.process.version !== version) return;
      const { process } = facts;
      pending = pending.filter((index) => index < process.instances && !tracker.isAlive(process, index));
      // One that fits tells that others may; with none there is no use in asking for each.
      while (pending[0] !== undefined && (await this.#startOne(facts, pending[0]))) pending.shift();
    }
  }

  /** False when no DEA has room. */
  async #startOne(facts: StartFacts, index: number): Promise<boolean> {
    const { process } = facts;
    // The health manager and a user may ask for the same at once.
    const key = `${process.guid}/${process.version}/${index}`;
    if (this.#starting.has(key)) return true;
    this.#starting.add(key);
    try {
      return await this.#placeAndStart(facts, index);
    } finally {
      this.#starting.delete(key);
    }
  }

  async #placeAndStart(facts: StartFacts, index: number): Promise<boolean> {
    const { bus, tracker, log, signer, settings, clock } = this.#options;
    const { process, started_as: as } = facts;
    const demand = {
      droplet: process.guid,
      stack: facts.stack,
      isolation_segment: as.isolation_segment ?? undefined,
      leaving: tracker.leaving(process),
      memory_mb: as.memory_in_mb,
      disk_mb: as.disk_in_mb,
    };
    let message: StartMessage | undefined;
    const droplet_uri = signer.sign(
      { method: 'GET', bucket: 'cc-droplets', key: facts.droplet.guid },
      DROPLET_URL_VALID_S,
    );
    const { unfit } = facts.services;
    const outcome =
      unfit !== undefined
        ? { refused: unfit }
        : await this.offer(demand, (dea) => {
            const offered = startMessage(facts, { guid: randomUUID(), index }, { droplet_uri }, settings);
            message = offered;
            return {
              send: async () => await bus.request(deaStart(dea), offered, { timeout_ms: REPLY_TIMEOUT_MS }),
              abandon: () => this.stopInstance(process, offered.instance),
            };
          });
    if ('refused' in outcome || message === undefined) {
      const details = 'refused' in outcome ? outcome.refused : '';
      tracker.notPlaced(process, index, details);
      log.warn({ droplet: process.guid, app: process.app_guid, index, details }, 'instance not placed');
      return false;
    }
    const { droplet, app, version, instance, cc_partition } = message;
    const state_timestamp = Math.floor(clock.now() / 1000);
    const beat = { droplet, app, version, instance, index, cc_partition, state_timestamp, routable: false };
    tracker.ordered(outcome.dea, { ...beat, state: 'STARTING' });
    log.info({ droplet, app, version, instance, index, dea: outcome.dea }, 'instance ordered');
    return true;
  }
}

export function presentDesired(
  process: Pick<ProcessRow, 'guid' | 'app_guid' | 'version' | 'instances' | 'state'>,
): DesiredProcess {
  const { guid, app_guid, version, instances, state } = process;
  return { droplet: guid, app: app_guid, version, instances, state, package_state: 'STAGED' };
}
