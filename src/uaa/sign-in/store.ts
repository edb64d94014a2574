import { sql } from 'kysely';
import type { Database } from '#db/database.ts';
import type { UaaConfig } from '../config.ts';
import type { UaaTables } from '../tables.ts';

/** Counts the sign-ins tried for each account, whether it exists or not. */
export class AttemptStore {
  readonly #database: Database<UaaTables>;
  readonly #policy: UaaConfig['lockout'];

  constructor(database: Database<UaaTables>, policy: UaaConfig['lockout']) {
    this.#database = database;
    this.#policy = policy;
  }

  /**
   * Counts a try before its outcome is known, so that many at once cannot outrun the count; `forget` undoes it. False when
   * the account is locked: after so many failures within the window, for the lock's time since the last of them.
   */
  async begin(subject: string, at: Date): Promise<boolean> {
    const { after_failures, within_s, for_s } = this.#policy;
    const lockEnded = new Date(at.getTime() - for_s * 1000);
    const windowStart = new Date(at.getTime() - within_s * 1000);
    const { rows } = await sql<{ attempts: number }>`
      insert into sign_in_attempts as a (subject, attempts, first_at, last_at) values (${subject}, 1, ${at}, ${at})
      on conflict (subject) do update set
        attempts = case
          when a.attempts >= ${after_failures} and a.last_at > ${lockEnded} then ${after_failures + 1}
          when a.attempts >= ${after_failures} or a.first_at <= ${windowStart} then 1
          else a.attempts + 1 end,
        first_at = case
          when a.attempts >= ${after_failures} and a.last_at > ${lockEnded} then a.first_at
          when a.attempts >= ${after_failures} or a.first_at <= ${windowStart} then ${at}
          else a.first_at end,
        last_at = case when a.attempts >= ${after_failures} and a.last_at > ${lockEnded} then a.last_at else ${at} end
      returning attempts`.execute(this.#database.query);
    return (rows[0]?.attempts ?? 1) <= after_failures;
  }

  async forget(subject: string): Promise<void> {
    await this.#database.query.deleteFrom('sign_in_attempts').where('subject', '=', subject).execute();
  }
}
