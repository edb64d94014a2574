import { type Selectable, sql } from 'kysely';
import { isOneOf, type Page, selectPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Scope } from '../api/permissions.ts';
import type { AuditEvents, Db } from '../tables.ts';

export type AuditEventRow = Selectable<AuditEvents>;

export async function findAuditEvent(db: Db, guid: string): Promise<AuditEventRow | undefined> {
  return await db.selectFrom('audit_events').selectAll().where('guid', '=', guid).executeTakeFirst();
}

/** Events of the caller's spaces, and of the organizations whose events the caller may see; those of neither are the platform's. */
export async function listAuditEvents(
  db: Db,
  query: ListQuery,
  within: { spaces: Scope; organizations: Scope; not_target_guids?: readonly string[] },
): Promise<Page<AuditEventRow>> {
  let statement = db.selectFrom('audit_events').selectAll();
  const { spaces, organizations, not_target_guids } = within;
  if (!spaces.everywhere && !organizations.everywhere) {
    statement = statement.where(
      sql<boolean>`(${isOneOf('audit_events.space_guid', spaces.space_guids)}
        or ${isOneOf('audit_events.organization_guid', organizations.organization_guids)})`,
    );
  }
  if (not_target_guids) {
    statement = statement.where(sql<boolean>`not ${isOneOf('audit_events.target_guid', not_target_guids)}`);
  }
  return await selectPage(statement, {
    query,
    table: 'audit_events',
    filters: {
      types: 'audit_events.type',
      target_guids: 'audit_events.target_guid',
      space_guids: 'audit_events.space_guid',
      organization_guids: 'audit_events.organization_guid',
    },
  });
}

/** Forgets events and usage that are older than they are kept. */
export async function sweepEvents(db: Db, retention_days: number): Promise<void> {
  const old = sql<boolean>`created_at < now() - make_interval(days => ${retention_days})`;
  await db.deleteFrom('audit_events').where(old).execute();
  await db.deleteFrom('app_usage_events').where(old).execute();
  await db.deleteFrom('service_usage_events').where(old).execute();
}
