import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { requireToken } from '../edge/access.ts';
import { formOf, queryOf } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import { requireParameter } from '../grants/grant-request.ts';
import { formTargetOf, type Visit } from '../login/browser.ts';
import { approvePage } from '../login/pages.ts';
import { isCovered, userScopes } from '../tokens/scopes.ts';
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
      if (request.headers.authorization !== undefined) {
        return await redirect(reply, await byToken(uaa, request, authorization));
      }
      return await byBrowser(uaa, request, reply, authorization);
    } catch (error) {
      if (error instanceof AuthorizationRefused) return await redirect(reply, error.location);
      throw error;
    }
  });

  // The decision on the approval page, with the authorization request in the query as it came.
  server.post('/oauth/authorize', async (request, reply) => {
    try {
      const authorization = await readAuthorization(uaa, request);
      const form = formOf(request);
      const visit = await uaa.browser.visit(request, reply, undefined);
      if (!visit.session) return await redirect(reply, signInPath(request));
      if (!visit.isOwnForm(form['csrf'])) return await redirect(reply, request.url);
      const asked = await scopesToAsk(uaa, authorization, visit.session.user.id);
      const isAllowed = (scope: string): boolean => form['decision'] === 'allow' && form[`scope.${scope}`] === 'true';
      const user_id = visit.session.user.id;
      const { client_id } = authorization.client;
      const shown = asked.open.length === 0 ? asked.all : asked.open;
      const decisions = new Map(
        shown.map((scope) => [scope, isAllowed(scope) ? ('APPROVED' as const) : ('DENIED' as const)]),
      );
      if (form['decision'] === 'allow')
        await uaa.approvals.set({ user_id, client_id }, decisions, new Date(uaa.clock.now()));
      uaa.audit.record({
        event: 'approvals_changed',
        user_id,
        client_id,
        remote_address: request.ip,
        data: Object.fromEntries(decisions),
      });
      const scopes = asked.all.filter(
        (scope) => (decisions.get(scope) ?? (asked.granted.includes(scope) ? 'APPROVED' : 'DENIED')) === 'APPROVED',
      );
      if (form['decision'] !== 'allow' || scopes.length === 0) {
        return await redirect(reply, refusal(uaa, authorization, 'access_denied', 'The user denied access'));
      }
      const { user, auth_time_ms } = visit.session;
      return await redirect(reply, await grantCode(uaa, authorization, { user, scopes, auth_time_ms }));
    } catch (error) {
      if (error instanceof AuthorizationRefused) return await redirect(reply, error.location);
      throw error;
    }
  });
}

async function readAuthorization(uaa: Uaa, request: FastifyRequest): Promise<AuthorizationRequest> {
  const parameters = queryOf(request);
  const client = await uaa.clients.find(requireParameter(parameters, 'client_id'));
  if (!client) throw new UaaError('invalid_client', 'No client with requested id');
  return parseAuthorizationRequest(client, parameters, uaa.issuer_url);
}

async function byBrowser(
  uaa: Uaa,
  request: FastifyRequest,
  reply: FastifyReply,
  authorization: AuthorizationRequest,
): Promise<FastifyReply> {
  const visit = await uaa.browser.visit(request, reply, queryOf(request)['lang']);
  const { prompt, client } = authorization;
  if (!visit.session || mustSignInAgain(uaa, authorization, visit)) {
    if (!prompt.has('none')) return await redirect(reply, signInPath(request));
    return await redirect(reply, refusal(uaa, authorization, 'login_required', 'Nobody is signed in'));
  }
  const { user, auth_time_ms } = visit.session;
  const asked = await scopesToAsk(uaa, authorization, user.id);
  if (asked.open.length === 0 && !prompt.has('consent')) {
    return await redirect(reply, await grantCode(uaa, authorization, { user, scopes: asked.granted, auth_time_ms }));
  }
  if (prompt.has('none')) {
    return await redirect(reply, refusal(uaa, authorization, 'interaction_required', 'The user has to be asked'));
  }
  const page = approvePage(visit.context, {
    client_name: client.name ?? client.client_id,
    user_name: user.user_name,
    scopes: await uaa.groups.descriptions(asked.open.length === 0 ? asked.all : asked.open),
    action: withoutPrompt(request.url),
  });
  return await uaa.browser.show(reply, page, { formTargets: formTargetOf(authorization.redirect_uri) });
}

function mustSignInAgain(uaa: Uaa, { prompt, max_age_s }: AuthorizationRequest, { session }: Visit): boolean {
  if (prompt.has('login')) return true;
  return max_age_s !== undefined && session !== undefined && session.auth_time_ms + max_age_s * 1000 < uaa.clock.now();
}

/** What the client may get, and of that what the user has not been asked about; a no counts as long as a yes. */
async function scopesToAsk(
  uaa: Uaa,
  authorization: AuthorizationRequest,
  user_id: string,
): Promise<{ all: string[]; open: string[]; granted: string[] }> {
  const { client, scope } = authorization;
  const all = scopesOf(uaa, authorization, scope, await uaa.users.groupNames(user_id));
  if (isAutoapproved(client.autoapprove, all)) return { all, open: [], granted: all };
  const said = await uaa.approvals.list(user_id, new Date(uaa.clock.now()), client.client_id);
  const status = new Map(said.map((approval) => [approval.scope, approval.status]));
  const isOpen = (name: string): boolean => !isCovered(name, client.autoapprove) && !status.has(name);
  const granted = all.filter((name) => !isOpen(name) && status.get(name) !== 'DENIED');
  const open = all.filter(isOpen);
  // Whoever said no to everything is asked again, or the client could never be used.
  return open.length === 0 && granted.length === 0 ? { all, open: all, granted } : { all, open, granted };
}

function scopesOf(
  uaa: Uaa,
  authorization: AuthorizationRequest,
  scope: readonly string[] | undefined,
  groups: readonly string[],
): string[] {
  try {
    return userScopes(scope, authorization.client.scope, groups);
  } catch (error) {
    if (!(error instanceof UaaError)) throw error;
    throw new AuthorizationRefused(refusal(uaa, authorization, error.code, error.message));
  }
}

/**
 * A user's token in place of a browser's session: how `cf ssh-code` gets its one-time code. There is nobody to ask, so the
 * client has to be one that is approved without asking.
 */
async function byToken(uaa: Uaa, request: FastifyRequest, authorization: AuthorizationRequest): Promise<string> {
  const { user, claims } = await requireToken(request, uaa.guard, 'uaa.user');
  if (!user) throw new UaaError('access_denied', "A user's token is needed");
  const { client, scope } = authorization;
  const scopes = scopesOf(uaa, authorization, scope, await uaa.users.groupNames(user.id));
  if (!isAutoapproved(client.autoapprove, scopes)) {
    return refusal(uaa, authorization, 'interaction_required', 'The user has to be asked, in a browser');
  }
  const auth_time_ms = Number(claims['auth_time'] ?? claims.iat) * 1000;
  return await grantCode(uaa, authorization, { user, scopes, auth_time_ms });
}

function refusal(uaa: Uaa, { redirect_uri, state }: AuthorizationRequest, error: string, why: string): string {
  return answerLocation(redirect_uri, { error, error_description: why, state, iss: uaa.issuer_url });
}

const signInPath = (request: FastifyRequest): string =>
  `/login?${new URLSearchParams({ continue: withoutPrompt(request.url) }).toString()}`;

/** After a sign-in or a decision the same request must not ask for another one. */
function withoutPrompt(url: string): string {
  const at = url.indexOf('?');
  const query = new URLSearchParams(url.slice(at + 1));
  for (const name of ['prompt', 'max_age', 'lang']) query.delete(name);
  return `${url.slice(0, at)}?${query.toString()}`;
}
