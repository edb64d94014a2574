import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { describeError } from '#kernel/errors.ts';
import { formOf, queryOf } from '../edge/form.ts';
import { redirect } from '../edge/redirect.ts';
import { UaaError } from '../errors.ts';
import { passwordFault } from '../passwords/policy.ts';
import { verifyPassword } from '../passwords/hash.ts';
import type { User } from '../tables.ts';
import type { Uaa } from '../uaa.ts';
import type { PageContext } from './pages.ts';
import { forgotPage, newPasswordPage } from './pages.ts';

const RESET_S = 1_800;

/** The pages to change a password, and to get a new one by mail. */
export function passwordEndpoints(server: FastifyInstance, uaa: Uaa): void {
  const { browser } = uaa;

  server.get('/change_password', async (request, reply) => {
    const visit = await browser.visit(request, reply, queryOf(request)['lang']);
    if (visit.session?.user.origin !== 'uaa') return await redirect(reply, '/');
    return await browser.show(reply, newPasswordPage(visit.context, { code: undefined, notice: undefined }));
  });

  server.post('/change_password', async (request, reply) => {
    const form = formOf(request);
    const visit = await browser.visit(request, reply, undefined);
    const { session, context } = visit;
    // Other providers keep their people's passwords themselves.
    if (session?.user.origin !== 'uaa') return await redirect(reply, '/');
    const again = async (text: string, status: number): Promise<FastifyReply> =>
      await browser.show(reply, newPasswordPage(context, { code: undefined, notice: { kind: 'bad', text } }), {
        status,
      });
    if (!visit.isOwnForm(form['csrf'])) return await again(context.texts.stale, 403);
    try {
      const proof = {
        username: session.user.user_name,
        password: form['old_password'] ?? '',
        origin: session.user.origin,
      };
      await uaa.authenticator.authenticate({ ...proof, remote_address: request.ip });
    } catch (error) {
      if (!(error instanceof UaaError) || error.code !== 'unauthorized') throw error;
      return await again(
        error.message === 'Bad credentials' ? context.texts.old_password_wrong : context.texts.locked,
        401,
      );
    }
    const fault = await faultOf(uaa, context, session.user, form);
    if (fault !== undefined) return await again(fault, 422);
    await setPassword(uaa, request, session.user, form['new_password'] ?? '');
    await browser.signIn(reply, session.user.id, session);
    return await redirect(reply, '/?password_changed');
  });

  server.get('/forgot_password', async (request, reply) => {
    const visit = await browser.visit(request, reply, queryOf(request)['lang']);
    return await browser.show(reply, forgotPage(visit.context, { maySend: uaa.mail !== undefined, notice: undefined }));
  });

  server.post('/forgot_password', async (request, reply) => {
    const form = formOf(request);
    const visit = await browser.visit(request, reply, undefined);
    const { texts } = visit.context;
    const maySend = uaa.mail !== undefined;
    if (!visit.isOwnForm(form['csrf'])) {
      const notice = { kind: 'bad' as const, text: texts.stale };
      return await browser.show(reply, forgotPage(visit.context, { maySend, notice }), { status: 403 });
    }
    // Not awaited: the answer takes as long whether there is such an account or not.
    void sendReset(uaa, visit.context, form['username'] ?? '', request.ip);
    const notice = maySend ? { kind: 'good' as const, text: texts.forgot_sent } : undefined;
    return await browser.show(reply, forgotPage(visit.context, { maySend, notice }));
  });

  server.get('/reset_password', async (request, reply) => {
    const visit = await browser.visit(request, reply, queryOf(request)['lang']);
    const code = queryOf(request)['code'] ?? '';
    return await browser.show(reply, newPasswordPage(visit.context, { code, notice: undefined }));
  });

  server.post('/reset_password', async (request, reply) => {
    const form = formOf(request);
    const visit = await browser.visit(request, reply, undefined);
    const { context } = visit;
    let code = form['code'] ?? '';
    const again = async (text: string, status: number): Promise<FastifyReply> =>
      await browser.show(reply, newPasswordPage(context, { code, notice: { kind: 'bad', text } }), { status });
    if (!visit.isOwnForm(form['csrf'])) return await again(context.texts.stale, 403);
    const taken = await uaa.tokens.takeOneTimeCode('password_reset', code, new Date(uaa.clock.now()));
    const user = taken?.user_id == null ? undefined : await uaa.users.find(taken.user_id);
    // The link is worth nothing once the password was changed in another way.
    if (!taken || !user?.active || taken.data['token_salt'] !== user.token_salt)
      return await again(context.texts.reset_stale, 422);
    const fault = await faultOf(uaa, context, user, form);
    if (fault !== undefined) {
      code = await resetCode(uaa, user);
      return await again(fault, 422);
    }
    await setPassword(uaa, request, user, form['new_password'] ?? '');
    await browser.signIn(reply, user.id, visit.session);
    return await redirect(reply, '/?password_changed');
  });
}

async function faultOf(
  uaa: Uaa,
  { texts }: PageContext,
  user: User,
  form: Readonly<Record<string, string>>,
): Promise<string | undefined> {
  const password = form['new_password'] ?? '';
  if (password !== form['new_password_again']) return texts.not_same;
  const fault = passwordFault(password, uaa.password_policy);
  if (fault !== undefined) return fault;
  return (await verifyPassword(password, user.password_hash)) ? texts.same_as_old : undefined;
}

async function setPassword(uaa: Uaa, request: FastifyRequest, user: User, password: string): Promise<void> {
  await uaa.authenticator.setPassword(user, password, { remote_address: request.ip });
  await uaa.revocations.tellUser(user.id);
}

async function resetCode(uaa: Uaa, user: User): Promise<string> {
  return await uaa.tokens.addOneTimeCode({
    purpose: 'password_reset',
    user_id: user.id,
    data: { token_salt: user.token_salt },
    expires_at: new Date(uaa.clock.now() + RESET_S * 1000),
  });
}

async function sendReset(uaa: Uaa, { texts }: PageContext, name: string, remote_address: string): Promise<void> {
  if (!uaa.mail || name === '' || name.length > 255) return;
  try {
    const byName = await uaa.users.findByName(name, 'uaa');
    const users = byName.length > 0 ? byName : await uaa.users.findByEmail(name, 'uaa');
    for (const user of users.filter((candidate) => candidate.active)) {
      const link = `${uaa.urls.login}/reset_password?code=${await resetCode(uaa, user)}`;
      const text = `${texts.reset_mail_text}\n\n${link}\n\n${texts.reset_mail_ignore}\n`;
      await uaa.mail.send({ to: user.email, subject: texts.reset_mail_subject, text });
      uaa.audit.record({ event: 'password_reset_requested', user_id: user.id, origin: user.origin, remote_address });
    }
  } catch (error) {
    uaa.log.error({ error: describeError(error) }, 'mail for a new password not sent');
  }
}
