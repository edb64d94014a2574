import type { FastifyInstance } from 'fastify';
import { bearerOf, hasScope, madeBy, requireClient, requireToken, type ProvenClient } from '../edge/access.ts';
import { formOf, queryOf } from '../edge/form.ts';
import { UaaError } from '../errors.ts';
import { requireParameter, type GrantHandler } from '../grants/grant-request.ts';
import type { Client } from '../tables.ts';
import type { Uaa } from '../uaa.ts';
import type { Grant } from './issuer.ts';

/** Bigger forms have no business at the token endpoint. */
const FORM_LIMIT_BYTES = 65_536;

export function tokenEndpoints(server: FastifyInstance, uaa: Uaa): void {
  server.post('/oauth/token', { bodyLimit: FORM_LIMIT_BYTES }, async (request, reply) => {
    reply.header('Cache-Control', 'no-store').header('Pragma', 'no-cache');
    // The cf CLI puts login_hint into the query; secrets have no place there, where logs would have them.
    const parameters = { ...formOf(request), ...pick(queryOf(request), 'login_hint') };
    const grant_type = requireParameter(parameters, 'grant_type');
    const { client, isConfidential } = await requireClient(request, parameters, uaa);
    const handler = handlerOf(uaa.grants, grant_type, client);
    const grant = await handler({ client, isConfidential, parameters, remote_address: request.ip });
    return await issue(uaa, grant, { grant_type, remote_address: request.ip });
  });

  server.get('/token_keys', async () => ({ keys: uaa.keys.publicKeys() }));
  server.get('/token_key', async () => uaa.keys.publicKeys()[0]);

  server.post('/check_token', async (request, reply) => {
    const form = formOf(request);
    requireResourceServer(await requireClient(request, form, uaa));
    const held = await uaa.guard.check(requireParameter(form, 'token')).catch((error: unknown) => {
      if (error instanceof UaaError && error.code === 'invalid_token') return undefined;
      throw error;
    });
    if (!held) {
      // Not 401, which would speak of the asker's own proof.
      reply.code(400);
      return { error: 'invalid_token', error_description: 'The token is expired, revoked or not one of ours' };
    }
    const missing = (form['scopes'] ?? '').split(/[\s,]+/).filter((s) => s !== '' && !held.claims.scope.includes(s));
    if (missing.length > 0) throw new UaaError('invalid_scope', 'Some requested scopes are missing');
    return held.claims;
  });

  // RFC 7662.
  server.post('/introspect', async (request) => {
    const form = formOf(request);
    requireResourceServer(await requireClient(request, form, uaa));
    try {
      const { claims, kind } = await uaa.guard.check(requireParameter(form, 'token'));
      return {
        active: true,
        ...claims,
        scope: claims.scope.join(' '),
        token_type: kind === 'access' ? 'bearer' : 'refresh_token',
      };
    } catch (error) {
      if (error instanceof UaaError && error.code === 'invalid_token') return { active: false };
      throw error;
    }
  });

  server.delete<{ Params: { jti: string } }>('/oauth/token/revoke/:jti', async (request) => {
    const { jti } = request.params;
    const token = bearerOf(request);
    // A token that asks for its own end and is at it already: `cf logout` ends the refresh token first, and this one with it.
    if (uaa.guard.read(token).jti === jti && (await uaa.tokens.isRevoked(jti))) return {};
    const held = await uaa.guard.check(token);
    if (held.claims.jti === jti) {
      await revokeHeld(uaa, held.kind, held.claims);
    } else {
      const refresh = await uaa.tokens.findRefreshToken(jti);
      const isOwn = refresh !== undefined && refresh.user_id === held.claims.user_id;
      if (held.kind !== 'access' || (!isOwn && !hasScope(held, 'tokens.revoke'))) {
        throw new UaaError('insufficient_scope', "tokens.revoke is needed to revoke somebody else's token");
      }
      if (refresh) await uaa.revocations.endFamily(refresh.family_id);
      else await uaa.revocations.revokeToken(jti);
    }
    uaa.audit.record({
      event: 'token_revoked',
      user_id: held.user?.id,
      client_id: held.client.client_id,
      remote_address: request.ip,
      data: { jti },
    });
    return {};
  });

  for (const method of ['GET', 'DELETE'] as const) {
    server.route<{ Params: { id: string } }>({
      method,
      url: '/oauth/token/revoke/user/:id',
      handler: async (request) => {
        const held = await requireToken(request, uaa.guard);
        if (held.claims.user_id !== request.params.id && !hasScope(held, 'tokens.revoke', 'scim.write')) {
          throw new UaaError('insufficient_scope', "tokens.revoke is needed to revoke somebody else's tokens");
        }
        await uaa.revocations.revokeUser(request.params.id);
        uaa.audit.record({
          event: 'token_revoked',
          user_id: request.params.id,
          ...madeBy(request),
          data: { all: true },
        });
        return {};
      },
    });
    server.route<{ Params: { id: string } }>({
      method,
      url: '/oauth/token/revoke/client/:id',
      handler: async (request) => {
        await requireToken(request, uaa.guard, 'tokens.revoke', 'clients.admin');
        await uaa.revocations.revokeClient(request.params.id);
        uaa.audit.record({
          event: 'token_revoked',
          client_id: request.params.id,
          ...madeBy(request),
          data: { all: true },
        });
        return {};
      },
    });
  }

  // RFC 7009: by the client that the token was issued to. An unknown token is as good as revoked.
  server.post('/oauth/revoke', async (request) => {
    const form = formOf(request);
    const { client } = await requireClient(request, form, uaa);
    const token = requireParameter(form, 'token');
    const held = await uaa.guard.check(token).catch((error: unknown) => {
      if (error instanceof UaaError && error.code === 'invalid_token') return undefined;
      throw error;
    });
    if (held && held.client.client_id !== client.client_id) {
      throw new UaaError('invalid_client', 'The token was issued to another client');
    }
    if (held) {
      await revokeHeld(uaa, held.kind, held.claims);
      uaa.audit.record({
        event: 'token_revoked',
        user_id: held.user?.id,
        client_id: client.client_id,
        remote_address: request.ip,
      });
    }
    return {};
  });
}

/** Errors: unsupported_grant_type, unauthorized_client. */
function handlerOf(grants: Uaa['grants'], grant_type: string, client: Client): GrantHandler {
  const handler = grants.get(grant_type);
  if (!handler) throw new UaaError('unsupported_grant_type', `Unsupported grant type: ${grant_type.slice(0, 100)}`);
  if (!client.authorized_grant_types.includes(grant_type)) {
    throw new UaaError('unauthorized_client', `Unauthorized grant type: ${grant_type}`);
  }
  return handler;
}

export interface TokenResponse {
  access_token: string;
  token_type: 'bearer';
  id_token?: string;
  refresh_token?: string;
  expires_in: number;
  scope: string;
  jti: string;
}

/** Makes what a grant decided on; the answer of RFC 6749 section 5.1 with UAA's `jti`. */
async function issue(
  uaa: Uaa,
  grant: Grant,
  asked: { grant_type: string; remote_address: string },
): Promise<TokenResponse> {
  const { user, refresh, client } = grant;
  const access = await uaa.issuer.accessToken(grant);
  const response: TokenResponse = {
    access_token: access.token,
    token_type: 'bearer',
    expires_in: access.expires_in,
    scope: grant.scopes.join(' '),
    jti: access.jti,
  };
  if (user && grant.wantsIdToken === true)
    response.id_token = await uaa.issuer.idToken({ ...grant, user }, access.token);
  if (user && refresh) {
    const made = await uaa.issuer.refreshToken({ ...grant, user, refresh }, access.jti);
    await uaa.tokens.addRefreshToken({
      jti: made.jti,
      family_id: refresh.family_id,
      user_id: user.id,
      client_id: client.client_id,
      scope: refresh.scopes,
      grant_type: grant.grant_type,
      auth_time: new Date(grant.auth_time_ms ?? uaa.clock.now()),
      nonce: grant.nonce ?? null,
      expires_at: made.expires_at,
      access_jti: access.jti,
      access_expires_at: new Date(uaa.clock.now() + access.expires_in * 1000),
    });
    response.refresh_token = made.token;
  }
  uaa.audit.record({
    event: 'token_issued',
    user_id: user?.id,
    client_id: client.client_id,
    origin: user?.origin,
    remote_address: asked.remote_address,
    // The claim of a refreshed token says how the first one was got.
    data: { grant_type: asked.grant_type, scope: grant.scopes.join(' '), jti: access.jti },
  });
  return response;
}

async function revokeHeld(uaa: Uaa, kind: 'access' | 'refresh', claims: { jti: string; exp: number }): Promise<void> {
  if (kind === 'refresh') {
    const record = await uaa.tokens.findRefreshToken(claims.jti);
    if (record) await uaa.revocations.endFamily(record.family_id);
  } else {
    await uaa.revocations.revokeToken(claims.jti, claims.exp);
  }
}

/** Who asks about tokens has to be a resource server. Errors: insufficient_scope. */
function requireResourceServer({ client, isConfidential }: ProvenClient): void {
  if (!isConfidential || !client.authorities.includes('uaa.resource')) {
    throw new UaaError('insufficient_scope', 'uaa.resource is needed to ask about tokens');
  }
}

const pick = (parameters: Readonly<Record<string, string>>, name: string): Record<string, string> =>
  parameters[name] === undefined ? {} : { [name]: parameters[name] };
