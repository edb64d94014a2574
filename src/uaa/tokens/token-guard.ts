import { z } from 'zod';
import type { Clock } from '#kernel/clock.ts';
import type { ClientStore } from '../clients/store.ts';
import { UaaError } from '../errors.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Client, User } from '../tables.ts';
import type { UserStore } from '../users/store.ts';
import { REFRESH_AUDIENCE, revocationSignature } from './issuer.ts';
import type { TokenStore } from './store.ts';

const Claims = z.looseObject({
  jti: z.string(),
  sub: z.string(),
  client_id: z.string(),
  user_id: z.string().optional(),
  scope: z.array(z.string()).default([]),
  aud: z.array(z.string()),
  iss: z.string(),
  iat: z.number(),
  exp: z.number(),
  rev_sig: z.string(),
});
export type Claims = z.infer<typeof Claims>;

/** A token that holds: its claims, and the accounts behind it as they are now. */
export interface HeldToken {
  kind: 'access' | 'refresh';
  claims: Claims;
  client: Client;
  user: User | undefined;
}

export interface TokenGuardOptions {
  keys: KeyRing;
  clock: Clock;
  issuer: string;
  clients: ClientStore;
  users: UserStore;
  tokens: TokenStore;
}

/** Checks tokens that come back to the UAA itself, revocation included. */
export class TokenGuard {
  readonly #options: TokenGuardOptions;

  constructor(options: TokenGuardOptions) {
    this.#options = options;
  }

  /** Errors: invalid_token. */
  async check(token: string): Promise<HeldToken> {
    const { clients, users, tokens } = this.#options;
    const claims = this.read(token);
    const [client, user, isRevoked] = await Promise.all([
      clients.find(claims.client_id),
      claims.user_id === undefined ? undefined : users.find(claims.user_id),
      tokens.isRevoked(claims.jti),
    ]);
    const isGone = !client || (claims.user_id !== undefined && !user?.active);
    if (isGone || isRevoked || revocationSignature(client, user) !== claims.rev_sig) {
      throw invalid('The token has been revoked');
    }
    return { kind: claims.aud.includes(REFRESH_AUDIENCE) ? 'refresh' : 'access', claims, client, user };
  }

  /** The claims of a token of ours that is not expired, perhaps revoked. Errors: invalid_token. */
  read(token: string): Claims {
    const { keys, clock, issuer } = this.#options;
    const parsed = Claims.safeParse(keys.verify(token));
    // ID tokens have neither jti nor rev_sig and end here too.
    if (!parsed.success || parsed.data.iss !== issuer) throw invalid('Invalid access token');
    const claims = parsed.data;
    if (claims.exp * 1000 <= clock.now()) throw invalid(`Access token expired: ${claims.jti}`);
    return claims;
  }
}

const invalid = (message: string): UaaError => new UaaError('invalid_token', message);
