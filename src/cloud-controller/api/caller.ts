import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CfError, notFound } from '#contracts/cf-errors.ts';
import { KeysUnavailable, type TokenClaims, TokenInvalid, type TokenVerifier } from '#http/token-verifier.ts';
import type { Actor } from '../events.ts';
import {
  type HeldRoles,
  isPermitted,
  type Permission,
  permittedScope,
  type Place,
  type PlatformRole,
  type Scope,
} from './permissions.ts';

/** A place together with whether its organization is suspended, which stops all writes but an admin's. */
export interface GuardedPlace extends Place {
  organization_suspended?: boolean;
}

/** Who asks, and what they may. One is made per request, from the bearer token and one look at the roles. */
export class Caller {
  readonly claims: TokenClaims;
  readonly roles: HeldRoles;

  constructor(claims: TokenClaims, roles: HeldRoles) {
    this.claims = claims;
    this.roles = roles;
  }

  /** The user's guid, or the client's id. */
  get guid(): string {
    return this.claims.user_id ?? this.claims.client_id;
  }

  get actor(): Actor {
    const { user_id, user_name, client_id } = this.claims;
    if (user_id === undefined) return { guid: client_id, type: 'client', name: client_id };
    return { guid: user_id, type: 'user', name: user_name ?? user_id };
  }

  get isAdmin(): boolean {
    return this.roles.platform.has('admin');
  }

  /** Whether one of the read-everything scopes, or admin, is held. */
  get seesEverything(): boolean {
    return this.roles.platform.size > 0;
  }

  may(permission: Permission, place: Place = {}): boolean {
    return isPermitted(this.roles, permission, place);
  }

  /** Where the permission holds, for lists. */
  scope(permission: Permission): Scope {
    return permittedScope(this.roles, permission);
  }

  /** What is hidden reads as absent. Errors: 404 `<resource> not found`. */
  see<Found extends Place>(permission: Permission, found: Found | undefined, resource: string): Found {
    if (found === undefined || !this.may(permission, found)) throw notFound(resource);
    return found;
  }

  /** Errors: 403 CF-NotAuthorized, 403 CF-OrgSuspended. */
  require(permission: Permission, place: GuardedPlace = {}): void {
    if (!this.may(permission, place)) {
      throw new CfError('NotAuthorized', 'You are not authorized to perform the requested action');
    }
    if (place.organization_suspended === true && !this.isAdmin) {
      throw new CfError('OrgSuspended', 'The organization is suspended');
    }
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on all requests under /v3 and /networking that need a token. */
    caller: Caller;
  }
}

export interface AuthenticationOptions {
  verifier: TokenVerifier;
  /** The roles in organizations and spaces of a user; makes the user known when it was not. */
  rolesOf: (claims: TokenClaims) => Promise<Omit<HeldRoles, 'platform'>>;
}

const OPEN_PATHS = new Set(['/', '/v3', '/v3/info', '/openapi.json']);
const PLATFORM_SCOPES: readonly [string, PlatformRole][] = [
  ['cloud_controller.admin', 'admin'],
  ['cloud_controller.admin_read_only', 'admin_read_only'],
  ['cloud_controller.global_auditor', 'global_auditor'],
];

/** Refuses what comes without a good token, and tells handlers who asks as `request.caller`. */
export function useAuthentication(server: FastifyInstance, options: AuthenticationOptions): void {
  server.decorateRequest('caller');
  server.addHook('onRequest', async (request) => {
    if (needsToken(request)) request.caller = await identify(request, options);
  });
}

/** Who sends a request, by its bearer token. Errors: 401, 403 for a token without our scopes, 503 while the UAA is away. */
export async function identify(request: FastifyRequest, options: AuthenticationOptions): Promise<Caller> {
  const claims = await verify(request, options.verifier);
  const platform = new Set(PLATFORM_SCOPES.filter(([scope]) => claims.scope.includes(scope)).map(([, role]) => role));
  requireScope(request, claims, platform);
  return new Caller(claims, { platform, ...(await options.rolesOf(claims)) });
}

function needsToken(request: FastifyRequest): boolean {
  const path = (request.url.split('?')[0] ?? '').replace(/(?<=.)\/+$/, '');
  // A path that no endpoint has reads 404 whoever asks.
  return !request.is404 && !OPEN_PATHS.has(path) && /^\/(v3|networking|routing)\//.test(path);
}

async function verify(request: FastifyRequest, verifier: TokenVerifier): Promise<TokenClaims> {
  const header = request.headers.authorization;
  if (header === undefined || header.trim() === '') {
    throw new CfError('NotAuthenticated', 'Authentication error');
  }
  const [, token] = /^bearer +(\S+)$/i.exec(header) ?? [];
  try {
    if (token === undefined) throw new TokenInvalid('no bearer token');
    return await verifier.verify(token);
  } catch (error) {
    if (error instanceof TokenInvalid) throw new CfError('InvalidAuthToken', 'Invalid Auth Token', { cause: error });
    if (error instanceof KeysUnavailable) {
      throw new CfError('UaaUnavailable', 'The UAA service is currently unavailable', { cause: error });
    }
    throw error;
  }
}

const PERMISSIONS_OF_INSTANCE = /^\/v3\/service_instances\/[^/]+\/permissions(\?|$)/;

function requireScope(request: FastifyRequest, claims: TokenClaims, platform: ReadonlySet<PlatformRole>): void {
  // The policy server's own API looks for scopes of its own.
  if (platform.has('admin') || request.url.startsWith('/networking/')) return;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const needed = isRead ? 'cloud_controller.read' : 'cloud_controller.write';
  if (claims.scope.includes(needed) || (isRead && platform.size > 0)) return;
  const isOfDashboard = isRead && PERMISSIONS_OF_INSTANCE.test(request.url);
  if (isOfDashboard && claims.scope.includes('cloud_controller_service_permissions.read')) return;
  throw new CfError('InsufficientScope', 'Your token lacks the necessary scopes to access this resource.');
}
