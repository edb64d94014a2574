import type { StagingBuildpack, StagingMessage } from '#contracts/staging.ts';
import type { BlobUrlSigner } from '#blobs/signed-url.ts';
import { dockerOf } from '../packages/docker.ts';
import { buildpackBlobKey } from './buildpack-blob-key.ts';
import type { CloudControllerConfig } from '../config.ts';
import { findAppInSpace, loadEgressRules, loadRoutes, loadVariableGroup } from '../runtime/start-facts.ts';
import { vcapApplication } from '../runtime/start-message.ts';
import { loadAppServices } from '../service-credential-bindings/vcap-services.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import type { BuildRow } from '../tables-apps.ts';

export interface StagingSources {
  db: Db;
  signer: BlobUrlSigner;
  config: CloudControllerConfig;
  vault: Vault;
}

/** What cannot be staged for a reason that the user is told. */
export type StagingOrder = { message: StagingMessage } | { impossible: string };

const URL_SLACK_S = 3_600;

/** The order to stage a build, with signed URLs for what is read and written. */
export async function makeStagingOrder(build: BuildRow, sources: StagingSources): Promise<StagingOrder> {
  const { db, signer, config, vault } = sources;
  const [app, row, bits] = await Promise.all([
    findAppInSpace(db, build.app_guid),
    db.selectFrom('apps').select('environment_variables').where('guid', '=', build.app_guid).executeTakeFirst(),
    db.selectFrom('packages').selectAll().where('guid', '=', build.package_guid).executeTakeFirst(),
  ]);
  if (!app || !row) return { impossible: 'StagingError - the app is gone' };
  const docker = bits && dockerOf(vault, bits);
  if (!bits || bits.state !== 'READY' || (bits.sha256 === null && !docker)) {
    return { impossible: 'StagingError - the package is gone' };
  }
  const [groups, routes, rules, buildpacks, services] = await Promise.all([
    loadVariableGroup(db, 'staging'),
    loadRoutes(db, build.app_guid),
    loadEgressRules(db, build.app_guid, 'staging'),
    docker ? { list: [], detect: false } : resolveBuildpacks(build, sources),
    loadAppServices(db, vault, build.app_guid),
  ]);
  if ('impossible' in buildpacks) return buildpacks;
  if (services.unfit !== undefined) return { impossible: `StagingError - ${services.unfit}` };
  const web = await db
    .selectFrom('processes')
    .select('command')
    .where('app_guid', '=', build.app_guid)
    .where('type', '=', 'web')
    .orderBy('id', 'desc')
    .executeTakeFirst();
  const timeout_s = config.limits.staging_timeout_s;
  const stack = build.stack ?? config.default_stack;
  const valid_s = timeout_s + URL_SLACK_S;
  const url = (method: 'GET' | 'PUT', bucket: 'cc-packages' | 'cc-droplets', key: string): string =>
    signer.sign({ method, bucket, key }, valid_s);
  const cache = stagingCacheKey(build.app_guid, stack);
  const uris = routes.filter((route) => route.process_type === 'web').map((route) => route.uri);
  const limits = { memory_mb: build.staging_memory_in_mb, disk_mb: build.staging_disk_in_mb };
  const settings = { api_url: config.urls.api, fds: config.limits.fds };
  return {
    message: {
      app: app.guid,
      app_name: app.name,
      space_name: app.space_name,
      organization_name: app.organization_name,
      task_id: build.guid,
      stack,
      ...(docker && { docker }),
      package_uri: docker ? '' : url('GET', 'cc-packages', bits.guid),
      package_sha256: bits.sha256 ?? '',
      droplet_upload_uri: url('PUT', 'cc-droplets', build.droplet_guid ?? build.guid),
      ...(!docker && {
        cache_download_uri: url('GET', 'cc-droplets', cache),
        cache_upload_uri: url('PUT', 'cc-droplets', cache),
      }),
      buildpacks: buildpacks.list,
      detect: buildpacks.detect,
      ...(web?.command != null && { start_command: web.command }),
      env: [...Object.entries(groups), ...Object.entries(row.environment_variables)],
      vcap_application: vcapApplication({ app, uris }, limits, settings),
      ...services.told,
      memory_limit_mb: build.staging_memory_in_mb,
      disk_limit_mb: build.staging_disk_in_mb,
      timeout_s,
      egress_network_rules: rules,
    },
  };
}

/** Where an app's staging cache lies among the droplets. */
export function stagingCacheKey(app_guid: string, stack: string): string {
  return `${app_guid}-cache-${stack.replace(/[^A-Za-z0-9_-]/g, '_')}`;
}

async function resolveBuildpacks(
  build: BuildRow,
  { db, signer, config }: StagingSources,
): Promise<{ list: StagingBuildpack[]; detect: boolean } | { impossible: string }> {
  const stack = build.stack ?? config.default_stack;
  const rows = await db
    .selectFrom('buildpacks')
    .selectAll()
    .where('state', '=', 'READY')
    .where('enabled', '=', true)
    .where('lifecycle', '=', 'buildpack')
    .orderBy('position')
    .execute();
  const usable = rows.filter((row) => row.checksum !== null && (row.stack === null || row.stack === stack));
  const present = (row: (typeof rows)[number]): StagingBuildpack => {
    const checksum = row.checksum ?? '';
    const key = buildpackBlobKey(row.guid, checksum);
    const valid_s = config.limits.staging_timeout_s + URL_SLACK_S;
    const url = signer.sign({ method: 'GET', bucket: 'cc-buildpacks', key }, valid_s);
    return { key, name: row.name, url, sha256: checksum, kind: 'admin' };
  };
  if (build.buildpacks.length === 0) {
    if (usable.length === 0) return { impossible: 'NoBuildpacksFound - no buildpack is installed' };
    return { list: usable.map(present), detect: true };
  }
  const list: StagingBuildpack[] = [];
  for (const wanted of build.buildpacks) {
    if (isBuildpackUrl(wanted)) {
      const kind = /\.zip($|[?#])/.test(wanted) ? 'zip' : 'git';
      list.push({ key: wanted, name: wanted, url: wanted, kind });
      continue;
    }
    // A buildpack made for this very stack goes before one for any.
    const found = usable
      .filter((row) => row.name === wanted)
      .sort((a, b) => Number(a.stack === null) - Number(b.stack === null));
    const [row] = found;
    if (!row)
      return { impossible: `NoBuildpacksFound - the buildpack '${wanted}' is not available for the stack '${stack}'` };
    list.push(present(row));
  }
  return { list, detect: false };
}

export function isBuildpackUrl(text: string): boolean {
  return /^(https?|git|ssh|file):\/\/\S+$|^git@[\w.-]+:\S+$/i.test(text);
}
