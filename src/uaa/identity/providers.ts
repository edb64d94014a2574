import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { UaaConfig } from '../config.ts';
import type { TokenStore } from '../tokens/store.ts';
import type { LdapDirectory } from './ldap.ts';
import type { OidcPeer } from './oidc.ts';
import type { SamlPeer } from './saml.ts';
import type { ShadowUsers } from './shadow-users.ts';

export interface IdentityProviderSet {
  directories: LdapDirectory[];
  peers: OidcPeer[];
  samlPeers: SamlPeer[];
}

/** The configured providers. The libraries that speak to them take memory: each kind is loaded when there is one of it. */
export async function identityProviders(
  config: UaaConfig,
  parts: { shadows: ShadowUsers; tokens: TokenStore; clock: Clock; log: Log },
): Promise<IdentityProviderSet> {
  const set: IdentityProviderSet = { directories: [], peers: [], samlPeers: [] };
  const login_url = config.urls.login;
  for (const [origin, provider] of Object.entries(config.identity_providers)) {
    switch (provider.kind) {
      case 'ldap': {
        const { LdapDirectory } = await import('./ldap.ts');
        set.directories.push(new LdapDirectory(origin, { config: provider, ...parts }));
        break;
      }
      case 'oidc': {
        const { OidcPeer } = await import('./oidc.ts');
        set.peers.push(new OidcPeer(origin, { config: provider, login_url, ...parts }));
        break;
      }
      case 'saml': {
        const { SamlPeer } = await import('./saml.ts');
        set.samlPeers.push(new SamlPeer(origin, { config: provider, login_url, ...parts }));
        break;
      }
      default:
        provider satisfies never;
    }
  }
  return set;
}
