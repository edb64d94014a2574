import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { UaaError } from '../errors.ts';
import type { AssertionProvider } from '../grants/jwt-bearer.ts';
import type { User } from '../tables.ts';
import type { OidcProvider } from './config.ts';
import { ProviderFailed } from './provider-failed.ts';
import type { ShadowUsers } from './shadow-users.ts';

/** What has to be kept from the way out until the way back. */
export interface OidcState {
  code_verifier: string;
  nonce: string;
}

/** Sign-in at an OpenID Connect provider: code flow with PKCE and nonce; and its tokens as assertions. */
export class OidcPeer implements AssertionProvider {
  readonly origin: string;
  readonly label: string;
  readonly #config: OidcProvider;
  readonly #shadows: ShadowUsers;
  readonly #redirect_uri: string;
  #discovered: Promise<oidc.Configuration> | undefined;
  #keys: ReturnType<typeof createRemoteJWKSet> | undefined;

  constructor(origin: string, options: { config: OidcProvider; shadows: ShadowUsers; login_url: string }) {
    this.origin = origin;
    this.label = options.config.label;
    this.#config = options.config;
    this.#shadows = options.shadows;
    this.#redirect_uri = `${options.login_url}/login/callback/${origin}`;
  }

  get issuer(): string {
    return this.#config.issuer;
  }

  newState(): OidcState {
    return { code_verifier: oidc.randomPKCECodeVerifier(), nonce: oidc.randomNonce() };
  }

  /** Where the browser goes. Errors: ProviderFailed. */
  async departure(state: string, { code_verifier, nonce }: OidcState): Promise<string> {
    const configuration = await this.#configuration();
    const url = oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: this.#redirect_uri,
      scope: this.#config.scopes.join(' '),
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(code_verifier),
      code_challenge_method: 'S256',
    });
    return url.href;
  }

  /** The user who came back with `query`. Errors: ProviderFailed. */
  async arrival(query: string, state: string, { code_verifier, nonce }: OidcState): Promise<User> {
    const configuration = await this.#configuration();
    let claims: Record<string, unknown>;
    try {
      const tokens = await oidc.authorizationCodeGrant(configuration, new URL(`${this.#redirect_uri}?${query}`), {
        pkceCodeVerifier: code_verifier,
        expectedNonce: nonce,
        expectedState: state,
        idTokenExpected: true,
      });
      const own = tokens.claims();
      if (!own) throw new ProviderFailed(this.origin);
      const hasMore = configuration.serverMetadata().userinfo_endpoint !== undefined;
      const more = hasMore ? await oidc.fetchUserInfo(configuration, tokens.access_token, own.sub) : {};
      claims = { ...more, ...own };
    } catch (error) {
      throw new ProviderFailed(this.origin, { cause: error });
    }
    return await this.#keep(claims);
  }

  /** The user of a token of the provider that was made for us. Errors: invalid_grant, ProviderFailed. */
  async accept(assertion: string): Promise<User> {
    const configuration = await this.#configuration();
    const { jwks_uri, issuer } = configuration.serverMetadata();
    if (jwks_uri === undefined) throw new ProviderFailed(this.origin);
    this.#keys ??= createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: this.#config.timeout_ms });
    try {
      const { payload } = await jwtVerify(assertion, this.#keys, {
        issuer,
        audience: this.#config.client_id,
        algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
        requiredClaims: ['sub', 'exp', 'iat'],
        clockTolerance: 5,
      });
      return await this.#keep(payload);
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
      throw new UaaError('invalid_grant', 'The assertion is not a token that we trust', { cause: error });
    }
  }

  async #keep(claims: Record<string, unknown>): Promise<User> {
    const text = (name: string): string | undefined => {
      const value = claims[name];
      return typeof value === 'string' && value !== '' && value.length <= 255 ? value : undefined;
    };
    const external_id = text('sub');
    if (external_id === undefined) throw new ProviderFailed(this.origin);
    const email = text('email');
    const user_name = text(this.#config.user_name_claim) ?? email ?? external_id;
    const groups = claims[this.#config.groups_claim];
    const person = {
      origin: this.origin,
      external_id,
      user_name,
      email: email ?? user_name,
      given_name: text('given_name') ?? null,
      family_name: text('family_name') ?? null,
      groups: Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [],
    };
    return await this.#shadows.keep(person, this.#config.groups);
  }

  /** Discovery happens at the first use, and again after one that failed: the provider may be away when we start. */
  async #configuration(): Promise<oidc.Configuration> {
    const { issuer, client_id, client_secret, timeout_ms } = this.#config;
    this.#discovered ??= oidc.discovery(new URL(issuer), client_id, undefined, oidc.ClientSecretBasic(client_secret), {
      timeout: timeout_ms / 1000,
      // Plain http is for providers on this machine; whoever writes http:// into the configuration said so.
      ...(issuer.startsWith('http:') && { execute: [oidc.allowInsecureRequests] }),
    });
    try {
      return await this.#discovered;
    } catch (error) {
      this.#discovered = undefined;
      throw new ProviderFailed(this.origin, { cause: error });
    }
  }
}
