import { sql } from 'kysely';
import type { Blobstore } from '#blobs/blobstore.ts';
import type { StagingResult } from '#contracts/staging.ts';
import { withoutCredentials } from '../apps/presenter.ts';
import type { Db, Trx } from '../tables.ts';
import type { BuildRow, DropletBuildpack } from '../tables-apps.ts';
import { failBuild, recordBuildEnd } from './store.ts';

export type Completion = 'taken' | 'unknown' | 'ended';

type Staged = Extract<StagingResult, { outcome: 'staged' }>;

/** Takes a DEA's word for how a build ended. What was staged counts only when its droplet is in the blobstore. */
export async function completeStaging(
  deps: { db: Db; blobs: Blobstore; droplets_kept: number },
  build_guid: string,
  result: StagingResult,
): Promise<{ completion: Completion; expired: string[] }> {
  const { db, blobs } = deps;
  const build = await db.selectFrom('builds').selectAll().where('guid', '=', build_guid).executeTakeFirst();
  if (!build) return { completion: 'unknown', expired: [] };
  if (build.state !== 'STAGING') return { completion: 'ended', expired: [] };
  const fault = result.outcome === 'failed' ? faultText(result.error) : await faultOf(db, blobs, build, result);
  if (fault !== undefined || result.outcome === 'failed') {
    const isOurs = await failBuild(db, build_guid, fault ?? 'StagingError - staging failed');
    return { completion: isOurs ? 'taken' : 'ended', expired: [] };
  }
  return await db.transaction().execute(async (trx) => {
    const ended = await trx
      .updateTable('builds')
      .set({ state: 'STAGED', dea: result.dea, leased_until: null, updated_at: sql<Date>`now()` })
      .where('guid', '=', build_guid)
      .where('state', '=', 'STAGING')
      .returningAll()
      .executeTakeFirst();
    if (!ended) return { completion: 'ended', expired: [] };
    await insertStagedDroplet(trx, ended, result);
    await recordBuildEnd(trx, ended, 'staged');
    return { completion: 'taken', expired: await expireDroplets(trx, ended.app_guid, deps.droplets_kept) };
  });
}

function faultText({ code, message }: { code: string; message: string }): string {
  return `${code} - ${message}`;
}

async function faultOf(db: Db, blobs: Blobstore, build: BuildRow, result: Staged): Promise<string | undefined> {
  const blob = await blobs.head('cc-droplets', build.droplet_guid ?? build.guid);
  if (blob?.size !== result.droplet_size) return 'StagingError - the droplet did not arrive whole';
  if (Object.keys(result.process_types).length > 0) return undefined;
  const own = await db
    .selectFrom('processes')
    .select('guid')
    .where('app_guid', '=', build.app_guid)
    .where('command', 'is not', null)
    .executeTakeFirst();
  return own ? undefined : 'StagingError - Start command not specified';
}

async function insertStagedDroplet(trx: Trx, build: BuildRow, result: Staged): Promise<void> {
  const buildpacks: DropletBuildpack[] = result.buildpacks.map((used) => ({
    name: withoutCredentials(used.name),
    detect_output: used.detect_output,
    version: used.version,
    buildpack_name: withoutCredentials(used.name),
  }));
  const row = await trx
    .selectFrom('packages')
    .select('docker_image')
    .where('guid', '=', build.package_guid)
    .executeTakeFirst();
  await trx
    .insertInto('droplets')
    .values({
      guid: build.droplet_guid ?? build.guid,
      app_guid: build.app_guid,
      package_guid: build.package_guid,
      build_guid: build.guid,
      state: 'STAGED',
      error: null,
      lifecycle_type: build.lifecycle_type,
      buildpacks: JSON.stringify(buildpacks),
      stack: build.stack,
      image: row?.docker_image ?? null,
      process_types: JSON.stringify(result.process_types),
      execution_metadata: result.execution_metadata,
      sha256: result.droplet_sha256,
      size_in_bytes: result.droplet_size,
    })
    .execute();
}

/** Keeps the newest droplets beside the current one and those that run; the others' blobs may go. Their guids. */
async function expireDroplets(trx: Trx, app_guid: string, keep: number): Promise<string[]> {
  const { rows } = await sql<{ guid: string }>`
    update droplets d set state = 'EXPIRED', updated_at = now()
    where d.app_guid = ${app_guid} and d.state = 'STAGED'
      and d.guid not in (
        select guid from droplets where app_guid = ${app_guid} and state = 'STAGED' order by id desc limit ${keep + 1})
      and d.guid is distinct from (select droplet_guid from apps where guid = ${app_guid})
      and not exists (
        select 1 from processes p where p.app_guid = d.app_guid and p.started_as ->> 'droplet_guid' = d.guid)
    returning d.guid`.execute(trx);
  return rows.map(({ guid }) => guid);
}
