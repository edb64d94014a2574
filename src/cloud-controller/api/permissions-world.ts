/** For the test of permissions: one of each resource, in one organization with one space. */
import { randomUUID } from 'node:crypto';
import type { TestCloudController, TestUser } from '../testing.ts';
import { ORGANIZATION_ROLES, SPACE_ROLES } from './permissions.ts';

export interface World {
  organization_guid: string;
  space_guid: string;
  /** Adds one of each resource but for those named, which it makes theirs; what there can be only one of is left as it is. */
  grow(kept: readonly string[]): Promise<void>;
  requestFor(endpoint: string): { method: string; path: string; body?: unknown; headers?: Record<string, string> };
}

const toOne = (guid: string): { data: { guid: string } } => ({ data: { guid } });
const toMany = (guid: string): { data: { guid: string }[] } => ({ data: [{ guid }] });

export async function makeWorld(cc: TestCloudController): Promise<World> {
  const names = [
    'organizations',
    'spaces',
    'apps',
    'processes',
    'packages',
    'droplets',
    'builds',
    'deployments',
    'revisions',
    'tasks',
    'sidecars',
    'routes',
    'route_policies',
    'domains',
    'organization_quotas',
    'space_quotas',
    'roles',
    'users',
    'security_groups',
    'isolation_segments',
    'buildpacks',
    'stacks',
    'jobs',
    'audit_events',
    'app_usage_events',
    'service_usage_events',
    'destinations',
    'service_instances',
    'service_credential_bindings',
    'service_route_bindings',
    'service_brokers',
    'service_offerings',
    'service_plans',
    'other_spaces',
    'other_organizations',
  ] as const;
  const guid = Object.fromEntries(names.map((name) => [name, randomUUID()])) as Record<(typeof names)[number], string>;
  await insert(cc, guid);
  return {
    organization_guid: guid.organizations,
    space_guid: guid.spaces,
    grow: async (kept) => {
      const fresh = names.map((name) => [name, kept.includes(name) ? guid[name] : randomUUID()]);
      await insert(cc, Object.fromEntries(fresh) as Record<string, string>, `worker${(made += 1)}`);
    },
    requestFor: (endpoint) => {
      const [method = '', pattern = ''] = endpoint.split(' ');
      const resource = pattern.split('/')[2] ?? '';
      const path = pattern
        .replace(':destination_guid', guid.destinations)
        .replace(':space_guid', pattern.includes('shared_spaces') ? guid.other_spaces : guid.spaces)
        .replace(
          ':organization_guid',
          pattern.includes('shared_organizations') ? guid.other_organizations : guid.organizations,
        )
        .replace(':guid', guid[resource as keyof typeof guid] ?? 'none')
        .replace(':type', 'web')
        .replace(':index', '0')
        .replace(':name', NAMES[resource] ?? 'ssh');
      const query = pattern === '/v3/spaces/:guid/routes' ? '?unmapped=true' : '';
      const isYaml = /apply_manifest|manifest_diff/.test(pattern);
      return {
        method,
        path: path + query,
        ...(method !== 'GET' && { body: bodyFor(endpoint, guid) }),
        ...(isYaml && { headers: { 'content-type': 'application/x-yaml' } }),
      };
    },
  };
}

const NAMES: Record<string, string> = { feature_flags: 'diego_docker', environment_variable_groups: 'running' };

function bodyFor(endpoint: string, guid: Record<string, string>): unknown {
  const at = (name: string): string => guid[name] ?? '';
  const name = randomUUID();
  const in_app = { relationships: { app: toOne(at('apps')) } };
  const bodies: Record<string, unknown> = {
    'POST /v3/apps': { name, relationships: { space: toOne(at('spaces')) } },
    'POST /v3/builds': { package: { guid: at('packages') } },
    'POST /v3/deployments': in_app,
    'POST /v3/droplets': { ...in_app, process_types: { web: 'x' } },
    'POST /v3/packages': { ...in_app, type: 'bits' },
    'POST /v3/apps/:guid/sidecars': { name, command: 'x', process_types: ['web'] },
    'POST /v3/apps/:guid/tasks': { command: 'x' },
    'PATCH /v3/apps/:guid/environment_variables': { var: {} },
    'PATCH /v3/apps/:guid/features/:name': { enabled: true },
    'PATCH /v3/apps/:guid/relationships/current_droplet': toOne(at('droplets')),
    'POST /v3/spaces/:guid/actions/apply_manifest': `applications: [{name: ${name}, no-route: true}]`,
    'POST /v3/spaces/:guid/manifest_diff': `applications: [{name: ${name}}]`,
    'POST /v3/organizations': { name },
    'POST /v3/spaces': { name, relationships: { organization: toOne(at('organizations')) } },
    'PATCH /v3/spaces/:guid/features/:name': { enabled: true },
    'PATCH /v3/spaces/:guid/relationships/isolation_segment': toOne(at('isolation_segments')),
    'PATCH /v3/organizations/:guid/relationships/default_isolation_segment': toOne(at('isolation_segments')),
    'POST /v3/organization_quotas': { name },
    'POST /v3/organization_quotas/:guid/relationships/organizations': toMany(at('organizations')),
    'POST /v3/space_quotas': { name, relationships: { organization: toOne(at('organizations')) } },
    'POST /v3/space_quotas/:guid/relationships/spaces': toMany(at('spaces')),
    'POST /v3/roles': {
      type: 'space_auditor',
      relationships: { user: toOne(at('users')), space: toOne(at('spaces')) },
    },
    'POST /v3/users': { guid: name },
    'POST /v3/domains': { name: `${name}.example`, relationships: { organization: toOne(at('organizations')) } },
    'POST /v3/domains/:guid/relationships/shared_organizations': { data: [] },
    'POST /v3/routes': { host: name, relationships: { space: toOne(at('spaces')), domain: toOne(at('domains')) } },
    'POST /v3/route_policies': {
      source: `cf:app:${name}`,
      relationships: { route: toOne(at('routes')) },
    },
    'POST /v3/routes/:guid/destinations': { destinations: [{ app: { guid: at('apps') } }] },
    'PATCH /v3/routes/:guid/destinations': { destinations: [{ app: { guid: at('apps') } }] },
    'PATCH /v3/routes/:guid/destinations/:destination_guid': { protocol: 'http1' },
    'POST /v3/routes/:guid/relationships/shared_spaces': { data: [] },
    'POST /v3/service_instances/:guid/relationships/shared_spaces': { data: [] },
    'PATCH /v3/routes/:guid/relationships/space': toOne(at('spaces')),
    'POST /v3/buildpacks': { name },
    'PATCH /v3/environment_variable_groups/:name': { var: {} },
    'POST /v3/isolation_segments': { name },
    'POST /v3/isolation_segments/:guid/relationships/organizations': toMany(at('organizations')),
    'POST /v3/security_groups': { name },
    'POST /v3/security_groups/:guid/relationships/running_spaces': toMany(at('spaces')),
    'POST /v3/security_groups/:guid/relationships/staging_spaces': toMany(at('spaces')),
    'POST /v3/service_brokers': {
      name,
      url: 'http://127.0.0.1:1',
      authentication: { type: 'basic', credentials: { username: 'a', password: 'b' } },
    },
    'POST /v3/service_route_bindings': {
      relationships: { route: toOne(at('routes')), service_instance: toOne(at('service_instances')) },
    },
    'PATCH /v3/service_plans/:guid/visibility': { type: 'public' },
    'POST /v3/service_plans/:guid/visibility': { type: 'public' },
    'POST /v3/service_instances': { type: 'user-provided', name, relationships: { space: toOne(at('spaces')) } },
    'POST /v3/service_credential_bindings': {
      type: 'app',
      relationships: { app: toOne(at('apps')), service_instance: toOne(at('service_instances')) },
    },
    'POST /v3/stacks': { name },
    'POST /v3/resource_matches': { resources: [{ checksum: { value: 'a'.repeat(40) }, size_in_bytes: 1 }] },
  };
  return bodies[endpoint] ?? {};
}

let made = 1000;

/** One row each, with what its columns must have and nothing more. */
function rowsOf(
  guid: Record<string, string>,
  process_type: string,
): [table: string, columns: Record<string, unknown>][] {
  const g = (name: string): string => guid[name] ?? '';
  const common = (name: string): { guid: string; name: string } => ({ guid: g(name), name: g(name) });
  const of_app = (name: string): { guid: string; app_guid: string } => ({ guid: g(name), app_guid: g('apps') });
  const limits = { memory_in_mb: 1, disk_in_mb: 1, log_rate_limit_in_bytes_per_second: -1 };
  const in_organization = { organization_guid: g('organizations') };
  const event = {
    actor_guid: 'a',
    actor_type: 'user',
    actor_name: 'a',
    target_guid: 't',
    target_type: 'app',
    target_name: 't',
  };
  return [
    ['organization_quotas', common('organization_quotas')],
    ['organizations', { ...common('organizations'), quota_guid: g('organization_quotas') }],
    ['organizations', { ...common('other_organizations'), quota_guid: g('organization_quotas') }],
    ['space_quotas', { ...common('space_quotas'), ...in_organization }],
    ['spaces', { ...common('spaces'), ...in_organization, quota_guid: g('space_quotas') }],
    ['spaces', { ...common('other_spaces'), ...in_organization }],
    ['isolation_segments', common('isolation_segments')],
    ['isolation_segment_organizations', { isolation_segment_guid: g('isolation_segments'), ...in_organization }],
    ['users', { guid: g('users'), username: g('users'), origin: 'uaa' }],
    ['roles', { guid: randomUUID(), type: 'organization_user', user_guid: g('users'), ...in_organization }],
    ['roles', { guid: g('roles'), type: 'space_manager', user_guid: g('users'), space_guid: g('spaces') }],
    [
      'domains',
      {
        guid: g('domains'),
        name: `${g('domains')}.example`,
        ...in_organization,
        enforce_route_policies: true,
        route_policies_scope: 'any',
      },
    ],
    ['routes', { guid: g('routes'), host: g('routes'), domain_guid: g('domains'), space_guid: g('spaces') }],
    [
      'route_policies',
      { guid: g('route_policies'), route_guid: g('routes'), source_type: 'app', source_guid: g('route_policies') },
    ],
    ['security_groups', common('security_groups')],
    ...['running', 'staging'].map((phase): [string, Record<string, unknown>] => [
      'security_group_spaces',
      { security_group_guid: g('security_groups'), space_guid: g('spaces'), phase },
    ]),
    ['stacks', common('stacks')],
    ['buildpacks', { ...common('buildpacks'), position: 1000 }],
    ['jobs', { guid: g('jobs'), operation: 'none', state: 'COMPLETE' }],
    ['audit_events', { guid: g('audit_events'), type: 'x', ...event, space_guid: g('spaces'), ...in_organization }],
    ['app_usage_events', { guid: g('app_usage_events'), state: 'STARTED' }],
    [
      'service_usage_events',
      {
        guid: g('service_usage_events'),
        state: 'CREATED',
        space_guid: g('spaces'),
        space_name: 'x',
        ...in_organization,
        service_instance_guid: g('service_instances'),
        service_instance_name: 'x',
        service_instance_type: 'x',
      },
    ],
    ['apps', { ...common('apps'), space_guid: g('spaces'), droplet_guid: g('droplets') }],
    ['processes', { ...of_app('processes'), type: process_type, version: 'v', ...limits }],
    ['packages', { ...of_app('packages'), type: 'bits', state: 'AWAITING_UPLOAD' }],
    ['droplets', { ...of_app('droplets'), package_guid: g('packages'), state: 'STAGED' }],
    [
      'builds',
      {
        ...of_app('builds'),
        package_guid: g('packages'),
        staging_memory_in_mb: 1,
        staging_disk_in_mb: 1,
        // An app stages one at a time.
        state: process_type === 'web' ? 'STAGING' : 'FAILED',
      },
    ],
    ['deployments', { ...of_app('deployments'), web_instances: 1, status_value: 'FINALIZED' }],
    ['revisions', { ...of_app('revisions'), version: made }],
    ['tasks', { ...of_app('tasks'), sequence_id: made, name: 'x', command: 'x', ...limits, state: 'SUCCEEDED' }],
    ['sidecars', { ...of_app('sidecars'), name: g('sidecars'), command: 'x', process_types: JSON.stringify(['web']) }],
    ['service_instances', { ...common('service_instances'), type: 'user-provided', space_guid: g('spaces') }],
    [
      'service_credential_bindings',
      { ...of_app('service_credential_bindings'), type: 'app', service_instance_guid: g('service_instances') },
    ],
    [
      'service_route_bindings',
      { guid: g('service_route_bindings'), route_guid: g('routes'), service_instance_guid: g('service_instances') },
    ],
    ['service_brokers', { ...common('service_brokers'), url: 'http://b', username: 'a', password_sealed: 'x' }],
    [
      'service_offerings',
      { ...common('service_offerings'), service_broker_guid: g('service_brokers'), catalog_id: g('service_offerings') },
    ],
    [
      'service_plans',
      {
        ...common('service_plans'),
        service_offering_guid: g('service_offerings'),
        catalog_id: g('service_plans'),
        visibility_type: 'public',
      },
    ],
    ['route_destinations', { ...of_app('destinations'), route_guid: g('routes'), process_type }],
  ];
}

async function insert(
  { database }: TestCloudController,
  guid: Record<string, string>,
  process_type = 'web',
): Promise<void> {
  for (const [table, columns] of rowsOf(guid, process_type)) {
    const names = Object.keys(columns);
    const places = names.map((_, index) => `$${index + 1}`);
    await database.pool.query(
      `insert into ${table} (${names.map((name) => `"${name}"`).join(', ')}) values (${places.join(', ')}) on conflict do nothing`,
      Object.values(columns),
    );
  }
}

/** Each user gets the role that he is named after, and no other. */
export async function giveRoles(
  { database }: TestCloudController,
  world: World,
  users: ReadonlyMap<string, TestUser>,
): Promise<void> {
  for (const [role, user] of users) {
    const isOrganizations = ORGANIZATION_ROLES.some((name) => name === role);
    if (!isOrganizations && !SPACE_ROLES.some((name) => name === role)) continue;
    await database.pool.query(
      `insert into roles (guid, type, user_guid, organization_guid, space_guid) values ($1, $2, $3, $4, $5)`,
      [
        randomUUID(),
        role,
        user.guid,
        isOrganizations ? world.organization_guid : null,
        isOrganizations ? null : world.space_guid,
      ],
    );
  }
}
