import { randomUUID } from 'node:crypto';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import type { GuardedPlace } from '../api/caller.ts';
import { isOneOf, isOneOfNames, isWithin, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, SpaceRow } from '../tables.ts';
import type { CreateSpace, UpdateSpace } from './schema.ts';

/** A space as a place: with its own guid as `space_guid`, and whether its organization is suspended. */
export type FoundSpace = SpaceRow & GuardedPlace & { space_guid: string; organization_guid: string };

function spaces(db: Db) {
  return db
    .selectFrom('spaces')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('spaces')
    .select(['spaces.guid as space_guid', 'organizations.suspended as organization_suspended']);
}

export async function findSpace(db: Db, guid: string): Promise<FoundSpace | undefined> {
  return await spaces(db).where('spaces.guid', '=', guid).executeTakeFirst();
}

export async function listSpaces(db: Db, query: ListQuery, scope: Scope): Promise<Page<FoundSpace>> {
  return await selectPage(
    spaces(db).where(isWithin(scope, { space: 'spaces.guid', organization: 'spaces.organization_guid' })),
    {
      query,
      table: 'spaces',
      filters: {
        names: isOneOfNames('spaces.name'),
        guids: 'spaces.guid',
        organization_guids: 'spaces.organization_guid',
      },
    },
  );
}

export async function spacesByGuid(db: Db, guids: Iterable<string>): Promise<FoundSpace[]> {
  return await spaces(db)
    .where(isOneOf('spaces.guid', [...new Set(guids)]))
    .orderBy('spaces.id')
    .execute();
}

/** Errors: 422 when the name is taken in the organization. */
export async function insertSpace(db: Db, wanted: CreateSpace): Promise<SpaceRow> {
  const organization_guid = wanted.relationships.organization.data.guid;
  try {
    return await db
      .insertInto('spaces')
      .values({
        guid: randomUUID(),
        name: wanted.name,
        organization_guid,
        quota_guid: null,
        isolation_segment_guid: null,
        ...metadataColumns(undefined, wanted.metadata),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  } catch (error) {
    if (isUniqueViolation(error, 'spaces_name')) throw unprocessable('Name must be unique per organization');
    if (isForeignKeyViolation(error)) {
      throw unprocessable('Invalid organization. Ensure the organization exists and you have access to it.');
    }
    throw error;
  }
}

/** Errors: 422 when the name is taken in the organization, 404 when it was deleted meanwhile. */
export async function updateSpace(
  db: Db,
  space: FoundSpace,
  wanted: UpdateSpace & { allow_ssh?: boolean; isolation_segment_guid?: string | null },
): Promise<SpaceRow> {
  const { name, metadata, ...columns } = wanted;
  try {
    const row = await db
      .updateTable('spaces')
      .set({ ...columns, name: name ?? space.name, ...metadataColumns(space, metadata), updated_at: NOW })
      .where('guid', '=', space.guid)
      .returningAll()
      .executeTakeFirst();
    if (row) return row;
  } catch (error) {
    if (!isUniqueViolation(error, 'spaces_name')) throw error;
    throw unprocessable('Name must be unique per organization');
  }
  throw notFound('Space');
}

/** The apps of a space. */
export async function appGuidsOf(db: Db, space_guid: string): Promise<string[]> {
  const rows = await db.selectFrom('apps').select('guid').where('space_guid', '=', space_guid).execute();
  return rows.map((row) => row.guid);
}
