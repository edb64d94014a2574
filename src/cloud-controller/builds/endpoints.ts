import { randomUUID } from 'node:crypto';
import { type FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { isUniqueViolation } from '#db/database.ts';
import { seeApp } from '../apps/policy.ts';
import { checkBuildpacks, checkStack } from '../apps/lifecycle-data.ts';
import { refuseBuildpackData } from '../apps/endpoints.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { presentLifecycle } from '../apps/presenter.ts';
import { findApp, type FoundApp } from '../apps/store.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { isInPermittedSpace, presentPage, selectPage } from '../api/list-store.ts';
import { type ListSpec, parseList } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { findPackage } from '../packages/store.ts';
import { MAX_INTEGER } from '../processes/schema.ts';
import { findProcessOfType } from '../processes/store.ts';
import type { Db } from '../tables.ts';
import type { BuildRow } from '../tables-apps.ts';
import { recordWorkUsage } from '../usage/record.ts';

type ByGuid = { Params: { guid: string } };

const BUILD_LIST: ListSpec = { filters: ['states', 'app_guids', 'package_guids'], labels: true };
const CreateBuild = z.strictObject({
  package: z.strictObject({ guid: z.string() }),
  lifecycle: z
    .strictObject({
      type: z.enum(['buildpack', 'docker', 'cnb']),
      data: z.strictObject({
        buildpacks: z.array(z.string()).nullable().optional(),
        stack: z.string().nullable().optional(),
        credentials: z.unknown().optional(),
      }),
    })
    .optional(),
  staging_memory_in_mb: z.number().int().min(1).max(MAX_INTEGER).optional(),
  staging_disk_in_mb: z.number().int().min(1).max(MAX_INTEGER).optional(),
  staging_log_rate_limit_bytes_per_second: z.number().int().min(-1).optional(),
  metadata: MetadataUpdate.optional(),
});
const UpdateBuild = z.strictObject({
  metadata: MetadataUpdate.optional(),
  state: z.string().optional(),
  error: z.string().optional(),
  lifecycle: z.unknown().optional(),
});

interface FoundBuild extends BuildRow {
  space_guid: string;
  organization_guid: string;
  organization_suspended: boolean;
}

function buildsWithPlace(db: Db) {
  return db
    .selectFrom('builds')
    .innerJoin('apps', 'apps.guid', 'builds.app_guid')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .selectAll('builds')
    .select([
      'apps.space_guid as space_guid',
      'spaces.organization_guid as organization_guid',
      'organizations.suspended as organization_suspended',
    ]);
}

export function registerBuildEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, apps } = deps;
  const columns = { states: 'builds.state', app_guids: 'builds.app_guid', package_guids: 'builds.package_guid' };

  server.get('/v3/builds', { config: { list: BUILD_LIST } }, async (request) => {
    const query = parseList(request, BUILD_LIST);
    const visible = buildsWithPlace(db).where(isInPermittedSpace(request.caller.scope('app.read'), 'apps.space_guid'));
    const page = await selectPage<FoundBuild>(visible, { query, table: 'builds', filters: columns });
    return presentPage(page, { query, links, present: (row) => presentBuild(row, links) });
  });

  server.get<ByGuid>('/v3/apps/:guid/builds', async (request) => {
    const app = await seeApp(deps, request.caller, request.params.guid);
    const query = parseList(request, { ...BUILD_LIST, filters: ['states'] });
    const ofApp = buildsWithPlace(db).where('builds.app_guid', '=', app.guid);
    const page = await selectPage<FoundBuild>(ofApp, { query, table: 'builds', filters: columns });
    return presentPage(page, { query, links, present: (row) => presentBuild(row, links) });
  });

  const seeBuild = async (caller: Caller, guid: string): Promise<FoundBuild> =>
    caller.see('app.read', await buildsWithPlace(db).where('builds.guid', '=', guid).executeTakeFirst(), 'Build');

  server.get<ByGuid>('/v3/builds/:guid', async ({ params, caller }) =>
    presentBuild(await seeBuild(caller, params.guid), links),
  );

  server.post('/v3/builds', { config: { body: CreateBuild } }, async ({ body, caller }, reply) => {
    const wanted = parseBody(CreateBuild, body);
    const bits = await findPackage(db, wanted.package.guid);
    if (!bits || !caller.may('app.read', bits))
      throw unprocessable('Unable to use package. Ensure that the package exists and you have access to it.');
    caller.require('app.stage', bits);
    if (bits.state !== 'READY') {
      throw new CfError('InvalidRequest', 'Bad request: Cannot stage package whose state is not ready.');
    }
    if (bits.type === 'docker') await requireFeature(db, 'diego_docker', caller);
    const app = await findApp(db, bits.app_guid);
    if (!app) throw unprocessable('Unable to use package. Ensure that the package exists and you have access to it.');
    const build = await createBuild(deps, { app, caller, package_guid: bits.guid }, wanted);
    apps.say(app.guid, `Creating build for app with guid ${app.guid}`);
    apps.stager.wake();
    return reply.code(201).send(presentBuild(build, links));
  });

  server.patch<ByGuid>('/v3/builds/:guid', { config: { body: UpdateBuild } }, async ({ params, body, caller }) => {
    const found = await seeBuild(caller, params.guid);
    const { metadata, ...rest } = parseBody(UpdateBuild, body);
    if (Object.keys(rest).length > 0) throw unprocessable('Cannot update the state of a build: the platform stages it');
    caller.require('app.update', found);
    const updated = await db
      .updateTable('builds')
      .set({ ...metadataColumns(found, metadata), updated_at: sql<Date>`now()` })
      .where('guid', '=', found.guid)
      .returningAll()
      .executeTakeFirstOrThrow();
    return presentBuild(updated, links);
  });
}

async function createBuild(
  deps: Deps,
  { app, caller, package_guid }: { app: FoundApp; caller: Caller; package_guid: string },
  wanted: z.infer<typeof CreateBuild>,
): Promise<BuildRow> {
  const { db, config } = deps;
  const { defaults } = config;
  const data = wanted.lifecycle?.data;
  const lifecycle_type = wanted.lifecycle?.type ?? app.lifecycle_type;
  if (lifecycle_type !== app.lifecycle_type) throw unprocessable('Lifecycle type must be the same as that of the app');
  const buildpacks = data?.buildpacks ?? app.buildpacks;
  const isDocker = lifecycle_type === 'docker';
  if (isDocker) refuseBuildpackData(data);
  const stack = isDocker ? null : (data?.stack ?? app.stack ?? config.default_stack);
  await checkStack(db, stack);
  await checkBuildpacks(db, buildpacks);
  const web = await findProcessOfType(db, app.guid, 'web');
  const memory = wanted.staging_memory_in_mb ?? Math.max(defaults.staging_memory_mb, web?.memory_in_mb ?? 0);
  const disk = wanted.staging_disk_in_mb ?? Math.max(defaults.staging_disk_mb, web?.disk_in_mb ?? 0);
  try {
    return await inTransaction(db, async (trx) => {
      const build = await trx
        .insertInto('builds')
        .values({
          guid: randomUUID(),
          droplet_guid: randomUUID(),
          app_guid: app.guid,
          package_guid,
          error: null,
          lifecycle_type,
          buildpacks: JSON.stringify(buildpacks),
          stack,
          staging_memory_in_mb: memory,
          staging_disk_in_mb: disk,
          staging_log_rate_limit_bytes_per_second: wanted.staging_log_rate_limit_bytes_per_second ?? -1,
          created_by_guid: caller.guid,
          created_by_name: caller.actor.name,
          created_by_email: caller.claims.email ?? null,
          dea: null,
          leased_until: null,
          ...metadataColumns(undefined, wanted.metadata),
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordWorkUsage(trx, app, { state: 'STAGING_STARTED', memory_in_mb: memory });
      const event = { build_guid: build.guid, package_guid };
      await recordAppEvent(trx, app, caller.actor, { what: 'build.create', data: event });
      return build;
    });
  } catch (error) {
    if (!isUniqueViolation(error, 'builds_one_at_a_time')) throw error;
    const detail = 'Only one build can be STAGING at a time per application.';
    throw new CfError('StagingInProgress', detail, { cause: error });
  }
}

function presentBuild(build: BuildRow, links: Links): Record<string, unknown> {
  const app = `/v3/apps/${build.app_guid}`;
  const droplet_guid = build.state === 'STAGED' ? build.droplet_guid : null;
  return {
    ...presentCommon(build),
    state: build.state,
    error: build.error,
    staging_memory_in_mb: build.staging_memory_in_mb,
    staging_disk_in_mb: build.staging_disk_in_mb,
    staging_log_rate_limit_bytes_per_second: build.staging_log_rate_limit_bytes_per_second,
    lifecycle: presentLifecycle(build),
    package: { guid: build.package_guid },
    droplet: droplet_guid === null ? null : { guid: droplet_guid },
    created_by: { guid: build.created_by_guid, name: build.created_by_name, email: build.created_by_email },
    relationships: { app: toOne(build.app_guid) },
    ...presentMetadata(build),
    links: {
      self: links.to(`/v3/builds/${build.guid}`),
      app: links.to(app),
      ...(droplet_guid !== null && { droplet: links.to(`/v3/droplets/${droplet_guid}`) }),
    },
  };
}
