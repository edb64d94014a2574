import { createLocalJWKSet, decodeProtectedHeader, errors, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose';
import { z } from 'zod';
import type { Revocation } from '#contracts/uaa.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';

/** The token is not one of ours, is over, or is not meant for us; the message says which. */
export class TokenInvalid extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('token_invalid', message, options);
  }
}

/** The keys cannot be had: the UAA is away. */
export class KeysUnavailable extends AppError {
  constructor(options?: ErrorOptions) {
    super('keys_unavailable', "the UAA's keys are not available", options);
  }
}

/** UAA's claims, as far as resource servers read them. */
export const TokenClaims = z.looseObject({
  jti: z.string(),
  sub: z.string(),
  client_id: z.string(),
  scope: z.array(z.string()),
  aud: z.union([z.string(), z.array(z.string())]),
  iss: z.string(),
  exp: z.number(),
  iat: z.number(),
  grant_type: z.string().optional(),
  user_id: z.string().optional(),
  user_name: z.string().optional(),
  email: z.string().optional(),
  origin: z.string().optional(),
});
export type TokenClaims = z.infer<typeof TokenClaims>;

export interface TokenVerifierOptions {
  /** Fetches UAA's `/token_keys`; its answer is kept until a token names a key that is not among them. */
  fetchKeys: () => Promise<JSONWebKeySet>;
  issuer: string;
  /** One of these must be in the token's `aud`. */
  audience: string;
  clock: Clock;
  clock_skew_s?: number;
  /** Verified tokens kept, so that a token used again costs a look-up and not a signature. */
  cache_size?: number;
}

const KEY_REFRESH_MIN_MS = 5_000;

/**
 * Checks bearer tokens: signature (RS256 alone, whatever the token says), issuer, audience, expiry. The one verifier that all
 * resource servers share.
 */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  #keys: { set: ReturnType<typeof createLocalJWKSet>; ids: Set<string> } | undefined;
  #fetchedAt_ms = -Infinity;
  #fetching: Promise<void> | undefined;
  readonly #verified = new Map<string, TokenClaims>();
  /** By `jti`, `user_id` or `client_id` and what it is: the newest of each says all that earlier ones said. */
  readonly #revocations = new Map<string, Revocation>();

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  /** Refuses from now on what the UAA revoked: one token, or those of a user or client that were issued until then. */
  refuse(revocation: Revocation): void {
    const now_s = this.#options.clock.now() / 1000;
    for (const [key, { expires_at }] of this.#revocations) if (expires_at < now_s) this.#revocations.delete(key);
    const { jti, user_id, client_id } = revocation;
    const key = jti !== undefined ? `jti ${jti}` : user_id !== undefined ? `user ${user_id}` : `client ${client_id}`;
    const known = this.#revocations.get(key);
    if (!known || known.issued_until <= revocation.issued_until) this.#revocations.set(key, revocation);
  }

  /** Errors: TokenInvalid, KeysUnavailable. */
  async verify(token: string): Promise<TokenClaims> {
    const cached = this.#verified.get(token);
    if (cached) {
      if (cached.exp * 1000 > this.#options.clock.now() && !this.#isRevoked(cached)) return cached;
      this.#verified.delete(token);
    }
    const keys = await this.#keysFor(token);
    const claims = await this.#check(token, keys);
    if (this.#isRevoked(claims)) throw new TokenInvalid('the token is revoked');
    this.#remember(token, claims);
    return claims;
  }

  #isRevoked({ jti, user_id, client_id, iat }: TokenClaims): boolean {
    if (this.#revocations.size === 0) return false;
    return [`jti ${jti}`, `user ${user_id}`, `client ${client_id}`].some((key) => {
      const revocation = this.#revocations.get(key);
      return revocation !== undefined && iat <= revocation.issued_until;
    });
  }

  async #check(token: string, keys: ReturnType<typeof createLocalJWKSet>): Promise<TokenClaims> {
    let payload: JWTPayload;
    try {
      const verified = await jwtVerify(token, keys, {
        algorithms: ['RS256'],
        issuer: this.#options.issuer,
        audience: this.#options.audience,
        clockTolerance: this.#options.clock_skew_s ?? 5,
        currentDate: new Date(this.#options.clock.now()),
      });
      payload = verified.payload;
    } catch (error) {
      const why = error instanceof errors.JWTExpired ? 'the token is expired' : 'the token is invalid';
      throw new TokenInvalid(why, { cause: error });
    }
    const claims = TokenClaims.safeParse(payload);
    if (!claims.success) throw new TokenInvalid('the token lacks claims', { cause: claims.error });
    return claims.data;
  }

  async #keysFor(token: string): Promise<ReturnType<typeof createLocalJWKSet>> {
    let kid: string | undefined;
    try {
      kid = decodeProtectedHeader(token).kid;
    } catch (error) {
      throw new TokenInvalid('the token is not a JWT', { cause: error });
    }
    const isKnown = this.#keys !== undefined && kid !== undefined && this.#keys.ids.has(kid);
    // A key we have not seen may be a new one; asking again for each made-up key id would let strangers load the UAA.
    if (!isKnown && this.#options.clock.monotonic() - this.#fetchedAt_ms >= KEY_REFRESH_MIN_MS) {
      this.#fetching ??= this.#refresh().finally(() => (this.#fetching = undefined));
      await this.#fetching;
    }
    if (!this.#keys) throw new KeysUnavailable();
    return this.#keys.set;
  }

  async #refresh(): Promise<void> {
    try {
      const set = await this.#options.fetchKeys();
      const ids = set.keys.flatMap((key) => (key.kid === undefined ? [] : [key.kid]));
      this.#keys = { set: createLocalJWKSet(set), ids: new Set(ids) };
      this.#fetchedAt_ms = this.#options.clock.monotonic();
    } catch (error) {
      // With keys at hand an absent UAA stops nobody but bearers of newer keys.
      if (!this.#keys) throw new KeysUnavailable({ cause: error });
    }
  }

  #remember(token: string, claims: TokenClaims): void {
    const limit = this.#options.cache_size ?? 10_000;
    const [oldest] = this.#verified.keys();
    if (this.#verified.size >= limit && oldest !== undefined) this.#verified.delete(oldest);
    this.#verified.set(token, claims);
  }
}
