import { createHash } from 'node:crypto';
import { isSame } from '#http/basic-auth.ts';
import type { Clock } from '#kernel/clock.ts';
import type { AuditTrail } from '../audit/store.ts';
import { UaaError } from '../errors.ts';
import type { AuthorizationCodeRecord } from '../tables.ts';
import { newJti, type TokenIssuer } from '../tokens/issuer.ts';
import type { Revocations } from '../tokens/revocations.ts';
import type { TokenStore } from '../tokens/store.ts';
import type { UserStore } from '../users/store.ts';
import { requireParameter, type GrantHandler, type GrantRequest, type Parameters } from './grant-request.ts';

export interface CodeGrantOptions {
  tokens: TokenStore;
  issuer: TokenIssuer;
  revocations: Revocations;
  users: UserStore;
  audit: AuditTrail;
  clock: Clock;
}

/** A code from `/oauth/authorize` for tokens. Source: RFC 6749 section 4.1.3, RFC 7636 (PKCE). */
export function authorizationCodeGrant(options: CodeGrantOptions): GrantHandler {
  return async (request) => {
    const { client, parameters, remote_address } = request;
    const now = new Date(options.clock.now());
    const jti = newJti();
    const taken = await options.tokens.takeCode(requireParameter(parameters, 'code'), now, {
      access_jti: jti,
      tokens_expire_at: new Date(now.getTime() + options.issuer.longestValidity(client) * 1000),
    });
    if (taken.outcome === 'reused') {
      options.revocations.tell(taken.ended);
      const { user_id, client_id } = taken.record;
      options.audit.record({ event: 'code_reused', user_id, client_id, remote_address });
    }
    if (taken.outcome !== 'fresh' || taken.record.client_id !== client.client_id) {
      throw new UaaError('invalid_grant', 'Invalid authorization code');
    }
    const { record } = taken;
    assertRedirect(record, parameters);
    assertChallenge(record, request);
    const user = await options.users.find(record.user_id);
    if (!user?.active) throw new UaaError('invalid_grant', 'Invalid authorization code');
    return {
      client,
      jti,
      grant_type: 'authorization_code',
      user,
      scopes: record.scope,
      auth_time_ms: record.auth_time.getTime(),
      ...(record.nonce !== null && { nonce: record.nonce }),
      wantsIdToken: record.scope.includes('openid'),
      ...(client.authorized_grant_types.includes('refresh_token') && {
        refresh: { family_id: record.family_id, scopes: record.scope },
      }),
    };
  };
}

/** What was said to `/oauth/authorize` has to be said again, so that a code sent elsewhere is worth nothing there. */
function assertRedirect(record: AuthorizationCodeRecord, parameters: Parameters): void {
  if (record.redirect_uri !== null && parameters['redirect_uri'] !== record.redirect_uri) {
    throw new UaaError('invalid_grant', 'Redirect URI mismatch.');
  }
}

function assertChallenge(record: AuthorizationCodeRecord, { isConfidential, parameters }: GrantRequest): void {
  const verifier = parameters['code_verifier'];
  if (record.code_challenge === null) {
    if (!isConfidential) throw new UaaError('invalid_grant', 'A public client needs PKCE');
    // A verifier for a code without a challenge: somebody took the challenge out on the way (RFC 9700 section 2.1.1).
    if (verifier !== undefined) throw new UaaError('invalid_grant', 'The code was not asked for with a code challenge');
    return;
  }
  if (verifier === undefined || !/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) {
    throw new UaaError('invalid_grant', 'Invalid code verifier');
  }
  const actual = createHash('sha256').update(verifier).digest('base64url');
  if (!isSame(actual, record.code_challenge)) throw new UaaError('invalid_grant', 'Invalid code verifier');
}
