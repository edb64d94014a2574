import type { Kysely, Selectable } from 'kysely';
import { isForeignKeyViolation, type Database } from '#db/database.ts';
import { UaaError } from '../errors.ts';
import type { UaaTables } from '../tables.ts';

type Decision = 'APPROVED' | 'DENIED';
export type Approval = Selectable<UaaTables['approvals']>;

/** How long a person's word about a client counts. */
const APPROVAL_DAYS = 30;

/** What people said that clients may do for them. */
export class ApprovalStore {
  readonly #database: Database<UaaTables>;

  constructor(database: Database<UaaTables>) {
    this.#database = database;
  }

  async list(user_id: string, at: Date, client_id?: string): Promise<Approval[]> {
    let query = this.#database.query
      .selectFrom('approvals')
      .selectAll()
      .where('user_id', '=', user_id)
      .where('expires_at', '>', at);
    if (client_id !== undefined) query = query.where('client_id', '=', client_id);
    return await query.orderBy('client_id').orderBy('scope').execute();
  }

  /** Keeps a yes or no for each scope, in the place of what was said before. */
  async set(
    of: { user_id: string; client_id: string },
    decisions: ReadonlyMap<string, Decision>,
    at: Date,
  ): Promise<void> {
    await write(this.#database.query, of, decisions, at);
  }

  /**
   * Makes these all that the user said, for all clients; what was said before goes, or nothing changes.
   * Errors: invalid_request when a client is not there.
   */
  async replace(
    user_id: string,
    decisions: ReadonlyMap<string, ReadonlyMap<string, Decision>>,
    at: Date,
  ): Promise<void> {
    try {
      await this.#database.query.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('approvals').where('user_id', '=', user_id).execute();
        for (const [client_id, of_client] of decisions) await write(transaction, { user_id, client_id }, of_client, at);
      });
    } catch (error) {
      if (!isForeignKeyViolation(error)) throw error;
      throw new UaaError('invalid_request', 'No client with a requested id', { cause: error });
    }
  }

  async delete(user_id: string, client_id?: string): Promise<void> {
    let query = this.#database.query.deleteFrom('approvals').where('user_id', '=', user_id);
    if (client_id !== undefined) query = query.where('client_id', '=', client_id);
    await query.execute();
  }
}

async function write(
  database: Kysely<UaaTables>,
  of: { user_id: string; client_id: string },
  decisions: ReadonlyMap<string, Decision>,
  at: Date,
): Promise<void> {
  if (decisions.size === 0) return;
  const expires_at = new Date(at.getTime() + APPROVAL_DAYS * 86_400_000);
  const values = [...decisions].map(([scope, status]) => ({ ...of, scope, status, expires_at, updated_at: at }));
  await database
    .insertInto('approvals')
    .values(values)
    .onConflict((c) =>
      c.columns(['user_id', 'client_id', 'scope']).doUpdateSet((e) => ({
        status: e.ref('excluded.status'),
        expires_at,
        updated_at: at,
      })),
    )
    .execute();
}
