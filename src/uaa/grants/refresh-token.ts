import type { Clock } from '#kernel/clock.ts';
import type { AuditTrail } from '../audit/store.ts';
import { UaaError } from '../errors.ts';
import { parseScope, userScopes } from '../tokens/scopes.ts';
import type { Revocations } from '../tokens/revocations.ts';
import type { TokenStore } from '../tokens/store.ts';
import type { TokenGuard } from '../tokens/token-guard.ts';
import type { UserStore } from '../users/store.ts';
import { requireParameter, type GrantHandler } from './grant-request.ts';

export interface RefreshGrantOptions {
  guard: TokenGuard;
  tokens: TokenStore;
  revocations: Revocations;
  users: UserStore;
  audit: AuditTrail;
  clock: Clock;
  reuse_grace_s: number;
}

/**
 * A refresh token for new tokens, the refresh token among them. Source: RFC 6749 section 6; RFC 9700 section 4.14 for the
 * rotation. The user's groups are read anew, so that what was taken away is gone from the next token.
 */
export function refreshTokenGrant(options: RefreshGrantOptions): GrantHandler {
  return async ({ client, parameters, remote_address }) => {
    const { tokens, users, clock, audit } = options;
    const held = await options.guard.check(requireParameter(parameters, 'refresh_token')).catch((error: unknown) => {
      if (!(error instanceof UaaError)) throw error;
      // What the cf CLI looks for, to ask for a new login, is a 401 with this word.
      throw new UaaError('invalid_token', 'The refresh token is expired, revoked or not one of ours', { cause: error });
    });
    if (held.kind !== 'refresh') throw new UaaError('invalid_grant', 'That is not a refresh token');
    if (held.claims.client_id !== client.client_id) {
      throw new UaaError('invalid_grant', `Wrong client for this refresh token: ${held.claims.jti}`);
    }
    const taken = await tokens.takeRefreshToken(held.claims.jti, new Date(clock.now()), options.reuse_grace_s);
    if (taken.outcome === 'reused') {
      options.revocations.tell(taken.ended);
      const { user_id, client_id } = taken.record;
      audit.record({ event: 'refresh_token_reused', user_id, client_id, remote_address });
    }
    if (taken.outcome === 'unknown' || taken.outcome === 'reused' || !held.user) {
      throw new UaaError('invalid_token', 'The refresh token is expired, revoked or not one of ours');
    }
    const { record } = taken;
    const groups = await users.groupNames(held.user.id);
    const asked = parseScope(parameters['scope']);
    const beyond = (asked ?? []).filter((scope) => !record.scope.includes(scope));
    if (beyond.length > 0)
      throw new UaaError('invalid_scope', `Unable to narrow the scope: ${beyond.join(' ')} was not granted`);
    const scopes = userScopes(asked, client.scope, groups).filter((scope) => record.scope.includes(scope));
    return {
      client,
      // UAA names the grant that the family began with, not the refresh.
      grant_type: record.grant_type,
      user: held.user,
      scopes,
      auth_time_ms: record.auth_time.getTime(),
      ...(record.nonce !== null && { nonce: record.nonce }),
      wantsIdToken: scopes.includes('openid') && record.grant_type === 'authorization_code',
      refresh: { family_id: record.family_id, scopes: record.scope },
    };
  };
}
