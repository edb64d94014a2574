import { randomWord } from '../secrets.ts';
import type { User } from '../tables.ts';
import { isCovered } from '../tokens/scopes.ts';
import type { Uaa } from '../uaa.ts';
import { answerLocation, type AuthorizationRequest } from './request.ts';

/** Whether the client may have these scopes without asking the user. */
export function isAutoapproved(autoapprove: readonly string[], scopes: readonly string[]): boolean {
  return autoapprove.includes('true') || scopes.every((scope) => isCovered(scope, autoapprove));
}

/** Makes a code of what the user agreed to, and the address that takes it to the client. */
export async function grantCode(
  uaa: Uaa,
  request: AuthorizationRequest,
  consent: { user: User; scopes: string[]; auth_time_ms: number },
): Promise<string> {
  const code = await uaa.tokens.addCode({
    client_id: request.client.client_id,
    user_id: consent.user.id,
    redirect_uri: request.isRedirectGiven ? request.redirect_uri : null,
    scope: consent.scopes,
    code_challenge: request.code_challenge,
    code_challenge_method: request.code_challenge === null ? null : 'S256',
    nonce: request.nonce,
    auth_time: new Date(consent.auth_time_ms),
    family_id: randomWord(12),
    expires_at: new Date(uaa.clock.now() + uaa.code_validity_s * 1000),
  });
  return answerLocation(request.redirect_uri, { code, state: request.state, iss: uaa.issuer_url });
}
