import { UaaError } from '../errors.ts';
import type { Parameters } from '../grants/grant-request.ts';
import type { Client } from '../tables.ts';
import { parseScope } from '../tokens/scopes.ts';

/** A checked request for a code. */
export interface AuthorizationRequest {
  client: Client;
  /** Where the answer goes. */
  redirect_uri: string;
  /** Whether the request named it, so that the exchange of the code has to name it too. */
  isRedirectGiven: boolean;
  state: string | undefined;
  scope: string[] | undefined;
  code_challenge: string | null;
  nonce: string | null;
  prompt: ReadonlySet<string>;
  max_age_s: number | undefined;
  login_hint: string | undefined;
}

/** A fault that may be told to the client by a redirect, since the redirect itself is right. */
export class AuthorizationRefused extends Error {
  readonly location: string;

  constructor(location: string) {
    super('the authorization is refused');
    this.location = location;
  }
}

/**
 * Where to send the answer. Errors: invalid_redirect, which is shown to the user and never sent anywhere: to redirect to an
 * address that the client did not register is how codes are stolen (RFC 9700 section 4.1).
 */
export function redirectOf(client: Client, given: string | undefined): string {
  if (given === undefined) {
    const [only, ...others] = client.redirect_uri;
    if (only === undefined || others.length > 0 || only.includes('*')) {
      throw new UaaError('invalid_redirect', `Client ${client.client_id} has to say its redirect_uri`);
    }
    return only;
  }
  if (client.redirect_uri.some((registered) => isRedirectTo(registered, given, client.has_redirect_wildcards)))
    return given;
  throw new UaaError('invalid_redirect', 'Invalid redirect: the redirect_uri is not registered for this client');
}

/**
 * Whether `given` is the registered address: by its text alone, or, where the client says so, by UAA's wildcards: `*` for part
 * of a host label or path segment, `**` for any path. Even then scheme, host and port are compared on their own.
 */
export function isRedirectTo(registered: string, given: string, hasWildcards: boolean): boolean {
  if (/[\u0000-\u0020\\#]/.test(given)) return false;
  if (registered === given) return true;
  if (!hasWildcards || !registered.includes('*')) return false;
  const pattern = splitUrl(registered);
  const target = splitUrl(given);
  // A user part or a dot segment makes an address that reads as one place and leads to another.
  if (!pattern || !target || target.authority.includes('@') || /(^|\/)\.{1,2}(\/|$)|%2e|%2f|%5c/i.test(target.path))
    return false;
  return (
    pattern.scheme === target.scheme &&
    wildcard(pattern.authority, '[A-Za-z0-9-]').test(target.authority) &&
    wildcard(pattern.path, '[^/?]').test(target.path)
  );
}

function splitUrl(url: string): { scheme: string; authority: string; path: string } | undefined {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?]*)(\/[^?]*)?(\?.*)?$/i.exec(url);
  if (!match) return undefined;
  return {
    scheme: (match[1] ?? '').toLowerCase(),
    authority: (match[2] ?? '').toLowerCase(),
    path: `${match[3] ?? '/'}${match[4] ?? ''}`,
  };
}

function wildcard(pattern: string, one: string): RegExp {
  const parts = pattern.split(/(\*\*|\*)/).map((part) => {
    if (part === '**') return '.*';
    if (part === '*') return `${one}*`;
    return part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`);
}

/** Errors: AuthorizationRefused. */
export function parseAuthorizationRequest(
  client: Client,
  parameters: Parameters,
  issuer: string,
): AuthorizationRequest {
  const redirect_uri = redirectOf(client, parameters['redirect_uri']);
  const state = parameters['state'];
  const refuse = (error: string, why: string): AuthorizationRefused =>
    new AuthorizationRefused(answerLocation(redirect_uri, { error, error_description: why, state, iss: issuer }));
  if (parameters['response_type'] !== 'code') {
    throw refuse('unsupported_response_type', 'Only response_type=code is supported');
  }
  if (!client.authorized_grant_types.includes('authorization_code')) {
    throw refuse('unauthorized_client', 'This client has no authorization_code grant');
  }
  const code_challenge = parameters['code_challenge'] ?? null;
  if (code_challenge === null) {
    if (client.allowpublic) throw refuse('invalid_request', 'This client has to use PKCE: code_challenge is missing');
    if (parameters['code_challenge_method'] !== undefined) throw refuse('invalid_request', 'code_challenge is missing');
  } else if (parameters['code_challenge_method'] !== 'S256' || !/^[A-Za-z0-9_-]{43}$/.test(code_challenge)) {
    throw refuse('invalid_request', 'The code_challenge_method has to be S256, with a challenge to match');
  }
  const prompts = new Set((parameters['prompt'] ?? '').split(' '));
  // OpenID Connect Core 1.0, section 3.1.2.1: nothing can be asked of a person who is not to be asked.
  if (prompts.has('none') && prompts.size > 1) throw refuse('invalid_request', 'prompt=none goes with no other');
  const max_age = parameters['max_age'];
  return {
    client,
    redirect_uri,
    isRedirectGiven: parameters['redirect_uri'] !== undefined,
    state,
    scope: parseScope(parameters['scope']),
    code_challenge,
    nonce: parameters['nonce'] ?? null,
    prompt: prompts,
    max_age_s: max_age !== undefined && /^\d{1,9}$/.test(max_age) ? Number(max_age) : undefined,
    login_hint: parameters['login_hint'],
  };
}

/** The redirect address with an answer in its query (RFC 6749 section 4.1.2, `iss` of RFC 9207). */
export function answerLocation(redirect_uri: string, answer: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(answer)) if (value !== undefined) query.set(name, value);
  return `${redirect_uri}${redirect_uri.includes('?') ? '&' : '?'}${query.toString()}`;
}
