import { ENDPOINT_PERMISSIONS, type EndpointPermission } from './endpoint-permissions.ts';
import {
  type HeldRoles,
  isPermitted,
  ORGANIZATION_ROLES,
  type OrganizationRole,
  type Permission,
  PLATFORM_ROLES,
  type PlatformRole,
  type Role,
  SPACE_ROLES,
  type SpaceRole,
} from './permissions.ts';

/** Everyone that the table tells of: each role alone, a user without any, and one without a token. */
export const CALLERS = [...PLATFORM_ROLES, ...ORGANIZATION_ROLES, ...SPACE_ROLES, 'no_role', 'no_token'] as const;
export type CallerKind = (typeof CALLERS)[number];

const ORGANIZATION = 'the organization';
const SPACE = 'the space';

/** What a caller of that kind holds in one organization with one space. */
export function heldBy(caller: CallerKind): HeldRoles {
  const includes = <Kind extends Role>(kinds: readonly Kind[]): Kind[] => kinds.filter((kind) => kind === caller);
  const organization: OrganizationRole[] = includes(ORGANIZATION_ROLES);
  const space: SpaceRole[] = includes(SPACE_ROLES);
  return {
    platform: new Set<PlatformRole>(includes(PLATFORM_ROLES)),
    organizations: new Map(organization.length > 0 ? [[ORGANIZATION, new Set(organization)]] : []),
    spaces: new Map(space.length > 0 ? [[SPACE, { organization_guid: ORGANIZATION, roles: new Set(space) }]] : []),
  };
}

/** The answer that a caller of that kind gets: a status, or `ok` for all that are none of these. */
export function answerFor(
  endpoint: string,
  rule: EndpointPermission,
  caller: CallerKind,
): 401 | 403 | 404 | 422 | 'ok' {
  if (rule.who === 'open') return 'ok';
  if (caller === 'no_token') return 401;
  const isReader = caller === 'admin_read_only' || caller === 'global_auditor';
  // Their tokens have no scope to write with.
  if (isReader && !endpoint.startsWith('GET ')) return 403;
  const held = heldBy(caller);
  const may = (permission: Permission): boolean => isPermitted(held, permission, placeOf(permission));
  if (rule.sees !== undefined && !may(rule.sees)) return 404;
  if (rule.names !== undefined && !may(rule.names)) return 422;
  if (rule.needs !== undefined && !may(rule.needs)) return 403;
  return 'ok';
}

const IN_ORGANIZATION =
  /^(organization|organization_quota|isolation_segment|domain|user)\.|^space\.create$|_in_organization$/;
const ON_PLATFORM = /^platform\.|^security_group\.write$/;

/** Where the permission is asked for: of the space and its organization, of the organization, or of neither. */
function placeOf(permission: Permission): { organization_guid?: string; space_guid?: string } {
  if (ON_PLATFORM.test(permission)) return {};
  if (IN_ORGANIZATION.test(permission)) return { organization_guid: ORGANIZATION };
  return { organization_guid: ORGANIZATION, space_guid: SPACE };
}

/** docs/api-permissions.md. */
export function permissionsPage(): string {
  const rows = Object.entries(ENDPOINT_PERMISSIONS).map(([endpoint, rule]) => {
    const cells = CALLERS.map((caller) => {
      const answer = answerFor(endpoint, rule, caller);
      return answer === 'ok' ? '✓' : String(answer);
    });
    return `| \`${endpoint}\` | ${cells.join(' | ')} |`;
  });
  return [
    '# Who may call what',
    '',
    'Made from `src/cloud-controller/api/endpoint-permissions.ts` and `permissions.ts`; a test walks every endpoint with every',
    'role and holds its answer against this table. Each column is one role alone, in the organization or space that the',
    'endpoint is about. ✓: done, or refused for another reason. 404: reads as absent. 422: the place named in the body',
    'reads as absent. Lists give whoever has a token what he may see.',
    '',
    `| endpoint | ${CALLERS.map((caller) => caller.replaceAll('_', ' ')).join(' | ')} |`,
    `| --- |${' --- |'.repeat(CALLERS.length)}`,
    ...rows,
    '',
  ].join('\n');
}
