import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isRedirectTo } from '../authorize/request.ts';
import { formOf, queryOf } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import type { Parameters } from '../grants/grant-request.ts';
import type { Uaa } from '../uaa.ts';
import type { Visit } from './browser.ts';

/**
 * UAA's `/logout.do` (`redirect`, `client_id`), which is also the end of a session that a client asks for. Source: OpenID Connect
 * RP-Initiated Logout 1.0 (`id_token_hint`, `post_logout_redirect_uri`, `state`).
 */
export function signOutEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { browser } = uaa;

  server.get('/logout.do', async (request, reply) => {
    const visit = await browser.visit(request, reply, undefined);
    return await signOut(uaa, request, reply, { visit, asked: queryOf(request) });
  });

  server.post('/logout.do', async (request, reply) => {
    const visit = await browser.visit(request, reply, undefined);
    const form = formOf(request);
    // Our own page's button, or a client that shows whom it signed in.
    const isMeant = visit.isOwnForm(form['csrf']) || form['id_token_hint'] !== undefined;
    return isMeant ? await signOut(uaa, request, reply, { visit, asked: form }) : await redirect(reply, '/');
  });
}

async function signOut(
  uaa: Uaa,
  request: FastifyRequest,
  reply: FastifyReply,
  { visit, asked }: { visit: Visit; asked: Parameters },
): Promise<FastifyReply> {
  const { session } = visit;
  const hint = hintOf(uaa, asked['id_token_hint']);
  const client_id = asked['client_id'] ?? hint?.client_ids[0];
  if (hint && !hint.client_ids.includes(client_id ?? ''))
    throw new UaaError('invalid_request', 'The id_token_hint is not for this client_id');
  // Somebody else is signed in by now: their account page asks them.
  if (hint && session && session.user.id !== hint.user_id) return await redirect(reply, '/');
  await uaa.browser.signOut(reply, session);
  if (session) uaa.audit.record({ event: 'signed_out', user_id: session.user.id, remote_address: request.ip });
  const onward = await onwardOf(uaa, client_id, asked);
  return await redirect(reply, onward ?? '/login?signed_out');
}

/** Whom an ID token of ours was about and for; one that is over will do. Errors: invalid_request. */
function hintOf(uaa: Uaa, token: string | undefined): { client_ids: string[]; user_id: unknown } | undefined {
  if (token === undefined || token === '') return undefined;
  const claims = uaa.keys.verify(token);
  // Access and refresh tokens have rev_sig.
  if (claims?.['iss'] !== uaa.issuer_url || claims['rev_sig'] !== undefined)
    throw new UaaError('invalid_request', 'The id_token_hint is no ID token of this server');
  return { client_ids: [claims['aud']].flat().map(String), user_id: claims['sub'] };
}

/** Only to where the client named is at home, for the same reason as with codes. */
async function onwardOf(uaa: Uaa, client_id: string | undefined, asked: Parameters): Promise<string | undefined> {
  const target = asked['redirect'] ?? asked['post_logout_redirect_uri'];
  const client = client_id === undefined || target === undefined ? undefined : await uaa.clients.find(client_id);
  const isAllowed = client?.redirect_uri.some((uri) => isRedirectTo(uri, target ?? '', client.has_redirect_wildcards));
  if (isAllowed !== true || target === undefined) return undefined;
  const state = asked['state'];
  if (state === undefined) return target;
  const url = new URL(target);
  url.searchParams.set('state', state);
  return url.href;
}
