import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { requireToken } from '../edge/access.ts';
import { queryOf } from '../edge/form.ts';
import { UaaError } from '../errors.ts';
import { requireParameter } from '../grants/grant-request.ts';
import { userScopes } from '../tokens/scopes.ts';
import type { Uaa } from '../uaa.ts';
import { grantCode, isAutoapproved } from './code.ts';
import {
  AuthorizationRefused,
  answerLocation,
  parseAuthorizationRequest,
  type AuthorizationRequest,
} from './request.ts';

export function authorizeEndpoints(server: FastifyInstance, uaa: Uaa): void {
  server.get('/oauth/authorize', async (request, reply) => {
    try {
      const authorization = await readAuthorization(uaa, request);
      if (request.headers.authorization === undefined) {
        throw new UaaError('unauthorized', 'Full authentication is required to access this resource');
      }
      return await redirect(reply, await byToken(uaa, request, authorization));
    } catch (error) {
      if (error instanceof AuthorizationRefused) return await redirect(reply, error.location);
      throw error;
    }
  });
}

export async function readAuthorization(uaa: Uaa, request: FastifyRequest): Promise<AuthorizationRequest> {
  const parameters = queryOf(request);
  const client = await uaa.clients.find(requireParameter(parameters, 'client_id'));
  if (!client) throw new UaaError('invalid_client', 'No client with requested id');
  return parseAuthorizationRequest(client, parameters, uaa.issuer_url);
}

/**
 * A user's token in place of a browser's session: how `cf ssh-code` gets its one-time code. There is nobody to ask, so the
 * client has to be one that is approved without asking.
 */
async function byToken(uaa: Uaa, request: FastifyRequest, authorization: AuthorizationRequest): Promise<string> {
  const { user, claims } = await requireToken(request, uaa.guard, 'uaa.user');
  if (!user) throw new UaaError('access_denied', "A user's token is needed");
  const { client, scope, state, redirect_uri } = authorization;
  const scopes = userScopes(scope, client.scope, await uaa.users.groupNames(user.id));
  if (!isAutoapproved(client.autoapprove, scopes)) {
    const error_description = 'The user has to be asked, in a browser';
    return answerLocation(redirect_uri, {
      error: 'interaction_required',
      error_description,
      state,
      iss: uaa.issuer_url,
    });
  }
  const auth_time_ms = Number(claims['auth_time'] ?? claims.iat) * 1000;
  return await grantCode(uaa, authorization, { user, scopes, auth_time_ms });
}

/** 302, as the cf CLI and the OAuth clients expect. */
export async function redirect(reply: FastifyReply, location: string): Promise<FastifyReply> {
  reply.header('Cache-Control', 'no-store');
  return await reply.redirect(location, 302);
}
