import type { FastifyInstance, FastifyReply } from 'fastify';
import { redirectOf } from '../authorize/request.ts';
import { formOf, queryOf, readParameters } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import type { Uaa } from '../uaa.ts';
import { formTargetOf, wantsHtml, type Visit } from './browser.ts';
import { loginInfo } from './info.ts';
import { onwardOf } from './onward.ts';
import { accountPage, passcodePage, signInPage, type Notice } from './pages.ts';
import { styleSheet } from './style.ts';

const PASSCODE_S = 300;

export function loginEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { browser } = uaa;

  server.get('/info', async () => loginInfo(uaa));

  server.get('/login', async (request, reply) => {
    if (!wantsHtml(request)) return loginInfo(uaa);
    const query = queryOf(request);
    const visit = await browser.visit(request, reply, query['lang']);
    const onward = onwardOf(query['continue']);
    if (visit.session && onward === '' && query['signed_out'] === undefined) return await redirect(reply, '/');
    const notice: Notice =
      query['signed_out'] === undefined ? undefined : { kind: 'good', text: visit.context.texts.signed_out };
    return await showSignIn(uaa, reply, visit, { onward, username: '', notice });
  });

  server.post('/login.do', async (request, reply) => {
    const form = formOf(request);
    const visit = await browser.visit(request, reply, undefined);
    const { texts } = visit.context;
    const username = (form['username'] ?? '').slice(0, 255);
    const onward = onwardOf(form['continue']);
    const again = async (text: string, status: number): Promise<FastifyReply> =>
      await showSignIn(uaa, reply, visit, { onward, username, notice: { kind: 'bad', text } }, status);
    if (!visit.isOwnForm(form['csrf'])) return await again(texts.stale, 403);
    try {
      const proof = { username, password: form['password'] ?? '', remote_address: request.ip };
      const user = await uaa.authenticator.authenticate(proof);
      await browser.signIn(reply, user.id, visit.session);
    } catch (error) {
      if (!(error instanceof UaaError) || error.code !== 'unauthorized') throw error;
      return await again(error.message === 'Bad credentials' ? texts.bad_credentials : texts.locked, 401);
    }
    return await redirect(reply, onward === '' ? '/' : onward);
  });

  server.get('/', async (request, reply) => {
    const visit = await browser.visit(request, reply, queryOf(request)['lang']);
    if (!visit.session) return await redirect(reply, '/login');
    const { user } = visit.session;
    const { texts } = visit.context;
    const notice: Notice =
      queryOf(request)['password_changed'] === undefined ? undefined : { kind: 'good', text: texts.password_changed };
    return await browser.show(
      reply,
      accountPage(visit.context, { user, approvals: await approvalsOf(uaa, user.id), notice }),
    );
  });

  server.post('/account/approvals', async (request, reply) => {
    const form = formOf(request);
    const visit = await browser.visit(request, reply, undefined);
    if (visit.session && visit.isOwnForm(form['csrf'])) {
      const user_id = visit.session.user.id;
      await uaa.approvals.delete(user_id, form['client_id'] ?? '');
      uaa.audit.record({
        event: 'approvals_changed',
        user_id,
        client_id: form['client_id'],
        remote_address: request.ip,
      });
    }
    return await redirect(reply, '/');
  });

  server.get('/passcode', async (request, reply) => {
    const visit = await browser.visit(request, reply, queryOf(request)['lang']);
    if (!visit.session)
      return await redirect(reply, `/login?${new URLSearchParams({ continue: '/passcode' }).toString()}`);
    const passcode = await uaa.tokens.addOneTimeCode({
      purpose: 'passcode',
      user_id: visit.session.user.id,
      data: {},
      expires_at: new Date(uaa.clock.now() + PASSCODE_S * 1000),
    });
    return await browser.show(reply, passcodePage(visit.context, passcode));
  });

  const sheet = styleSheet(uaa.config.branding.colour);
  server.get(
    '/login/style.css',
    async (_request, reply) =>
      await reply.header('Content-Type', 'text/css; charset=utf-8').header('Cache-Control', 'max-age=300').send(sheet),
  );
}

async function showSignIn(
  uaa: Uaa,
  reply: FastifyReply,
  visit: Visit,
  page: { onward: string; username: string; notice: Notice },
  status = 200,
): Promise<FastifyReply> {
  const asking = await clientOf(uaa, page.onward);
  const query = page.onward === '' ? '' : `?${new URLSearchParams({ continue: page.onward }).toString()}`;
  const providers = [
    ...uaa.peers.map(({ label, origin }) => ({ label, path: `/login/oidc/${origin}${query}` })),
    ...uaa.samlPeers.map(({ label, origin }) => ({ label, path: `/login/saml/${origin}${query}` })),
  ];
  const shown = signInPage(visit.context, { ...page, client_name: asking?.name, providers });
  return await uaa.browser.show(reply, shown, { status, formTargets: asking?.formTargets ?? [] });
}

/** Who waits behind the sign-in, and where the browser will be sent then. */
async function clientOf(uaa: Uaa, onward: string): Promise<{ name: string; formTargets: string[] } | undefined> {
  if (!onward.startsWith('/oauth/authorize?')) return undefined;
  try {
    const parameters = readParameters(onward.slice('/oauth/authorize?'.length));
    const client = await uaa.clients.find(parameters['client_id'] ?? '');
    if (!client) return undefined;
    return {
      name: client.name ?? client.client_id,
      formTargets: formTargetOf(redirectOf(client, parameters['redirect_uri'])),
    };
  } catch (error) {
    // The authorization itself will say what is wrong with it.
    if (error instanceof UaaError) return undefined;
    throw error;
  }
}

async function approvalsOf(
  uaa: Uaa,
  user_id: string,
): Promise<{ client_id: string; client_name: string; scopes: string[] }[]> {
  const approvals = await uaa.approvals.list(user_id, new Date(uaa.clock.now()));
  const byClient = Map.groupBy(
    approvals.filter((approval) => approval.status === 'APPROVED'),
    (approval) => approval.client_id,
  );
  return await Promise.all(
    [...byClient].map(async ([client_id, list]) => ({
      client_id,
      client_name: (await uaa.clients.find(client_id))?.name ?? client_id,
      scopes: list.map((approval) => approval.scope),
    })),
  );
}
