import type { Blobstore } from '#blobs/blobstore.ts';
import type { BlobUrlSigner } from '#blobs/signed-url.ts';
import { type Bus, BusUnavailable } from '#bus/bus.ts';
import { stagingStart, stagingStop } from '#contracts/staging.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { CloudControllerConfig } from '../config.ts';
import { isolationSegmentOf } from '../isolation-segments/store.ts';
import type { AdvertPool } from '../placement/advert-pool.ts';
import type { Dispatcher, OrderOutcome } from '../runtime/dispatcher.ts';
import type { InstanceTracker } from '../runtime/instance-tracker.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import type { BuildRow } from '../tables-apps.ts';
import { failBuild, leaseBuilds, noteStager, overdueBuilds } from './store.ts';
import { makeStagingOrder } from './staging-message.ts';

export interface StagerOptions {
  config: CloudControllerConfig;
  db: Db;
  bus: Bus;
  pool: AdvertPool;
  tracker: InstanceTracker;
  signer: BlobUrlSigner;
  blobs: Blobstore;
  dispatcher: Dispatcher;
  clock: Clock;
  log: Log;
  vault: Vault;
}

const REPLY_TIMEOUT_MS = 10_000;
const LEASE_S = 25;
// After a restart the DEAs advertise within 5 s; before that "no stager" would be a guess. What the adverts have debited
// they say anew as often.
const PATIENCE_MS = 12_000;
const PATIENCE_WITH_ADVERTS_MS = 6_000;
const RETRY_MS = 250;
/** A DEA that staged and is silent for so long is taken for dead with what it did. */
const STAGER_SILENCE_MS = 60_000;

/**
 * Finds a DEA for each build, and an end for each: a build is held by a lease while a DEA is looked for, so that another cloud
 * controller goes on when this one dies, and it fails when its time is over or its DEA is gone.
 */
export class Stager implements AsyncDisposable {
  readonly #options: StagerOptions;
  readonly #sweep: Disposable;
  readonly #stop = new AbortController();
  readonly #silentSince_ms = new Map<string, number>();
  #isSweeping: Promise<void> = Promise.resolve();

  constructor(options: StagerOptions) {
    this.#options = options;
    this.#sweep = options.clock.every(options.config.placement.sweep_interval_s * 1000, async () => {
      this.#isSweeping = this.#sweepOnce();
      await this.#isSweeping;
    });
  }

  /** Looks for a DEA for builds that have none. Called after a build was written; returns at once. */
  wake(): void {
    this.#options.dispatcher.background('staging', async () => await this.#dispatchAll());
  }

  /** Ends what a DEA does for a build that nobody wants any more. */
  stop(target: { app: string } | { task_id: string }): void {
    this.#options.bus.publish(stagingStop, target);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#sweep[Symbol.dispose]();
    await this.#isSweeping;
  }

  async #dispatchAll(): Promise<void> {
    const builds = await leaseBuilds(this.#options.db, LEASE_S);
    await Promise.all(builds.map(async (build) => await this.#dispatch(build)));
  }

  async #dispatch(build: BuildRow): Promise<void> {
    const { db, log } = this.#options;
    const outcome = await this.#place(build);
    if (outcome === undefined) return;
    if ('refused' in outcome) {
      log.warn({ build_guid: build.guid, app: build.app_guid, error: outcome.refused }, 'build not placed');
      await failBuild(db, build.guid, outcome.refused);
      return;
    }
    log.info({ build_guid: build.guid, app: build.app_guid, dea: outcome.dea }, 'build placed');
    if (!(await noteStager(db, build.guid, outcome.dea))) this.stop({ task_id: build.guid });
  }

  /** Undefined when we are being stopped: the lease runs out and another looks. */
  async #place(build: BuildRow): Promise<OrderOutcome | undefined> {
    const { clock, bus, db, dispatcher, pool } = this.#options;
    const order = await makeStagingOrder(build, this.#options);
    if ('impossible' in order) return { refused: order.impossible };
    const { message } = order;
    const demand = {
      droplet: build.guid,
      stack: message.stack,
      isolation_segment: (await isolationSegmentOf(db, build.app_guid)) ?? undefined,
      memory_mb: message.memory_limit_mb,
      disk_mb: message.disk_limit_mb,
    };
    const offer = async (waits_for_room: boolean): Promise<OrderOutcome> => {
      const order = { ...message, ...(waits_for_room && { waits_for_room }) };
      return await dispatcher.offer({ ...demand, waits_for_room }, (dea) => ({
        send: async () => await bus.request(stagingStart(dea), order, { timeout_ms: REPLY_TIMEOUT_MS }),
        abandon: () => this.stop({ task_id: build.guid }),
      }));
    };
    const begin = clock.monotonic();
    for (;;) {
      let refused: string;
      try {
        const outcome = await offer(false);
        if ('dea' in outcome) return outcome;
        refused = outcome.refused;
        // None has room: rather than fail, it waits where there is least to wait for.
        const queued = await offer(true);
        if ('dea' in queued) return queued;
      } catch (error) {
        if (!(error instanceof BusUnavailable)) throw error;
        refused = error.message;
      }
      const patience_ms = pool.adverts.length === 0 ? PATIENCE_MS : PATIENCE_WITH_ADVERTS_MS;
      if (clock.monotonic() - begin > patience_ms)
        return { refused: `StagerUnavailable - no available stagers: ${refused}` };
      try {
        await clock.sleep(RETRY_MS, this.#stop.signal);
      } catch {
        return undefined;
      }
    }
  }

  async #sweepOnce(): Promise<void> {
    const { db, config, log } = this.#options;
    try {
      await this.#dispatchAll();
      for (const build of await overdueBuilds(db, config.limits.staging_timeout_s + 60)) {
        await failBuild(db, build.guid, 'StagingTimeExpired - Staging time expired');
        this.stop({ task_id: build.guid });
      }
      await this.#failOrphans();
    } catch (error) {
      log.warn({ error: describeError(error) }, 'builds not swept');
    }
  }

  /** A DEA is judged by what we heard ourselves, for a minute at least. */
  async #failOrphans(): Promise<void> {
    const { db, pool, tracker, clock, bus } = this.#options;
    const staging = await db
      .selectFrom('builds')
      .select(['guid', 'dea'])
      .where('state', '=', 'STAGING')
      .where('dea', 'is not', null)
      .execute();
    const now = clock.monotonic();
    const stagers = new Set(staging.map(({ dea }) => dea ?? ''));
    for (const dea of this.#silentSince_ms.keys()) if (!stagers.has(dea)) this.#silentSince_ms.delete(dea);
    for (const dea of stagers) {
      if (!bus.isConnected || pool.isHeard(dea) || tracker.isHeard(dea)) this.#silentSince_ms.delete(dea);
      else if (!this.#silentSince_ms.has(dea)) this.#silentSince_ms.set(dea, now);
    }
    for (const { guid, dea } of staging) {
      const since = this.#silentSince_ms.get(dea ?? '');
      if (since === undefined || now - since < STAGER_SILENCE_MS) continue;
      await failBuild(db, guid, 'StagingError - the machine that staged the app is gone. Please push again.');
    }
  }
}
