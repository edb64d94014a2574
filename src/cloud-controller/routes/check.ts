import { unprocessable } from '#contracts/cf-errors.ts';

export interface RouteAddress {
  host: string;
  path: string;
  port: number | null;
}

export interface RouteWorld {
  domain: { name: string; internal: boolean; organization_guid: string | null; router_group_guid: string | null };
  system_domain: string;
}

/** Hosts of the system domain that are the platform's own. */
const SYSTEM_HOSTS = new Set([
  'api',
  'uaa',
  'login',
  'log-cache',
  'log-stream',
  'doppler',
  'ssh',
  'console',
  'credhub',
  'smtp',
]);

/**
 * What is wrong with a route's address on its domain, in the API's words; undefined when nothing is. Format alone is checked
 * before, by the schema. Source: cloud_controller_ng's route creation.
 */
export function faultOfAddress(
  { host, path, port }: RouteAddress,
  { domain, system_domain }: RouteWorld,
): string | undefined {
  if (domain.router_group_guid !== null) {
    if (host !== '') return 'Hosts are not supported for TCP routes.';
    if (path !== '') return 'Paths are not supported for TCP routes.';
    return undefined;
  }
  if (port !== null) return "Routes with protocol 'http' do not support ports.";
  if (domain.internal && host === '*') return 'Wildcard hosts are not supported for internal domains.';
  if (domain.internal && path !== '') return 'Paths are not supported for internal domains.';
  if (host === '' && domain.organization_guid === null) {
    return 'Missing host. Routes in shared domains must have a host defined.';
  }
  if (`${host}.${domain.name}`.length > 253)
    return 'Host combined with domain name must be no more than 253 characters.';
  if (domain.name === system_domain.toLowerCase() && SYSTEM_HOSTS.has(host.toLowerCase())) {
    return 'Route conflicts with a reserved system route.';
  }
  return undefined;
}

/** The text that the cf CLI looks for when a route is there already. */
export function takenText({ host, path, port }: RouteAddress, domain_name: string): string {
  if (port !== null) return `Route already exists with port '${port}' for domain '${domain_name}'.`;
  const parts = [host === '' ? '' : `host '${host}'`, path === '' ? '' : `path '${path}'`].filter(
    (part) => part !== '',
  );
  const address = parts.length === 0 ? '' : ` with ${parts.join(' and ')}`;
  return `Route already exists${address} for domain '${domain_name}'.`;
}

/** `ports` are routes with a port of the routers, which few have. */
export interface Counted {
  organization: { name: string; routes: number; allowed: number | null; ports: number; allowed_ports: number | null };
  space: { name: string; routes: number; allowed: number | null; ports: number; allowed_ports: number | null };
}

/** Errors: 422 when one reserved port more would exceed a quota. */
export function requirePort({ organization, space }: Counted): void {
  for (const [kind, counted] of [['space', space] as const, ['organization', organization] as const]) {
    if (counted.allowed_ports === null || counted.ports < counted.allowed_ports) continue;
    throw unprocessable(`Reserved route ports quota exceeded for ${kind} '${counted.name}'.`);
  }
}

/** Errors: 422 when one route more would exceed a quota. */
export function requireRoom({ organization, space }: Counted, more = 1): void {
  const isFull = (counted: Pick<Counted['space'], 'routes' | 'allowed'>): boolean =>
    counted.allowed !== null && counted.routes + more > counted.allowed;
  if (isFull(space)) throw unprocessable(`Routes quota exceeded for space '${space.name}'.`);
  if (isFull(organization)) throw unprocessable(`Routes quota exceeded for organization '${organization.name}'.`);
}
