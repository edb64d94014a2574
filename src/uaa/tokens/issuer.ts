import { createHash, hash, randomUUID } from 'node:crypto';
import type { Clock } from '#kernel/clock.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Client, User } from '../tables.ts';
import { audienceOf } from './scopes.ts';
import { refreshJtiOf } from './store.ts';

/** What a grant decided: who gets a token for what. */
export interface Grant {
  client: Client;
  grant_type: string;
  scopes: string[];
  /** Absent for a client's own token. */
  user?: User;
  /** When the user proved who they are, in ms. */
  auth_time_ms?: number;
  nonce?: string;
  /** The access token's, when the grant had to know it beforehand. */
  jti?: string;
  /** Whether the answer carries an ID token. */
  wantsIdToken?: boolean;
  /** Present when the answer carries a refresh token: the family it belongs to. */
  refresh?: { family_id: string; scopes: string[] };
}

export interface TokenIssuerOptions {
  keys: KeyRing;
  clock: Clock;
  issuer: string;
  access_token_validity_s: number;
  refresh_token_validity_s: number;
}

/** The audience of refresh tokens: no resource server is called that, so none takes one for an access token. */
export const REFRESH_AUDIENCE = 'uaa:refresh';

/** Makes UAA's tokens. Source of the claims: the reference's section 4.2; ID tokens: OpenID Connect Core 1.0, section 2. */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions;

  constructor(options: TokenIssuerOptions) {
    this.#options = options;
  }

  async accessToken(grant: Grant): Promise<{ token: string; jti: string; expires_in: number }> {
    const { client, user } = grant;
    const jti = grant.jti ?? newJti();
    const expires_in = this.#accessValidity(client);
    const iat = this.#now_s();
    const token = await this.#options.keys.sign({
      jti,
      sub: user?.id ?? client.client_id,
      ...(user === undefined && { authorities: grant.scopes }),
      scope: grant.scopes,
      client_id: client.client_id,
      cid: client.client_id,
      azp: client.client_id,
      revocable: true,
      grant_type: grant.grant_type,
      ...(user && {
        user_id: user.id,
        origin: user.origin,
        user_name: user.user_name,
        email: user.email,
        auth_time: seconds(grant.auth_time_ms),
      }),
      rev_sig: revocationSignature(client, user),
      iat,
      exp: iat + expires_in,
      iss: this.#options.issuer,
      zid: 'uaa',
      aud: audienceOf(grant.scopes, client.client_id),
    });
    return { token, jti, expires_in };
  }

  /** `access_jti` is that of the access token that it comes with. */
  async refreshToken(
    grant: Grant & { user: User; refresh: { family_id: string; scopes: string[] } },
    access_jti: string,
  ): Promise<{ token: string; jti: string; expires_at: Date }> {
    const { client, user } = grant;
    const jti = refreshJtiOf(access_jti);
    const iat = this.#now_s();
    const exp = iat + this.#refreshValidity(client);
    const token = await this.#options.keys.sign({
      jti,
      sub: user.id,
      iat,
      exp,
      cid: client.client_id,
      client_id: client.client_id,
      iss: this.#options.issuer,
      zid: 'uaa',
      aud: [REFRESH_AUDIENCE],
      granted_scopes: grant.refresh.scopes,
      grant_type: grant.grant_type,
      user_name: user.user_name,
      origin: user.origin,
      user_id: user.id,
      revocable: true,
      rev_sig: revocationSignature(client, user),
    });
    return { token, jti, expires_at: new Date(exp * 1000) };
  }

  /** `accessToken` is bound by `at_hash`. */
  async idToken(grant: Grant & { user: User }, accessToken: string): Promise<string> {
    const { client, user } = grant;
    const iat = this.#now_s();
    const half = createHash('sha256').update(accessToken).digest().subarray(0, 16);
    return await this.#options.keys.sign({
      sub: user.id,
      aud: [client.client_id],
      iss: this.#options.issuer,
      iat,
      exp: iat + this.#accessValidity(client),
      auth_time: seconds(grant.auth_time_ms),
      azp: client.client_id,
      amr: ['pwd'],
      at_hash: half.toString('base64url'),
      ...(grant.nonce !== undefined && { nonce: grant.nonce }),
      zid: 'uaa',
      origin: user.origin,
      user_id: user.id,
      user_name: user.user_name,
      email: user.email,
      email_verified: user.verified,
      ...(user.given_name !== null && { given_name: user.given_name }),
      ...(user.family_name !== null && { family_name: user.family_name }),
      ...(user.previous_logon_at && { previous_logon_time: user.previous_logon_at.getTime() }),
    });
  }

  /** Seconds that the longest-lived token of one answer to this client can live. */
  longestValidity(client: Client): number {
    return Math.max(this.#accessValidity(client), this.#refreshValidity(client));
  }

  #accessValidity(client: Client): number {
    return client.access_token_validity ?? this.#options.access_token_validity_s;
  }

  #refreshValidity(client: Client): number {
    return client.refresh_token_validity ?? this.#options.refresh_token_validity_s;
  }

  #now_s(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }
}

export const newJti = (): string => randomUUID().replaceAll('-', '');

const seconds = (ms: number | undefined): number => Math.floor((ms ?? 0) / 1000);

/** Changes when all tokens of the client or of the user are to end: after a new password, a new secret, a revocation. */
export function revocationSignature(client: Client, user: User | undefined): string {
  const parts = [client.client_id, client.token_salt, user?.id ?? '', user?.token_salt ?? ''];
  return hash('sha256', parts.join('\0')).slice(0, 8);
}
