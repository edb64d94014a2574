import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { isForeignKeyViolation, isUniqueViolation, type Database } from '#db/database.ts';
import { UaaError } from '../errors.ts';
import { listPage, type Page, type PageQuery } from '../scim/store-page.ts';
import type { Group, GroupMember, UaaTables } from '../tables.ts';
import { GROUP_ATTRIBUTES } from './attributes.ts';

export interface NewMember {
  member_id: string;
  type: 'USER' | 'GROUP';
  origin: string;
}

export class GroupStore {
  readonly #database: Database<UaaTables>;

  constructor(database: Database<UaaTables>) {
    this.#database = database;
  }

  async find(id: string): Promise<Group | undefined> {
    return await this.#database.query.selectFrom('groups').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** Makes those that are missing; what is there stays as it is. */
  async ensure(groups: Readonly<Record<string, string>>, is_default: boolean): Promise<void> {
    const values = Object.entries(groups).map(([display_name, description]) => ({
      id: randomUUID(),
      display_name,
      description,
      is_default,
    }));
    if (values.length === 0) return;
    const { query } = this.#database;
    await query
      .insertInto('groups')
      .values(values)
      .onConflict((c) => c.doNothing())
      .execute();
  }

  /** Errors: scim_resource_already_exists. */
  async create(group: { id?: string; display_name: string; description: string }): Promise<Group> {
    try {
      return await this.#database.query
        .insertInto('groups')
        .values({ ...group, id: group.id ?? randomUUID() })
        .returningAll()
        .executeTakeFirstOrThrow();
    } catch (error) {
      throw asNameTaken(error, group.display_name);
    }
  }

  /** Errors: scim_version_mismatch, scim_resource_not_found, scim_resource_already_exists. */
  async update(id: string, change: { display_name?: string; description?: string }, version?: number): Promise<Group> {
    try {
      let query = this.#database.query
        .updateTable('groups')
        .set({ ...change, updated_at: new Date() })
        .set((e) => ({ version: e('version', '+', 1) }))
        .where('id', '=', id);
      if (version !== undefined) query = query.where('version', '=', version);
      const updated = await query.returningAll().executeTakeFirst();
      if (updated) return updated;
    } catch (error) {
      throw asNameTaken(error, change.display_name ?? id);
    }
    const kept = await this.find(id);
    if (!kept) throw groupNotFound(id);
    throw new UaaError(
      'scim_version_mismatch',
      `Attempt to update a group (${id}) with wrong version: expected=${kept.version} but found=${version}`,
    );
  }

  async delete(id: string): Promise<Group | undefined> {
    return await this.#database.query.transaction().execute(async (transaction) => {
      await transaction.deleteFrom('group_members').where('member_id', '=', id).execute();
      return await transaction.deleteFrom('groups').where('id', '=', id).returningAll().executeTakeFirst();
    });
  }

  async list(page: PageQuery): Promise<Page<Group>> {
    return await listPage<Group>(this.#database, { table: 'groups', attributes: GROUP_ATTRIBUTES, ...page });
  }

  async members(group_ids: readonly string[]): Promise<Map<string, GroupMember[]>> {
    const found = new Map<string, GroupMember[]>();
    if (group_ids.length === 0) return found;
    const rows = await this.#database.query
      .selectFrom('group_members')
      .selectAll()
      .where('group_id', 'in', group_ids)
      .orderBy('created_at')
      .orderBy('member_id')
      .execute();
    for (const row of rows) found.set(row.group_id, [...(found.get(row.group_id) ?? []), row]);
    return found;
  }

  /** Errors: scim_resource_already_exists, invalid_scim_resource when the member or scim_resource_not_found when the group is not there. */
  async addMember(group_id: string, member: NewMember): Promise<GroupMember> {
    await this.assertMember(group_id, member);
    try {
      return await this.#database.query
        .insertInto('group_members')
        .values({ group_id, ...member })
        .returningAll()
        .executeTakeFirstOrThrow();
    } catch (error) {
      if (isForeignKeyViolation(error)) throw groupNotFound(group_id);
      if (!isUniqueViolation(error)) throw error;
      const message = `${member.member_id} is already a member of the group: ${group_id}`;
      throw new UaaError('scim_resource_already_exists', message, { cause: error });
    }
  }

  async removeMember(group_id: string, member_id: string): Promise<GroupMember | undefined> {
    return await this.#database.query
      .deleteFrom('group_members')
      .where('group_id', '=', group_id)
      .where('member_id', '=', member_id)
      .returningAll()
      .executeTakeFirst();
  }

  /** Makes `members`, whom assertMember found, all that the group has. Errors: scim_resource_not_found. */
  async setMembers(group_id: string, members: readonly NewMember[]): Promise<void> {
    const unique = [...new Map(members.map((member) => [member.member_id, member])).values()];
    await this.#database.query.transaction().execute(async (transaction) => {
      // One at a time, or two that set the same member at once would meet in the index.
      const group = transaction.selectFrom('groups').select('id').where('id', '=', group_id).forUpdate();
      if (!(await group.executeTakeFirst())) throw groupNotFound(group_id);
      await transaction.deleteFrom('group_members').where('group_id', '=', group_id).execute();
      if (unique.length === 0) return;
      // Three values however many members: a statement takes 65,535.
      const [ids, types, origins] = (['member_id', 'type', 'origin'] as const).map((name) =>
        unique.map((member) => member[name]),
      );
      await sql`insert into group_members (group_id, member_id, type, origin)
        select ${group_id}, m.id, m.type, m.origin from unnest(${ids}::text[], ${types}::text[], ${origins}::text[])
        as m (id, type, origin) on conflict do nothing`.execute(transaction);
    });
  }

  /** What the groups of these names are for, in the order of the names. */
  async descriptions(names: readonly string[]): Promise<{ name: string; description: string }[]> {
    if (names.length === 0) return [];
    const { query } = this.#database;
    const rows = await query
      .selectFrom('groups')
      .select(['display_name', 'description'])
      .where('display_name', 'in', names)
      .execute();
    const found = new Map(rows.map((row) => [row.display_name, row.description]));
    return names.map((name) => ({ name, description: found.get(name) ?? '' }));
  }

  /** Makes a user a member of the groups of these names; those that are not there are left out. */
  async join(user_id: string, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { query } = this.#database;
    const groups = await query.selectFrom('groups').select('id').where('display_name', 'in', names).execute();
    if (groups.length === 0) return;
    const values = groups.map(({ id }) => ({ group_id: id, member_id: user_id, type: 'USER' as const, origin: 'uaa' }));
    await query
      .insertInto('group_members')
      .values(values)
      .onConflict((c) => c.doNothing())
      .execute();
  }

  /** Makes the groups of these names all those that a user is in by this origin; what others made of them stays. */
  async setOfOrigin(user_id: string, origin: string, names: readonly string[]): Promise<void> {
    await this.#database.query.transaction().execute(async (transaction) => {
      const groups =
        names.length === 0
          ? []
          : await transaction.selectFrom('groups').select('id').where('display_name', 'in', names).execute();
      let stale = transaction.deleteFrom('group_members').where('member_id', '=', user_id).where('origin', '=', origin);
      if (groups.length > 0)
        stale = stale.where(
          'group_id',
          'not in',
          groups.map(({ id }) => id),
        );
      await stale.execute();
      if (groups.length === 0) return;
      const values = groups.map(({ id }) => ({ group_id: id, member_id: user_id, type: 'USER' as const, origin }));
      await transaction
        .insertInto('group_members')
        .values(values)
        .onConflict((c) => c.doNothing())
        .execute();
    });
  }

  /** Errors: invalid_scim_resource when there is no such user or group. */
  async assertMember(group_id: string, member: NewMember): Promise<void> {
    const { query } = this.#database;
    const table = member.type === 'USER' ? 'users' : 'groups';
    const found = await query.selectFrom(table).select('id').where('id', '=', member.member_id).executeTakeFirst();
    if (!found) throw new UaaError('invalid_scim_resource', `Invalid group member: ${member.member_id}`);
    if (member.member_id === group_id) throw new UaaError('invalid_scim_resource', 'A group cannot be its own member');
  }
}

export const groupNotFound = (id: string): UaaError =>
  new UaaError('scim_resource_not_found', `Group ${id} does not exist`);

function asNameTaken(error: unknown, name: string): unknown {
  if (!isUniqueViolation(error, 'groups_display_name')) return error;
  return new UaaError('scim_resource_already_exists', `A group with displayName: ${name} already exists.`, {
    cause: error,
  });
}
