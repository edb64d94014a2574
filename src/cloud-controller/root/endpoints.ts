import type { FastifyInstance } from 'fastify';
import { API_VERSION, type CloudControllerConfig } from '../config.ts';
import type { Deps } from '../deps.ts';
import type { Links } from '../api/links.ts';

/** What clients read before they have a token: where everything is, and what version this is. */
export function registerRootEndpoints(server: FastifyInstance, { config, links }: Deps): void {
  server.get('/', async () => presentRoot(config, links));
  server.get('/v3', async () => presentV3(links));
  server.get('/v3/info', async () => ({
    build: config.build,
    cli_version: { minimum: '', recommended: '' },
    // Ours alone: lets a client refuse at once what would be refused after its upload.
    custom: { upload_max_bytes: config.limits.upload_max_bytes },
    description: config.description,
    name: config.name,
    version: 0,
    osbapi_version: '2.17',
    rate_limits: {
      enabled: config.limits.rate_limit !== undefined,
      general_limit: config.limits.rate_limit?.user_per_hour ?? 0,
      reset_interval_in_minutes: 60,
    },
    links: { self: links.to('/v3/info'), support: { href: config.urls.support } },
  }));
}

function presentRoot({ urls, router_groups }: CloudControllerConfig, links: Links): Record<string, unknown> {
  const to = (url: string | undefined): { href: string } | null => (url === undefined ? null : { href: url });
  return {
    links: {
      self: links.to(''),
      cloud_controller_v2: null,
      cloud_controller_v3: { ...links.to('/v3'), meta: { version: API_VERSION } },
      network_policy_v0: links.to('/networking/v0/external'),
      network_policy_v1: links.to('/networking/v1/external'),
      login: to(urls.login),
      uaa: to(urls.uaa),
      credhub: null,
      routing: router_groups.length === 0 ? null : links.to('/routing'),
      logging: to(urls.logging),
      log_cache: to(urls.log_cache),
      log_stream: to(urls.log_stream),
      app_ssh:
        urls.ssh === undefined
          ? null
          : {
              href: urls.ssh,
              meta: {
                host_key_fingerprint: urls.ssh_host_key_fingerprint ?? null,
                oauth_client: 'ssh-proxy',
              },
            },
    },
  };
}

const RESOURCES = [
  'apps',
  'audit_events',
  'builds',
  'buildpacks',
  'deployments',
  'domains',
  'droplets',
  'environment_variable_groups',
  'feature_flags',
  'info',
  'isolation_segments',
  'jobs',
  'organizations',
  'organization_quotas',
  'packages',
  'processes',
  'resource_matches',
  'revisions',
  'roles',
  'routes',
  'security_groups',
  'service_brokers',
  'service_credential_bindings',
  'service_instances',
  'service_offerings',
  'service_plans',
  'service_route_bindings',
  'sidecars',
  'spaces',
  'space_quotas',
  'stacks',
  'tasks',
  'users',
];

function presentV3(links: Links): Record<string, unknown> {
  return {
    links: {
      self: links.to('/v3'),
      ...Object.fromEntries(RESOURCES.map((name) => [name, links.to(`/v3/${name}`)])),
    },
  };
}
