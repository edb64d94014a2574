import type { KeyObject } from 'node:crypto';
import type { JSONWebKeySet } from 'jose';
import { z } from 'zod';
import type { Revocation } from '#contracts/uaa.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';
import { claimsSignedBy, publicKeysOf, readJwt, type UncheckedJwt } from './jwt.ts';

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
  nbf: z.number().optional(),
  iat: z.number(),
  grant_type: z.string().optional(),
  user_id: z.string().optional(),
  user_name: z.string().optional(),
  email: z.string().optional(),
  origin: z.string().optional(),
});
export type TokenClaims = z.infer<typeof TokenClaims>;

export interface TokenVerifierOptions {
  /** Fetches UAA's `/token_keys`; asked again for a token with a key that is not among them, and after ten minutes. */
  fetchKeys: () => Promise<JSONWebKeySet>;
  issuer: string;
  /** One of these must be in the token's `aud`. */
  audience: string | readonly string[];
  clock: Clock;
  clock_skew_s?: number;
  /** Verified tokens kept, so that a token used again costs a look-up and not a signature. */
  cache_size?: number;
}

const KEY_REFRESH_MIN_MS = 5_000;
/** A key that the UAA no longer has is trusted no longer than this. */
const KEY_REFRESH_MAX_MS = 600_000;
const CLOCK_SKEW_S = 5;

/**
 * Checks bearer tokens: signature (RS256 alone, whatever the token says), issuer, audience, expiry. The one verifier that all
 * resource servers share.
 */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  #keys: ReadonlyMap<string, KeyObject> | undefined;
  #fetchedAt_ms = -Infinity;
  #askedAt_ms = -Infinity;
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
    this.#refreshOldKeys();
    const cached = this.#verified.get(token);
    if (cached) {
      if (cached.exp * 1000 > this.#options.clock.now() && !this.#isRevoked(cached)) return cached;
      this.#verified.delete(token);
    }
    const jwt = readJwt(token);
    if (!jwt) throw new TokenInvalid('the token is not a JWT that is signed by RS256');
    const claims = this.#check(jwt, await this.#keyOf(jwt));
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

  #check(jwt: UncheckedJwt, key: KeyObject): TokenClaims {
    const signed = claimsSignedBy(key, jwt);
    if (!signed) throw new TokenInvalid('the token is invalid');
    const { success, data: claims, error } = TokenClaims.safeParse(signed);
    if (!success) throw new TokenInvalid('the token lacks claims', { cause: error });
    const { issuer, audience, clock, clock_skew_s = CLOCK_SKEW_S } = this.#options;
    if (claims.iss !== issuer || ![claims.aud].flat().some((of) => [audience].flat().includes(of))) {
      throw new TokenInvalid('the token is invalid: it is of another issuer or for another audience');
    }
    const now_s = clock.now() / 1000;
    if (claims.exp <= now_s - clock_skew_s) throw new TokenInvalid('the token is expired');
    if (claims.nbf !== undefined && claims.nbf > now_s + clock_skew_s)
      throw new TokenInvalid('the token is not valid yet');
    return claims;
  }

  async #keyOf({ kid }: UncheckedJwt): Promise<KeyObject> {
    // A key we have not seen may be a new one; asking again for each made-up key id would let strangers load the UAA.
    const isOld = this.#options.clock.monotonic() - this.#fetchedAt_ms >= KEY_REFRESH_MIN_MS;
    if (this.#keys?.has(kid) !== true && isOld) await this.#refresh();
    if (!this.#keys) throw new KeysUnavailable();
    const key = this.#keys.get(kid);
    if (!key) throw new TokenInvalid('the token is signed by a key that the UAA does not have');
    return key;
  }

  /** In the background: what is at hand is good enough until the answer is there. */
  #refreshOldKeys(): void {
    const now = this.#options.clock.monotonic();
    if (!this.#keys || now - this.#fetchedAt_ms < KEY_REFRESH_MAX_MS || now - this.#askedAt_ms < KEY_REFRESH_MIN_MS)
      return;
    void this.#refresh();
  }

  /** Errors: KeysUnavailable when there are none at all. */
  async #refresh(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined));
    await this.#fetching;
  }

  async #fetch(): Promise<void> {
    this.#askedAt_ms = this.#options.clock.monotonic();
    try {
      const keys = publicKeysOf(await this.#options.fetchKeys());
      const isOneGone = [...(this.#keys?.keys() ?? [])].some((kid) => !keys.has(kid));
      if (isOneGone) this.#verified.clear();
      this.#keys = keys;
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
