import { randomUUID } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { notFound, unprocessable } from '#contracts/cf-errors.ts';
import { isForeignKeyViolation, isUniqueViolation } from '#db/database.ts';
import { isInPermittedOrganization, isOneOf, isOneOfNames, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import { metadataColumns, type MetadataUpdate } from '../api/metadata.ts';
import type { Scope } from '../api/permissions.ts';
import { NOW } from '../api/statement-store.ts';
import type { Db, IsolationSegments } from '../tables.ts';

export type IsolationSegment = Selectable<IsolationSegments>;

/** All DEAs that name no segment are in this one. */
export const SHARED_SEGMENT = { guid: '933b4c58-120b-499a-b85d-4b6fc9e2903b', name: 'shared' } as const;

/** Those entitled to an organization of the caller's. */
function isVisible(scope: Scope) {
  if (scope.everywhere) return sql<boolean>`true`;
  return sql<boolean>`isolation_segments.guid in (select isolation_segment_guid from isolation_segment_organizations
    where ${isInPermittedOrganization(scope, 'isolation_segment_organizations.organization_guid')})`;
}

export async function findIsolationSegment(db: Db, guid: string, scope: Scope): Promise<IsolationSegment | undefined> {
  return await db
    .selectFrom('isolation_segments')
    .selectAll()
    .where('guid', '=', guid)
    .where(isVisible(scope))
    .executeTakeFirst();
}

export async function listIsolationSegments(db: Db, query: ListQuery, scope: Scope): Promise<Page<IsolationSegment>> {
  return await selectPage(db.selectFrom('isolation_segments').selectAll().where(isVisible(scope)), {
    query,
    table: 'isolation_segments',
    filters: {
      guids: 'isolation_segments.guid',
      names: isOneOfNames('isolation_segments.name'),
      organization_guids: (values) =>
        sql<boolean>`isolation_segments.guid in (select isolation_segment_guid from isolation_segment_organizations
          where ${isOneOf('isolation_segment_organizations.organization_guid', values)})`,
    },
  });
}

/** Errors: 422 when the name is taken. */
export async function insertIsolationSegment(
  db: Db,
  segment: { name: string; metadata?: MetadataUpdate | undefined },
): Promise<IsolationSegment> {
  return await asUnique(
    async () =>
      await db
        .insertInto('isolation_segments')
        .values({ guid: randomUUID(), name: segment.name, ...metadataColumns(undefined, segment.metadata) })
        .returningAll()
        .executeTakeFirstOrThrow(),
  );
}

/** Errors: 422 when the name is taken, or the segment is in use and would be renamed. */
export async function updateIsolationSegment(
  db: Db,
  segment: IsolationSegment,
  wanted: { name?: string | undefined; metadata?: MetadataUpdate | undefined },
): Promise<IsolationSegment> {
  const row = await asUnique(
    async () =>
      await db
        .updateTable('isolation_segments')
        .set({ name: wanted.name ?? segment.name, ...metadataColumns(segment, wanted.metadata), updated_at: NOW })
        .where('guid', '=', segment.guid)
        .returningAll()
        .executeTakeFirst(),
  );
  if (!row) throw notFound('Isolation segment');
  return row;
}

async function asUnique<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw unprocessable('Isolation Segment names are case insensitive and must be unique');
  }
}

/** Errors: 422 while an organization is entitled to it. */
export async function deleteIsolationSegment(db: Db, guid: string): Promise<void> {
  const used = await entitledGuids(db, guid);
  const refused = unprocessable('Revoke the Organization entitlements for your Isolation Segment.');
  if (used.length > 0) throw refused;
  try {
    await db.deleteFrom('isolation_segments').where('guid', '=', guid).execute();
  } catch (error) {
    throw isForeignKeyViolation(error) ? refused : error;
  }
}

export async function entitledGuids(db: Db, segment_guid: string): Promise<string[]> {
  const rows = await db
    .selectFrom('isolation_segment_organizations')
    .select('organization_guid')
    .where('isolation_segment_guid', '=', segment_guid)
    .orderBy('created_at')
    .orderBy('organization_guid')
    .execute();
  return rows.map((row) => row.organization_guid);
}

export async function entitle(db: Db, segment_guid: string, organization_guids: readonly string[]): Promise<void> {
  if (organization_guids.length === 0) return;
  await db
    .insertInto('isolation_segment_organizations')
    .values(
      [...new Set(organization_guids)].map((organization_guid) => ({
        isolation_segment_guid: segment_guid,
        organization_guid,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Whether the segment is the organization's default, or a space of it is in the segment. */
export async function isUsedBy(db: Db, segment_guid: string, organization_guid: string): Promise<boolean> {
  const { rows } = await sql<{ used: boolean }>`
    select exists (select 1 from organizations where guid = ${organization_guid}
        and default_isolation_segment_guid = ${segment_guid})
      or exists (select 1 from spaces where organization_guid = ${organization_guid}
        and isolation_segment_guid = ${segment_guid}) as used`.execute(db);
  return rows[0]?.used ?? false;
}

export async function revoke(db: Db, segment_guid: string, organization_guid: string): Promise<void> {
  await db
    .deleteFrom('isolation_segment_organizations')
    .where('isolation_segment_guid', '=', segment_guid)
    .where('organization_guid', '=', organization_guid)
    .execute();
}

/** The spaces that were put into the segment, with where they are. */
export async function spacesIn(db: Db, segment_guid: string): Promise<{ guid: string; organization_guid: string }[]> {
  return await db
    .selectFrom('spaces')
    .select(['guid', 'organization_guid'])
    .where('isolation_segment_guid', '=', segment_guid)
    .orderBy('id')
    .execute();
}

export async function seedSharedSegment(db: Db): Promise<void> {
  await db
    .insertInto('isolation_segments')
    .values({ ...SHARED_SEGMENT })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** The name of the segment where an app's instances, tasks and builds go: its space's, else its organization's; null for the shared one. */
export async function isolationSegmentOf(db: Db, app_guid: string): Promise<string | null> {
  const row = await db
    .selectFrom('apps')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .innerJoin('isolation_segments', (join) =>
      join.on(
        'isolation_segments.guid',
        '=',
        sql<string>`coalesce(spaces.isolation_segment_guid, organizations.default_isolation_segment_guid)`,
      ),
    )
    .select('isolation_segments.name')
    .where('apps.guid', '=', app_guid)
    .where('isolation_segments.guid', '!=', SHARED_SEGMENT.guid)
    .executeTakeFirst();
  return row?.name ?? null;
}
