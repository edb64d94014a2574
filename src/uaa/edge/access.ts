import type { FastifyRequest } from 'fastify';
import { readBasicAuth } from '#http/basic-auth.ts';
import type { AuditEvent, AuditTrail } from '../audit/store.ts';
import type { ClientStore } from '../clients/store.ts';
import { UaaError } from '../errors.ts';
import type { Parameters } from '../grants/grant-request.ts';
import type { SecretChecker } from '../passwords/hash.ts';
import type { Client } from '../tables.ts';
import type { HeldToken, TokenGuard } from '../tokens/token-guard.ts';

/** The bearer's token, which has one of `scopes` when any are given. Errors: invalid_token, insufficient_scope, unauthorized. */
export async function requireToken(
  request: FastifyRequest,
  guard: TokenGuard,
  ...scopes: string[]
): Promise<HeldToken> {
  const held = await guard.check(bearerOf(request));
  if (held.kind !== 'access') throw new UaaError('invalid_token', 'A refresh token is no access token');
  if (scopes.length > 0 && !hasScope(held, ...scopes)) {
    throw new UaaError(
      'insufficient_scope',
      `Insufficient scope for this resource: one of ${scopes.join(', ')} is needed`,
    );
  }
  bearers.set(request, held);
  return held;
}

const bearers = new WeakMap<FastifyRequest, HeldToken>();

/** Who makes a change, for the audit trail: the bearer that requireToken let in, and from where. */
export function madeBy(request: FastifyRequest): Pick<AuditEvent, 'by' | 'remote_address'> {
  const held = bearers.get(request);
  const by = held && { client_id: held.client.client_id, ...(held.user && { user_id: held.user.id }) };
  return { by, remote_address: request.ip };
}

export const hasScope = (held: HeldToken, ...scopes: string[]): boolean =>
  held.claims.scope.some((scope) => scope === 'uaa.admin' || scopes.includes(scope));

/** Errors: unauthorized. */
export function bearerOf(request: FastifyRequest): string {
  const match = /^bearer +([\w.~+/=-]+)$/i.exec(request.headers.authorization ?? '');
  if (!match?.[1]) throw new UaaError('unauthorized', 'Full authentication is required to access this resource');
  return match[1];
}

export interface ClientAccess {
  clients: ClientStore;
  secrets: SecretChecker;
  audit: AuditTrail;
}

export interface ProvenClient {
  client: Client;
  /** False for a public client, which only says its name. */
  isConfidential: boolean;
}

/**
 * The client that a request of the token endpoint comes from: by basic auth, or by `client_id` and `client_secret` in the form,
 * never both. Source: RFC 6749 section 2.3. Errors: invalid_client, invalid_request.
 */
export async function requireClient(
  request: FastifyRequest,
  form: Parameters,
  access: ClientAccess,
): Promise<ProvenClient> {
  const basic = readBasicAuth(request.headers.authorization);
  if (basic && form['client_secret'] !== undefined) {
    throw new UaaError('invalid_request', 'The client proves itself in two ways at once');
  }
  const client_id = basic?.user ?? form['client_id'];
  if (client_id === undefined || client_id.includes('\0')) throw refused(request, access, undefined);
  const proven = basic
    ? ((await prove(basic.user, basic.password, access)) ?? (await proveDecoded(basic, access)))
    : await prove(client_id, form['client_secret'], access);
  if (!proven) throw refused(request, access, client_id);
  if (basic && form['client_id'] !== undefined && form['client_id'] !== proven.client.client_id) {
    throw new UaaError('invalid_request', 'The client is named twice, and not the same');
  }
  return proven;
}

/** RFC 6749 wants both parts form-encoded, and many clients send them as they are: either is taken. */
async function proveDecoded(
  basic: { user: string; password: string },
  access: ClientAccess,
): Promise<ProvenClient | undefined> {
  if (!/[%+]/.test(basic.user + basic.password)) return undefined;
  try {
    const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));
    return await prove(decode(basic.user), decode(basic.password), access);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

async function prove(
  client_id: string,
  secret: string | undefined,
  access: ClientAccess,
): Promise<ProvenClient | undefined> {
  const client = await access.clients.find(client_id);
  if (secret === undefined) return client?.allowpublic === true ? { client, isConfidential: false } : undefined;
  const isRight = await access.secrets.matches(secret, client?.secret_hashes ?? []);
  return isRight && client ? { client, isConfidential: secret !== '' } : undefined;
}

function refused(request: FastifyRequest, access: ClientAccess, client_id: string | undefined): UaaError {
  access.audit.record({
    event: 'client_authentication_failure',
    client_id: client_id?.slice(0, 255).replaceAll('\0', ''),
    remote_address: request.ip,
  });
  return new UaaError('invalid_client', 'Bad credentials');
}
