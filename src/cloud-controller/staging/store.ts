import { sql } from 'kysely';
import { recordWorkUsage } from '../usage/record.ts';
import { recordAuditEvent } from '../events.ts';
import { findAppInSpace } from '../runtime/start-facts.ts';
import type { Db } from '../tables.ts';
import type { BuildRow } from '../tables-apps.ts';

/** Takes the builds that wait for a DEA and that nobody looks for one for. */
export async function leaseBuilds(db: Db, lease_s: number): Promise<BuildRow[]> {
  const { rows } = await sql<BuildRow>`
    update builds set leased_until = now() + make_interval(secs => ${lease_s})
    where guid in (
      select guid from builds
      where state = 'STAGING' and dea is null and (leased_until is null or leased_until < now())
      order by id limit 20 for update skip locked
    )
    returning *`.execute(db);
  return rows;
}

/** False when the build ended meanwhile. */
export async function noteStager(db: Db, guid: string, dea: string): Promise<boolean> {
  const result = await db
    .updateTable('builds')
    .set({ dea, leased_until: null })
    .where('guid', '=', guid)
    .where('state', '=', 'STAGING')
    .executeTakeFirst();
  if (result.numUpdatedRows > 0n) return true;
  // A DEA may be done before its answer to the order is written.
  const build = await db.selectFrom('builds').select('state').where('guid', '=', guid).executeTakeFirst();
  return build?.state === 'STAGED';
}

export async function overdueBuilds(db: Db, timeout_s: number): Promise<BuildRow[]> {
  return await db
    .selectFrom('builds')
    .selectAll()
    .where('state', '=', 'STAGING')
    .where(sql<boolean>`created_at < now() - make_interval(secs => ${timeout_s})`)
    .execute();
}

/** Ends a build as failed. False when it had ended. `error` reads `<code> - <text>`. */
export async function failBuild(db: Db, guid: string, error: string): Promise<boolean> {
  return await db.transaction().execute(async (trx) => {
    const build = await trx
      .updateTable('builds')
      .set({ state: 'FAILED', error, leased_until: null, updated_at: sql<Date>`now()` })
      .where('guid', '=', guid)
      .where('state', '=', 'STAGING')
      .returningAll()
      .executeTakeFirst();
    if (!build) return false;
    await recordBuildEnd(trx, build, 'failed');
    return true;
  });
}

/** The events that a build's end leaves. */
export async function recordBuildEnd(trx: Db, build: BuildRow, how: 'staged' | 'failed'): Promise<void> {
  const app = await findAppInSpace(trx, build.app_guid);
  if (!app) return;
  await recordWorkUsage(trx, app, { state: 'STAGING_STOPPED', memory_in_mb: build.staging_memory_in_mb });
  await recordAuditEvent(trx, {
    type: `audit.app.build.${how}`,
    actor: {
      guid: build.created_by_guid ?? '',
      type: 'user',
      name: build.created_by_name ?? '',
    },
    target: { guid: app.guid, type: 'app', name: app.name },
    data: {
      build_guid: build.guid,
      package_guid: build.package_guid,
      ...(build.error !== null && { error: build.error }),
    },
    space_guid: app.space_guid,
    organization_guid: app.organization_guid,
  });
}
