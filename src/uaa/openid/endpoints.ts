import type { FastifyInstance } from 'fastify';
import { requireToken } from '../edge/access.ts';
import { UaaError } from '../errors.ts';
import type { Uaa } from '../uaa.ts';

export function openidEndpoints(server: FastifyInstance, uaa: Uaa): void {
  // OpenID Connect Discovery 1.0. The issuer ends in /oauth/token, so strict clients ask below that path.
  for (const path of ['/.well-known/openid-configuration', '/oauth/token/.well-known/openid-configuration']) {
    server.get(path, async () => discovery(uaa));
  }
  server.get('/.well-known/oauth-authorization-server/oauth/token', async () => discovery(uaa));

  for (const method of ['GET', 'POST'] as const) {
    server.route({
      method,
      url: '/userinfo',
      handler: async (request) => {
        const { user } = await requireToken(request, uaa.guard, 'openid');
        if (!user) throw new UaaError('insufficient_scope', "A user's token is needed");
        const name = [user.given_name, user.family_name].filter((part) => part !== null && part !== '').join(' ');
        return {
          user_id: user.id,
          sub: user.id,
          user_name: user.user_name,
          preferred_username: user.user_name,
          ...(name !== '' && { name }),
          ...(user.given_name !== null && { given_name: user.given_name }),
          ...(user.family_name !== null && { family_name: user.family_name }),
          ...(user.phone_number !== null && { phone_number: user.phone_number }),
          email: user.email,
          email_verified: user.verified,
          origin: user.origin,
          updated_at: Math.floor(user.updated_at.getTime() / 1000),
          ...(user.previous_logon_at && { previous_logon_time: user.previous_logon_at.getTime() }),
        };
      },
    });
  }
}

function discovery(uaa: Uaa): object {
  const { uaa: own, login } = uaa.urls;
  return {
    issuer: uaa.issuer_url,
    authorization_endpoint: `${login}/oauth/authorize`,
    token_endpoint: `${own}/oauth/token`,
    userinfo_endpoint: `${own}/userinfo`,
    jwks_uri: `${own}/token_keys`,
    introspection_endpoint: `${own}/introspect`,
    revocation_endpoint: `${own}/oauth/revoke`,
    end_session_endpoint: `${login}/logout.do`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: [...uaa.grants.keys()],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    scopes_supported: ['openid', 'profile', 'roles', 'user_attributes'],
    claims_supported: [
      'sub',
      'user_name',
      'origin',
      'iss',
      'auth_time',
      'amr',
      'client_id',
      'aud',
      'zid',
      'user_id',
      'azp',
      'scope',
      'exp',
      'iat',
      'jti',
      'rev_sig',
      'cid',
      'given_name',
      'family_name',
      'phone_number',
      'email',
    ],
    claim_types_supported: ['normal'],
    claims_parameter_supported: false,
    request_parameter_supported: false,
    ui_locales_supported: ['en', 'zh-CN'],
  };
}
