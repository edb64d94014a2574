import { sql } from 'kysely';
import { type Blobstore, CC_BUCKETS } from '#blobs/blobstore.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { failAbandonedUploads } from '../packages/store.ts';
import type { Db } from '../tables.ts';

export interface JanitorOptions {
  db: Db;
  blobs: Blobstore;
  clock: Clock;
  log: Log;
  task_retention_days: number;
}

const INTERVAL_MS = 600_000;
const LOCK_KEY = 4_906_153;
const DAY_MS = 24 * 3600 * 1000;
/** No upload takes so long. */
const UPLOAD_ABANDONED_S = 2 * 3600;
/** A blob is written before its row says so; a younger one may be on its way. */
const BLOB_GRACE_MS = DAY_MS;
/** Files kept for matching are kept anew by the next push that has them. */
const RESOURCE_KEPT_MS = 30 * DAY_MS;
const BATCH = 500;

/** Clears away what nothing refers to any more, now and then; of several cloud controllers one at a time. */
export class Janitor implements AsyncDisposable {
  readonly #options: JanitorOptions;
  readonly #rounds: Disposable;
  #round: Promise<void> = Promise.resolve();

  constructor(options: JanitorOptions) {
    this.#options = options;
    this.#rounds = options.clock.every(INTERVAL_MS, async () => {
      this.#round = this.sweep();
      await this.#round;
    });
  }

  async sweep(): Promise<void> {
    const { db, log } = this.#options;
    try {
      await db.transaction().execute(async (trx) => {
        const { rows } = await sql<{ mine: boolean }>`select pg_try_advisory_xact_lock(${LOCK_KEY}) as mine`.execute(
          trx,
        );
        if (rows[0]?.mine !== true) return;
        await failAbandonedUploads(trx, UPLOAD_ABANDONED_S);
        await sql`
          delete from tasks where state in ('SUCCEEDED', 'FAILED')
            and updated_at < now() - make_interval(days => ${this.#options.task_retention_days})`.execute(trx);
      });
      for (const bucket of CC_BUCKETS) await this.#collect(bucket);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'clearing away failed');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#rounds[Symbol.dispose]();
    await this.#round;
  }

  async #collect(bucket: CcBucket): Promise<void> {
    const { blobs, clock, log } = this.#options;
    const oldest = clock.now() - (bucket === 'cc-resources' ? RESOURCE_KEPT_MS : BLOB_GRACE_MS);
    let old: string[] = [];
    let collected = 0;
    const drop = async (): Promise<void> => {
      const kept = await this.#referred(bucket, old);
      for (const key of old) if (!kept.has(key) && (await blobs.delete(bucket, key))) collected += 1;
      old = [];
    };
    for await (const { key, modified_at } of blobs.list(bucket)) {
      if (modified_at.getTime() < oldest) old.push(key);
      if (old.length >= BATCH) await drop();
    }
    await drop();
    if (collected > 0) log.info({ bucket, collected }, 'blobs collected');
  }

  async #referred(bucket: CcBucket, keys: readonly string[]): Promise<Set<string>> {
    if (keys.length === 0 || bucket === 'cc-resources') return new Set();
    const { rows } = await REFERRED[bucket](keys).execute(this.#options.db);
    return new Set(rows.map(({ key }) => key));
  }
}

type CcBucket = (typeof CC_BUCKETS)[number];

const REFERRED = {
  'cc-packages': (keys: readonly string[]) => sql<{ key: string }>`
    select guid as key from packages where guid = any(${keys}::text[]) and state <> 'EXPIRED'`,
  'cc-droplets': (keys: readonly string[]) => sql<{ key: string }>`
    select guid as key from droplets where guid = any(${keys}::text[]) and state <> 'EXPIRED'
    union select droplet_guid from builds where droplet_guid = any(${keys}::text[]) and state = 'STAGING'
    union select key from unnest(${keys}::text[]) key
      where key like '%-cache-%' and exists (select 1 from apps where guid = left(key, 36))`,
  'cc-buildpacks': (keys: readonly string[]) => sql<{ key: string }>`
    select guid || '_' || checksum as key from buildpacks where guid || '_' || checksum = any(${keys}::text[])`,
};
