import type { Clock } from '#kernel/clock.ts';
import type { AuditTrail } from '../audit/store.ts';
import { badCredentials } from '../errors.ts';
import { randomWord } from '../secrets.ts';
import type { Authenticator } from '../sign-in/authenticator.ts';
import type { User } from '../tables.ts';
import { parseScope, userScopes } from '../tokens/scopes.ts';
import type { TokenStore } from '../tokens/store.ts';
import type { UserStore } from '../users/store.ts';
import { originOf, requireParameter, type GrantHandler, type GrantRequest } from './grant-request.ts';

export interface PasswordGrantOptions {
  authenticator: Authenticator;
  users: UserStore;
  tokens: TokenStore;
  audit: AuditTrail;
  clock: Clock;
}

/**
 * A user's name and password, or in their place a one-time passcode from `/passcode`, for tokens. Source: RFC 6749 section
 * 4.3; `passcode` and `login_hint` are UAA's.
 */
export function passwordGrant(options: PasswordGrantOptions): GrantHandler {
  return async (request) => {
    const { client, parameters } = request;
    const user =
      parameters['passcode'] === undefined ? await byPassword(options, request) : await byPasscode(options, request);
    const asked = parseScope(parameters['scope']);
    const scopes = userScopes(asked, client.scope, await options.users.groupNames(user.id));
    return {
      client,
      grant_type: 'password',
      user,
      scopes,
      auth_time_ms: options.clock.now(),
      wantsIdToken: asked?.includes('openid') === true,
      ...(client.authorized_grant_types.includes('refresh_token') && {
        refresh: { family_id: randomWord(12), scopes },
      }),
    };
  };
}

async function byPassword(
  options: PasswordGrantOptions,
  { client, parameters, remote_address }: GrantRequest,
): Promise<User> {
  return await options.authenticator.authenticate({
    username: requireParameter(parameters, 'username'),
    password: requireParameter(parameters, 'password'),
    origin: originOf(parameters['login_hint']),
    client_id: client.client_id,
    remote_address,
  });
}

async function byPasscode(options: PasswordGrantOptions, request: GrantRequest): Promise<User> {
  const { tokens, users, clock, audit } = options;
  const { client_id } = request.client;
  const { remote_address } = request;
  const word = (request.parameters['passcode'] ?? '').trim();
  const code = await tokens.takeOneTimeCode('passcode', word, new Date(clock.now()));
  const user = code?.user_id == null ? undefined : await users.find(code.user_id);
  if (!user?.active) {
    audit.record({ event: 'user_authentication_failure', client_id, remote_address, data: { by: 'passcode' } });
    throw badCredentials();
  }
  const { id: user_id, origin } = user;
  audit.record({
    event: 'user_authentication_success',
    user_id,
    origin,
    client_id,
    remote_address,
    data: { by: 'passcode' },
  });
  return user;
}
