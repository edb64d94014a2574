import { SAML, ValidateInResponseTo, type CacheProvider, type Profile } from '@node-saml/node-saml';
import type { Clock } from '#kernel/clock.ts';
import type { TokenStore } from '../tokens/store.ts';
import type { User } from '../tables.ts';
import type { SamlProvider } from './config.ts';
import { ProviderFailed } from './provider-failed.ts';
import type { ShadowUsers } from './shadow-users.ts';

/** A person has this long to sign in elsewhere; the answer to a request is taken once. */
const REQUEST_S = 900;

/** Sign-in at a SAML 2.0 provider: the request by HTTP-Redirect, the answer by HTTP-POST. Assertions have to be signed. */
export class SamlPeer {
  readonly origin: string;
  readonly label: string;
  readonly #config: SamlProvider;
  readonly #shadows: ShadowUsers;
  readonly #saml: SAML;

  constructor(
    origin: string,
    options: { config: SamlProvider; shadows: ShadowUsers; login_url: string; tokens: TokenStore; clock: Clock },
  ) {
    const { config, login_url } = options;
    this.origin = origin;
    this.label = config.label;
    this.#config = config;
    this.#shadows = options.shadows;
    const entity_id = config.entity_id ?? new URL(login_url).hostname;
    this.#saml = new SAML({
      entryPoint: config.entry_point,
      idpCert: config.certificate,
      issuer: entity_id,
      audience: entity_id,
      callbackUrl: `${login_url}/saml/SSO/alias/${origin}`,
      wantAssertionsSigned: true,
      wantAuthnResponseSigned: false,
      acceptedClockSkewMs: 5_000,
      validateInResponseTo: ValidateInResponseTo.always,
      requestIdExpirationPeriodMs: REQUEST_S * 1000,
      cacheProvider: requestIds(options.tokens, options.clock),
      identifierFormat: null,
      disableRequestedAuthnContext: true,
    });
  }

  /** What the provider's administrator needs to know of us. */
  metadata(): string {
    return this.#saml.generateServiceProviderMetadata(null, null);
  }

  async departure(relay: string): Promise<string> {
    return await this.#saml.getAuthorizeUrlAsync(relay, undefined, {});
  }

  /** The user whom a posted answer speaks of. Errors: ProviderFailed. */
  async arrival(SAMLResponse: string): Promise<User> {
    let profile: Profile | null;
    try {
      ({ profile } = await this.#saml.validatePostResponseAsync({ SAMLResponse }));
    } catch (error) {
      throw new ProviderFailed(this.origin, { cause: error });
    }
    if (!profile || profile.nameID === '') throw new ProviderFailed(this.origin);
    const { nameID } = profile;
    const all = (name: string): string[] => {
      const value = profile[name];
      return (Array.isArray(value) ? value : [value]).filter(
        (one): one is string => typeof one === 'string' && one !== '',
      );
    };
    const config = this.#config;
    const [email] = all(config.email_attribute);
    const person = {
      origin: this.origin,
      external_id: nameID,
      user_name: nameID,
      email: email ?? nameID,
      given_name: all(config.given_name_attribute)[0] ?? null,
      family_name: all(config.family_name_attribute)[0] ?? null,
      groups: all(config.groups_attribute),
    };
    return await this.#shadows.keep(person, config.groups);
  }
}

/** The requests that wait for an answer, in the database: it may reach another UAA than the request left from. */
function requestIds(tokens: TokenStore, clock: Clock): CacheProvider {
  const now = (): Date => new Date(clock.now());
  return {
    saveAsync: async (key, value) => {
      const expires_at = new Date(clock.now() + REQUEST_S * 1000);
      await tokens.addNamedCode(key, { purpose: 'sign_in_state', user_id: null, data: { value }, expires_at });
      return { value, createdAt: clock.now() };
    },
    getAsync: async (key) => {
      const value = (await tokens.findOneTimeCode('sign_in_state', key, now()))?.data['value'];
      return typeof value === 'string' ? value : null;
    },
    removeAsync: async (key) => {
      if (key === null) return null;
      return (await tokens.takeOneTimeCode('sign_in_state', key, now())) ? key : null;
    },
  };
}
