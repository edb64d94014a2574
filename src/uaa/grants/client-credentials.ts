import { UaaError } from '../errors.ts';
import { clientScopes, parseScope } from '../tokens/scopes.ts';
import type { GrantHandler } from './grant-request.ts';

/** A client's own token. Source: RFC 6749 section 4.4. It never comes with a refresh token. */
export const clientCredentialsGrant: GrantHandler = async ({ client, isConfidential, parameters }) => {
  if (!isConfidential) throw new UaaError('unauthorized_client', 'A client without a secret has no token of its own');
  return {
    client,
    grant_type: 'client_credentials',
    scopes: clientScopes(parseScope(parameters['scope']), client.authorities),
  };
};
