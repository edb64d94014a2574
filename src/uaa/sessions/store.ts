import type { Database } from '#db/database.ts';
import type { UaaConfig } from '../config.ts';
import { digestOf, randomWord } from '../secrets.ts';
import type { UaaTables, User } from '../tables.ts';

export interface Session {
  id: string;
  user: User;
  auth_time_ms: number;
}

/** A use is written down at most this often. */
const TOUCH_MS = 60_000;

/** Browsers that are signed in. The id is known to the browser alone; all UAAs find the session by its digest. */
export class SessionStore {
  readonly #database: Database<UaaTables>;
  readonly #policy: UaaConfig['sessions'];

  constructor(database: Database<UaaTables>, policy: UaaConfig['sessions']) {
    this.#database = database;
    this.#policy = policy;
  }

  /** Always a new id, whatever the browser brought along: an id that somebody else planted is worth nothing. */
  async create(user_id: string, now_ms: number): Promise<string> {
    const id = randomWord();
    const at = new Date(now_ms);
    const expires_at = new Date(now_ms + this.#policy.max_s * 1000);
    await this.#database.query
      .insertInto('sessions')
      .values({ id_hash: digestOf(id), user_id, auth_time: at, created_at: at, last_seen_at: at, expires_at })
      .execute();
    return id;
  }

  async find(id: string, now_ms: number): Promise<Session | undefined> {
    const id_hash = digestOf(id);
    const { query } = this.#database;
    const session = await query
      .selectFrom('sessions')
      .selectAll()
      .where('id_hash', '=', id_hash)
      .where('expires_at', '>', new Date(now_ms))
      .where('last_seen_at', '>', new Date(now_ms - this.#policy.idle_s * 1000))
      .executeTakeFirst();
    if (!session) return undefined;
    const user = await query.selectFrom('users').selectAll().where('id', '=', session.user_id).executeTakeFirst();
    if (!user?.active) return undefined;
    if (session.last_seen_at.getTime() < now_ms - TOUCH_MS) {
      const last_seen_at = new Date(now_ms);
      await query.updateTable('sessions').set({ last_seen_at }).where('id_hash', '=', id_hash).execute();
    }
    return { id, user, auth_time_ms: session.auth_time.getTime() };
  }

  async end(id: string): Promise<void> {
    await this.#database.query.deleteFrom('sessions').where('id_hash', '=', digestOf(id)).execute();
  }
}
