/**
 * Who may do what, as data. A role given in an organization counts for all of its spaces; one given in a space counts there,
 * and makes the organization itself readable. Source: the permitted-roles tables of Cloud Foundry's v3 API documentation.
 */
export const PLATFORM_ROLES = ['admin', 'admin_read_only', 'global_auditor'] as const;
export const ORGANIZATION_ROLES = [
  'organization_manager',
  'organization_auditor',
  'organization_billing_manager',
  'organization_user',
] as const;
export const SPACE_ROLES = ['space_manager', 'space_developer', 'space_auditor', 'space_supporter'] as const;

export type PlatformRole = (typeof PLATFORM_ROLES)[number];
export type OrganizationRole = (typeof ORGANIZATION_ROLES)[number];
export type SpaceRole = (typeof SPACE_ROLES)[number];
export type Role = PlatformRole | OrganizationRole | SpaceRole;

const ADMIN = ['admin'] as const;
const AUDITORS = ['admin', 'admin_read_only', 'global_auditor'] as const;
const ALL_IN_ORGANIZATION = [...AUDITORS, ...ORGANIZATION_ROLES, ...SPACE_ROLES] as const;
const ALL_IN_SPACE = [...AUDITORS, 'organization_manager', ...SPACE_ROLES] as const;

/** `<resource>.<what>`: the roles that may. */
export const PERMISSIONS = {
  'organization.read': ALL_IN_ORGANIZATION,
  'organization.create': ADMIN,
  'organization.update': ['admin', 'organization_manager'],
  'organization.suspend': ADMIN,
  'organization.delete': ADMIN,
  'organization_quota.read': ALL_IN_ORGANIZATION,
  'user.read': ALL_IN_ORGANIZATION,
  'organization_quota.write': ADMIN,
  'organization.events': [...AUDITORS, 'organization_manager', 'organization_auditor'],
  'space.read': ALL_IN_SPACE,
  'space.create': ['admin', 'organization_manager'],
  'space.update': ['admin', 'organization_manager', 'space_manager'],
  'space.delete': ['admin', 'organization_manager'],
  'space.isolate': ['admin', 'organization_manager'],
  'space_quota.read': [...AUDITORS, 'organization_manager', ...SPACE_ROLES],
  'space_quota.write': ['admin', 'organization_manager'],
  'space.events': [...AUDITORS, 'organization_auditor', 'space_auditor', 'space_developer', 'space_supporter'],
  'role.read_in_organization': ALL_IN_ORGANIZATION,
  'role.read_in_space': ALL_IN_SPACE,
  'role.write_in_organization': ['admin', 'organization_manager'],
  'role.write_in_space': ['admin', 'organization_manager', 'space_manager'],
  'domain.read': [...AUDITORS, 'organization_manager', 'organization_auditor', ...SPACE_ROLES],
  'domain.write_shared': ADMIN,
  'domain.write_private': ['admin', 'organization_manager'],
  'route.read': [...AUDITORS, 'organization_manager', 'organization_auditor', ...SPACE_ROLES],
  'route.write': ['admin', 'space_developer', 'space_supporter'],
  'route.share': ['admin', 'space_developer', 'space_supporter'],
  'route.move': ['admin', 'space_developer'],
  'route_policy.write': ['admin', 'space_developer'],
  'security_group.write': ADMIN,
  'security_group.bind': ['admin', 'organization_manager', 'space_manager'],
  'isolation_segment.read': ALL_IN_ORGANIZATION,
  'isolation_segment.write': ADMIN,
  'platform.read': AUDITORS,
  'platform.write': ADMIN,
  'app.read': ALL_IN_SPACE,
  'app.create': ['admin', 'space_developer'],
  'app.update': ['admin', 'space_developer'],
  'app.delete': ['admin', 'space_developer'],
  /** start, stop, restart, scale, cancel of deployments, and the like */
  'app.manage': ['admin', 'space_developer', 'space_supporter'],
  'app.read_env': ['admin', 'admin_read_only', 'space_developer', 'space_supporter'],
  'app.read_secrets': ['admin', 'admin_read_only', 'space_developer'],
  'app.stage': ['admin', 'space_developer', 'space_supporter'],
  'network_policy.write': ['admin', 'space_developer'],
  'app.ssh': ['admin', 'space_developer'],
  'task.create': ['admin', 'space_developer'],
  'task.cancel': ['admin', 'space_developer', 'space_supporter'],
  'droplet.download': [...AUDITORS, 'organization_manager', 'space_auditor', 'space_developer', 'space_manager'],
  'package.download': ['admin', 'space_developer'],
  'service_instance.read': ALL_IN_SPACE,
  'service_instance.write': ['admin', 'space_developer'],
  'service_instance.read_credentials': ['admin', 'admin_read_only', 'space_developer', 'space_manager'],
  'service_binding.write_app': ['admin', 'space_developer', 'space_supporter'],
  'service_binding.write_key': ['admin', 'space_developer'],
  'service_binding.read_details': ['admin', 'admin_read_only', 'space_developer'],
  'service_binding.read_parameters': ['admin', 'admin_read_only', 'space_developer', 'space_supporter'],
  'service_route_binding.write': ['admin', 'space_developer', 'space_supporter'],
  /** of a broker that belongs to a space; others are the platform's */
  'service_broker.read_in_space': [...AUDITORS, 'space_developer', 'space_supporter'],
  'service_broker.write_in_space': ['admin', 'space_developer'],
  'service_plan.read_in_space': [...AUDITORS, ...SPACE_ROLES],
} as const satisfies Record<string, readonly Role[]>;
export type Permission = keyof typeof PERMISSIONS;

/** The roles that a caller holds, everywhere. */
export interface HeldRoles {
  platform: ReadonlySet<PlatformRole>;
  organizations: ReadonlyMap<string, ReadonlySet<OrganizationRole>>;
  spaces: ReadonlyMap<string, { organization_guid: string; roles: ReadonlySet<SpaceRole> }>;
}

/** Where something is: in a space (with its organization), in an organization, or nowhere (the whole platform). */
export interface Place {
  organization_guid?: string | null;
  space_guid?: string | null;
}

/** Whether one of the caller's roles at that place (or over the whole platform) has the permission. */
export function isPermitted(held: HeldRoles, permission: Permission, place: Place): boolean {
  const roles: readonly Role[] = PERMISSIONS[permission];
  if (roles.some((role) => held.platform.has(role as PlatformRole))) return true;
  const { organization_guid, space_guid } = place;
  if (organization_guid != null) {
    const here = held.organizations.get(organization_guid);
    if (here && roles.some((role) => here.has(role as OrganizationRole))) return true;
  }
  if (space_guid != null) {
    const here = held.spaces.get(space_guid)?.roles;
    return here !== undefined && roles.some((role) => here.has(role as SpaceRole));
  }
  if (organization_guid == null) return false;
  // Asked of the organization itself, a role in any of its spaces counts.
  for (const space of held.spaces.values()) {
    if (space.organization_guid !== organization_guid) continue;
    if (roles.some((role) => space.roles.has(role as SpaceRole))) return true;
  }
  return false;
}

/**
 * Where a permission holds: everywhere, or in these organizations with all their spaces (`organization_guids`) and in these
 * single spaces (`space_guids`; `space_organization_guids` are the organizations around those).
 */
export type Scope =
  | { everywhere: true }
  | { everywhere: false; organization_guids: string[]; space_guids: string[]; space_organization_guids: string[] };

export function permittedScope(held: HeldRoles, permission: Permission): Scope {
  const roles: readonly Role[] = PERMISSIONS[permission];
  if (roles.some((role) => held.platform.has(role as PlatformRole))) return { everywhere: true };
  const organization_guids = [...held.organizations]
    .filter(([, here]) => roles.some((role) => here.has(role as OrganizationRole)))
    .map(([guid]) => guid);
  const spaces = [...held.spaces].filter(([, here]) => roles.some((role) => here.roles.has(role as SpaceRole)));
  return {
    everywhere: false,
    organization_guids,
    space_guids: spaces.map(([guid]) => guid),
    space_organization_guids: [...new Set(spaces.map(([, space]) => space.organization_guid))],
  };
}
