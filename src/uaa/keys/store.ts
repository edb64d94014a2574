import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { Database } from '#db/database.ts';
import type { SigningKeyRecord, UaaTables } from '../tables.ts';

/** One lock for the making of keys: several UAAs may find at once that a new one is due. */
const ROTATION_LOCK = 7_310_442;

export class KeyStore {
  readonly #database: Database<UaaTables>;

  constructor(database: Database<UaaTables>) {
    this.#database = database;
  }

  /** All keys, the newest first. */
  async list(): Promise<SigningKeyRecord[]> {
    return await this.#database.query.selectFrom('signing_keys').selectAll().orderBy('signs_from', 'desc').execute();
  }

  /** Adds the key that `make` gives unless `isDue` says, of the newest key as it is under the lock, that none is needed. */
  async addWhenDue(
    isDue: (newest: SigningKeyRecord | undefined) => boolean,
    make: () => Promise<Pick<SigningKeyRecord, 'kid' | 'private_key' | 'signs_from'>>,
  ): Promise<boolean> {
    return await this.#database.query.transaction().execute(async (transaction) => {
      await sql`select pg_advisory_xact_lock(${ROTATION_LOCK})`.execute(transaction);
      const newest = await transaction
        .selectFrom('signing_keys')
        .selectAll()
        .orderBy('signs_from', 'desc')
        .limit(1)
        .executeTakeFirst();
      if (!isDue(newest)) return false;
      await transaction
        .insertInto('signing_keys')
        .values(await make())
        .execute();
      return true;
    });
  }

  async delete(kids: readonly string[]): Promise<void> {
    if (kids.length === 0) return;
    await this.#database.query.deleteFrom('signing_keys').where('kid', 'in', kids).execute();
  }

  /** A secret that all UAAs of this database share, made by the first that asks. */
  async sharedSecret(name: string): Promise<Buffer> {
    const value = randomBytes(32).toString('base64');
    const { query } = this.#database;
    await query
      .insertInto('shared_secrets')
      .values({ name, value })
      .onConflict((c) => c.doNothing())
      .execute();
    const kept = await query
      .selectFrom('shared_secrets')
      .select('value')
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    return Buffer.from(kept.value, 'base64');
  }
}
