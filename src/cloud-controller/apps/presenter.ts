import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { AppRow } from '../tables-apps.ts';

export function presentLifecycle(row: {
  lifecycle_type: string;
  buildpacks: readonly string[];
  stack: string | null;
}): Record<string, unknown> {
  if (row.lifecycle_type === 'docker') return { type: 'docker', data: {} };
  return {
    type: row.lifecycle_type,
    data: { buildpacks: row.buildpacks.map(withoutCredentials), stack: row.stack },
  };
}

/** A git URL's password is nobody else's business. */
export function withoutCredentials(buildpack: string): string {
  return buildpack.replace(/^([a-z+]+:\/\/)[^/@]+@/i, '$1***:***@');
}

export function presentApp(app: AppRow, links: Links): Record<string, unknown> {
  const path = `/v3/apps/${app.guid}`;
  return {
    ...presentCommon(app),
    name: app.name,
    state: app.state,
    lifecycle: presentLifecycle(app),
    relationships: { space: toOne(app.space_guid), current_droplet: toOne(app.droplet_guid) },
    ...presentMetadata(app),
    links: {
      self: links.to(path),
      space: links.to(`/v3/spaces/${app.space_guid}`),
      processes: links.to(`${path}/processes`),
      packages: links.to(`${path}/packages`),
      environment_variables: links.to(`${path}/environment_variables`),
      current_droplet: links.to(`${path}/droplets/current`),
      droplets: links.to(`${path}/droplets`),
      tasks: links.to(`${path}/tasks`),
      start: links.with(`${path}/actions/start`, 'POST'),
      stop: links.with(`${path}/actions/stop`, 'POST'),
      clear_buildpack_cache: links.with(`${path}/actions/clear_buildpack_cache`, 'POST'),
      revisions: links.to(`${path}/revisions`),
      deployed_revisions: links.to(`${path}/revisions/deployed`),
      features: links.to(`${path}/features`),
    },
  };
}

export function presentDropletRelationship(app: AppRow, links: Links): Record<string, unknown> {
  return {
    ...toOne(app.droplet_guid),
    links: {
      self: links.to(`/v3/apps/${app.guid}/relationships/current_droplet`),
      related: links.to(`/v3/apps/${app.guid}/droplets/current`),
    },
  };
}
