import { randomUUID } from 'node:crypto';
import { type RawBuilder, type Selectable, sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import { isOneOf, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, SecurityGroupRule, SecurityGroups } from '../tables.ts';

export type Phase = 'running' | 'staging';
/** Spaces with their organizations, for what the caller may see of them. */
export interface BoundSpace {
  guid: string;
  organization_guid: string;
}
export type SecurityGroup = Selectable<SecurityGroups> & {
  running_spaces: BoundSpace[];
  staging_spaces: BoundSpace[];
};

function boundSpaces(phase: Phase): RawBuilder<BoundSpace[]> {
  return sql<BoundSpace[]>`coalesce((select jsonb_agg(jsonb_build_object('guid', spaces.guid,
      'organization_guid', spaces.organization_guid) order by spaces.id)
    from security_group_spaces join spaces on spaces.guid = security_group_spaces.space_guid
    where security_group_guid = security_groups.guid and phase = ${phase}), '[]')`;
}

function groups(db: Db) {
  return db
    .selectFrom('security_groups')
    .selectAll('security_groups')
    .select([boundSpaces('running').as('running_spaces'), boundSpaces('staging').as('staging_spaces')]);
}

/** Those that hold everywhere, and those bound to a space of the caller's. */
function isVisible(scope: Scope) {
  if (scope.everywhere) return sql<boolean>`true`;
  return sql<boolean>`(running_default or staging_default or exists (
    select 1 from security_group_spaces join spaces on spaces.guid = security_group_spaces.space_guid
    where security_group_guid = security_groups.guid
      and (${isOneOf('spaces.organization_guid', scope.organization_guids)} or ${isOneOf('spaces.guid', scope.space_guids)})))`;
}

export async function findSecurityGroup(db: Db, guid: string, scope: Scope): Promise<SecurityGroup | undefined> {
  return await groups(db).where('security_groups.guid', '=', guid).where(isVisible(scope)).executeTakeFirst();
}

function isBound(phase: Phase, space_guids: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`exists (select 1 from security_group_spaces where security_group_guid = security_groups.guid
    and phase = ${phase} and ${isOneOf('security_group_spaces.space_guid', space_guids)})`;
}

/** `applying` gives those that hold in one space: by binding, or everywhere. */
export async function listSecurityGroups(
  db: Db,
  query: ListQuery,
  within: { scope: Scope } | { applying: { phase: Phase; space_guid: string } },
): Promise<Page<SecurityGroup>> {
  let statement = groups(db);
  if ('scope' in within) statement = statement.where(isVisible(within.scope));
  else {
    const { phase, space_guid } = within.applying;
    const everywhere = sql.ref(`security_groups.${phase}_default`);
    statement = statement.where(sql<boolean>`(${everywhere} or ${isBound(phase, [space_guid])})`);
  }
  for (const phase of ['running', 'staging'] as const) {
    const wanted = query.plain[`globally_enabled_${phase}`];
    if (wanted !== undefined) {
      statement = statement.where(sql<boolean>`${sql.ref(`security_groups.${phase}_default`)} = ${wanted === 'true'}`);
    }
  }
  return await selectPage(statement, {
    query,
    table: 'security_groups',
    filters: {
      guids: 'security_groups.guid',
      names: 'security_groups.name',
      running_space_guids: (values) => isBound('running', values),
      staging_space_guids: (values) => isBound('staging', values),
    },
  });
}

export interface SecurityGroupFields {
  name?: string | undefined;
  rules?: SecurityGroupRule[] | undefined;
  globally_enabled?: { running?: boolean | undefined; staging?: boolean | undefined } | undefined;
}

/** Errors: 422 when the name is taken. Returns its guid. */
export async function insertSecurityGroup(db: Db, group: SecurityGroupFields & { name: string }): Promise<string> {
  const guid = randomUUID();
  await asUnique(group.name, async () => {
    await db
      .insertInto('security_groups')
      .values({
        guid,
        name: group.name,
        rules: JSON.stringify(group.rules ?? []),
        running_default: group.globally_enabled?.running ?? false,
        staging_default: group.globally_enabled?.staging ?? false,
      })
      .execute();
  });
  return guid;
}

/** Errors: 422 when the name is taken. */
export async function updateSecurityGroup(db: Db, group: SecurityGroup, wanted: SecurityGroupFields): Promise<void> {
  const name = wanted.name ?? group.name;
  await asUnique(name, async () => {
    await db
      .updateTable('security_groups')
      .set({
        name,
        rules: JSON.stringify(wanted.rules ?? group.rules),
        running_default: wanted.globally_enabled?.running ?? group.running_default,
        staging_default: wanted.globally_enabled?.staging ?? group.staging_default,
        updated_at: NOW,
      })
      .where('guid', '=', group.guid)
      .execute();
  });
}

async function asUnique(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw unprocessable(`Security group with name '${name}' already exists.`);
  }
}

export async function bindSecurityGroup(
  db: Db,
  security_group_guid: string,
  phase: Phase,
  space_guids: readonly string[],
): Promise<void> {
  if (space_guids.length === 0) return;
  await db
    .insertInto('security_group_spaces')
    .values([...new Set(space_guids)].map((space_guid) => ({ security_group_guid, space_guid, phase })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function unbindSecurityGroup(
  db: Db,
  security_group_guid: string,
  phase: Phase,
  space_guid: string,
): Promise<void> {
  await db
    .deleteFrom('security_group_spaces')
    .where('security_group_guid', '=', security_group_guid)
    .where('space_guid', '=', space_guid)
    .where('phase', '=', phase)
    .execute();
}

export async function deleteSecurityGroup(db: Db, guid: string): Promise<void> {
  const result = await db.deleteFrom('security_groups').where('guid', '=', guid).executeTakeFirst();
  if (result.numDeletedRows === 0n) throw notFound('Security group');
}
