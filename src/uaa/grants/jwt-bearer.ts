import type { Clock } from '#kernel/clock.ts';
import { UaaError } from '../errors.ts';
import { randomWord } from '../secrets.ts';
import type { User } from '../tables.ts';
import { parseScope, userScopes } from '../tokens/scopes.ts';
import type { TokenGuard } from '../tokens/token-guard.ts';
import type { UserStore } from '../users/store.ts';
import { requireParameter, type GrantHandler } from './grant-request.ts';

/** A trusted issuer of assertions besides the UAA itself. */
export interface AssertionProvider {
  readonly issuer: string;
  /** The user whom a token of that issuer names, made or brought up to date. Errors: UaaError. */
  accept(assertion: string): Promise<User>;
}

export interface JwtBearerOptions {
  guard: TokenGuard;
  users: UserStore;
  clock: Clock;
  providers: readonly AssertionProvider[];
}

/**
 * A user's token that was made for this client, for one of the client's own. Source: RFC 7523 section 2.1. The assertion is an
 * access token of the UAA with the client in its audience, or a token of a trusted identity provider.
 */
export function jwtBearerGrant(options: JwtBearerOptions): GrantHandler {
  return async ({ client, parameters }) => {
    const assertion = requireParameter(parameters, 'assertion');
    const issuer = issuerOf(assertion);
    const provider = options.providers.find((candidate) => candidate.issuer === issuer);
    const user = provider ? await provider.accept(assertion) : await ownUser(options, assertion, client.client_id);
    const scopes = userScopes(parseScope(parameters['scope']), client.scope, await options.users.groupNames(user.id));
    return {
      client,
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      user,
      scopes,
      auth_time_ms: options.clock.now(),
      ...(client.authorized_grant_types.includes('refresh_token') && {
        refresh: { family_id: randomWord(12), scopes },
      }),
    };
  };
}

async function ownUser(options: JwtBearerOptions, assertion: string, client_id: string): Promise<User> {
  const held = await options.guard.check(assertion).catch((error: unknown) => {
    if (!(error instanceof UaaError)) throw error;
    throw new UaaError('invalid_grant', 'The assertion is not a token that we trust', { cause: error });
  });
  if (held.kind !== 'access' || !held.user)
    throw new UaaError('invalid_grant', "The assertion is not a user's access token");
  if (!held.claims.aud.includes(client_id)) {
    throw new UaaError('invalid_grant', 'The assertion is not meant for this client');
  }
  return held.user;
}

function issuerOf(assertion: string): string | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const issuer = typeof claims === 'object' && claims !== null && 'iss' in claims ? claims.iss : undefined;
    return typeof issuer === 'string' ? issuer : undefined;
  } catch {
    return undefined;
  }
}
