import { randomUUID } from 'node:crypto';
import { sql, type QueryResult, type RawBuilder } from 'kysely';
import { isUniqueViolation, type Database } from '#db/database.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import { UaaError } from '../errors.ts';
import { randomWord } from '../secrets.ts';
import { Overview } from '../scim/overview.ts';
import { listPage, type Page, type PageQuery } from '../scim/store-page.ts';
import type { UaaTables, User } from '../tables.ts';
import { USER_ATTRIBUTES } from './attributes.ts';

export interface NewUser {
  id?: string;
  user_name: string;
  origin: string;
  email: string;
  external_id?: string | null;
  given_name?: string | null;
  family_name?: string | null;
  phone_number?: string | null;
  active?: boolean;
  verified?: boolean;
  password_hash: string | null;
}
export type UserChange = Partial<Omit<NewUser, 'id' | 'password_hash'>>;

export interface GroupOfUser {
  id: string;
  display_name: string;
  isDirect: boolean;
}

export class UserStore {
  readonly #database: Database<UaaTables>;
  readonly #clock: Clock;
  #everybody: { groups: GroupOfUser[]; read_at_ms: number } | undefined;
  readonly #overview: Overview;

  constructor(options: { database: Database<UaaTables>; clock: Clock; log: Log }) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#overview = new Overview(options);
  }

  async find(id: string): Promise<User | undefined> {
    return await this.#database.query.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** By user name, in any case, of one origin or of all. */
  async findByName(user_name: string, origin?: string): Promise<User[]> {
    let query = this.#database.query
      .selectFrom('users')
      .selectAll()
      .where((e) => e(e.fn<string>('lower', ['user_name']), '=', e.fn<string>('lower', [e.val(user_name)])));
    if (origin !== undefined) query = query.where('origin', '=', origin);
    return await query.orderBy('created_at').limit(10).execute();
  }

  async findByExternalId(external_id: string, origin: string): Promise<User | undefined> {
    return await this.#database.query
      .selectFrom('users')
      .selectAll()
      .where('external_id', '=', external_id)
      .where('origin', '=', origin)
      .executeTakeFirst();
  }

  async findByEmail(email: string, origin: string): Promise<User[]> {
    return await this.#database.query
      .selectFrom('users')
      .selectAll()
      .where((e) => e(e.fn<string>('lower', ['email']), '=', e.fn<string>('lower', [e.val(email)])))
      .where('origin', '=', origin)
      .limit(10)
      .execute();
  }

  /** Errors: scim_resource_already_exists. */
  async create(user: NewUser): Promise<User> {
    try {
      return await this.#database.query
        .insertInto('users')
        .values({ ...user, id: user.id ?? randomUUID(), token_salt: randomWord(9) })
        .returningAll()
        .executeTakeFirstOrThrow();
    } catch (error) {
      throw asNameTaken(error, user.user_name);
    }
  }

  /**
   * Changes a user; `version` is what the caller read, undefined for any.
   * Errors: scim_version_mismatch, scim_resource_not_found, scim_resource_already_exists.
   */
  async update(id: string, change: UserChange, version?: number): Promise<User> {
    try {
      let query = this.#database.query
        .updateTable('users')
        .set({ ...change, updated_at: new Date() })
        .set((e) => ({ version: e('version', '+', 1) }))
        .where('id', '=', id);
      if (version !== undefined) query = query.where('version', '=', version);
      const updated = await query.returningAll().executeTakeFirst();
      if (updated) return updated;
    } catch (error) {
      throw asNameTaken(error, change.user_name ?? id);
    }
    const kept = await this.find(id);
    if (!kept) throw userNotFound(id);
    throw new UaaError(
      'scim_version_mismatch',
      `Attempt to update a user (${id}) with wrong version: expected=${kept.version} but found=${version}`,
    );
  }

  /** A new password ends all tokens and sessions that the old one gave. */
  async setPassword(id: string, password_hash: string): Promise<void> {
    await this.#database.query.transaction().execute(async (transaction) => {
      await transaction
        .updateTable('users')
        .set({ password_hash, password_changed_at: new Date(), token_salt: randomWord(9), updated_at: new Date() })
        .set((e) => ({ version: e('version', '+', 1) }))
        .where('id', '=', id)
        .execute();
      await transaction.deleteFrom('refresh_tokens').where('user_id', '=', id).execute();
      await transaction.deleteFrom('sessions').where('user_id', '=', id).execute();
    });
  }

  /** Ends all tokens of the user. Errors: scim_resource_not_found. */
  async renewSalt(id: string): Promise<void> {
    const { query } = this.#database;
    const set = { token_salt: randomWord(9) };
    const result = await query.updateTable('users').set(set).where('id', '=', id).executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw userNotFound(id);
  }

  async recordLogon(id: string, at: Date): Promise<void> {
    await this.#database.query
      .updateTable('users')
      .set((e) => ({ previous_logon_at: e.ref('last_logon_at'), last_logon_at: at }))
      .where('id', '=', id)
      .execute();
  }

  /** The user as they were, or undefined. Memberships, tokens and sessions go with them. */
  async delete(id: string): Promise<User | undefined> {
    return await this.#database.query.transaction().execute(async (transaction) => {
      await transaction.deleteFrom('group_members').where('member_id', '=', id).execute();
      return await transaction.deleteFrom('users').where('id', '=', id).returningAll().executeTakeFirst();
    });
  }

  async list(page: PageQuery): Promise<Page<User>> {
    const overview = this.#overview;
    return await listPage<User>(this.#database, { table: 'users', attributes: USER_ATTRIBUTES, overview, ...page });
  }

  /** Names of the groups that a user is in, through groups within groups too; everybody is in the default ones. */
  async groupNames(id: string): Promise<string[]> {
    return (await this.groups([id])).get(id)?.map((group) => group.display_name) ?? [];
  }

  /** As groupNames, for many users in one statement. */
  async groups(ids: readonly string[]): Promise<Map<string, GroupOfUser[]>> {
    const found = new Map<string, GroupOfUser[]>();
    if (ids.length === 0) return found;
    const [everybody, { rows }] = await Promise.all([
      this.#defaultGroups(),
      closure(this.#database, sql`select member_id, group_id from group_members where member_id = any(${ids})`),
    ]);
    const own = Map.groupBy(rows, (row) => row.member_id);
    for (const id of ids) {
      const groups = new Map(everybody.map((group) => [group.id, group]));
      for (const row of own.get(id) ?? []) {
        const isDirect = row.depth === 0 || groups.get(row.id)?.isDirect === true;
        groups.set(row.id, { id: row.id, display_name: row.display_name, isDirect });
      }
      found.set(id, own.has(id) ? [...groups.values()].sort(byName) : everybody);
    }
    return found;
  }

  /** The groups that everybody is in, with those that these are in; read again after a second. */
  async #defaultGroups(): Promise<GroupOfUser[]> {
    const now = this.#clock.monotonic();
    if (this.#everybody && now - this.#everybody.read_at_ms < CACHE_MS) return this.#everybody.groups;
    const { rows } = await closure(
      this.#database,
      sql`select '' as member_id, id as group_id from groups where is_default`,
    );
    const groups = rows
      .map((row) => ({ id: row.id, display_name: row.display_name, isDirect: row.depth === 0 }))
      .sort(byName);
    this.#everybody = { groups, read_at_ms: now };
    return groups;
  }
}

const CACHE_MS = 1_000;

const byName = (one: GroupOfUser, other: GroupOfUser): number => (one.display_name < other.display_name ? -1 : 1);

/** From pairs of a member and a group to all groups that follow, since groups are in groups. */
async function closure(
  database: Database<UaaTables>,
  pairs: RawBuilder<unknown>,
): Promise<QueryResult<{ member_id: string; id: string; display_name: string; depth: number }>> {
  return await sql<{ member_id: string; id: string; display_name: string; depth: number }>`
    with recursive memberships (member_id, group_id, depth) as (
      select p.member_id, p.group_id, 0 from (${pairs}) p
      union
      select m.member_id, g.group_id, m.depth + 1 from memberships m
        join group_members g on g.member_id = m.group_id and g.type = 'GROUP' where m.depth < 10
    )
    select m.member_id, g.id, g.display_name, min(m.depth)::int as depth
    from memberships m join groups g on g.id = m.group_id group by m.member_id, g.id, g.display_name`.execute(
    database.query,
  );
}

export const userNotFound = (id: string): UaaError =>
  new UaaError('scim_resource_not_found', `User ${id} does not exist`);

function asNameTaken(error: unknown, user_name: string): unknown {
  if (!isUniqueViolation(error, 'users_user_name_origin')) return error;
  return new UaaError('scim_resource_already_exists', `Username already in use: ${user_name}`, { cause: error });
}
