import { createReadStream } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type SignIn, SignInFailed } from '../dashboard/sign-in.ts';
import { OneAtATime } from '../osb/one-at-a-time.ts';
import { shortOf } from '../short-name.ts';
import type { Accounts } from './accounts.ts';
import { BACK_PATH } from './back-path.ts';
import { isMessageId, type Mailbox } from './mailbox.ts';
import { boxPage, MAIL_POLICY, messagePage, notePage, PAGE_POLICY } from './pages.ts';

export interface PageOptions {
  accounts: Accounts;
  mailboxOf: (box: string) => Mailbox;
  signIn: SignIn;
  log: Log;
}

const BoxPath = z.object({ box: z.string() });
const MessagePath = BoxPath.extend({ id: z.string().refine(isMessageId) });
const SignedIn = z.object({ code: z.string().min(1), state: z.string().min(1) });

const SIGN_IN_COOKIE = 'mail_sign_in';
const SESSION_COOKIE = 'mail_session';

/** The pages by which a box is read: each asks first whether who looks may manage the instance. */
export function serveMail(server: FastifyInstance, options: PageOptions): void {
  const { accounts, mailboxOf, signIn, log } = options;
  // To take a large mail apart is work of memory: one at a time.
  const turns = new OneAtATime();
  const parse = async (box: string, id: string) => await turns.run('', async () => await mailboxOf(box).parse(id));

  server.setErrorHandler(async (error, _request, reply) => {
    if (error instanceof SignInFailed) {
      log.warn({ error: describeError(error) }, 'sign-in failed');
      return await show(reply, 502, notePage('Sign-in failed', 'Nobody could be asked who you are. Try again.'));
    }
    log.error({ error: describeError(error) }, 'request failed');
    return await show(reply, 500, notePage('That failed', 'The log of the mail catcher says why.'));
  });
  server.setNotFoundHandler(async (_request, reply) => await notThere(reply));
  server.removeAllContentTypeParsers();
  // Our forms have no fields: who may is said by the cookie, which other sites' forms do not bring.
  server.addContentTypeParser('*', { parseAs: 'string' }, (_request, _body, done) => done(null));

  server.get(BACK_PATH, async (request, reply) => {
    const given = SignedIn.safeParse(request.query).data;
    const cookie = cookieOf(request, SIGN_IN_COOKIE);
    const come = given && (await signIn.finish({ ...given, cookie }));
    if (!come)
      return await show(reply, 403, notePage('Not for you', 'This mail is for those who may manage the service.'));
    const path = `/boxes/${shortOf(come.instance_guid)}`;
    setCookie(reply, { name: SESSION_COOKIE, value: come.cookie, path, max_age_s: come.max_age_s });
    return await reply.redirect(path, 303);
  });

  server.register(async (scope) => {
    scope.addHook('preHandler', async (request, reply) => {
      const { box } = BoxPath.parse(request.params);
      const guid = accounts.readBox(box)?.guid;
      if (guid === undefined) return await notThere(reply);
      if (signIn.isSignedIn(guid, cookieOf(request, SESSION_COOKIE))) return undefined;
      if (request.method !== 'GET') return await show(reply, 403, notePage('Sign in first', 'Open the mail anew.'));
      const { location, cookie, max_age_s } = signIn.begin(guid);
      setCookie(reply, { name: SIGN_IN_COOKIE, value: cookie, path: BACK_PATH, max_age_s });
      return await reply.redirect(location, 302);
    });

    scope.get('/boxes/:box', async ({ params }, reply) => {
      const { box } = BoxPath.parse(params);
      return await show(reply, 200, boxPage(`/boxes/${box}`, await mailboxOf(box).list()));
    });
    scope.post('/boxes/:box/clear', async ({ params }, reply) => {
      const { box } = BoxPath.parse(params);
      await mailboxOf(box).clear();
      return await reply.redirect(`/boxes/${box}`, 303);
    });

    const message = '/boxes/:box/messages/:id';
    scope.get(message, async ({ params }, reply) => {
      const path = MessagePath.safeParse(params).data;
      const found = path && (await parse(path.box, path.id));
      return found ? await show(reply, 200, messagePage(`/boxes/${path.box}`, found)) : await notThere(reply);
    });
    scope.get(`${message}/html`, async ({ params }, reply) => {
      const path = MessagePath.safeParse(params).data;
      const found = path && (await parse(path.box, path.id));
      if (!found || typeof found.mail.html !== 'string') return await notThere(reply);
      reply.header('content-security-policy', MAIL_POLICY);
      return await reply.type('text/html; charset=utf-8').send(found.mail.html);
    });
    scope.get(`${message}/source`, async ({ params }, reply) => {
      const path = MessagePath.safeParse(params).data;
      if (!path || !(await mailboxOf(path.box).list()).some(({ id }) => id === path.id)) return await notThere(reply);
      // Bytes as they came: no browser is to make of them what it likes.
      return await reply.type('text/plain; charset=utf-8').send(createReadStream(mailboxOf(path.box).fileOf(path.id)));
    });
    scope.get(`${message}/attachments/:index`, async ({ params }, reply) => {
      const path = MessagePath.extend({ index: z.coerce.number().int() }).safeParse(params).data;
      const found = path && (await parse(path.box, path.id));
      const attachment = found?.mail.attachments[path?.index ?? -1];
      if (!attachment) return await notThere(reply);
      const name = encodeURIComponent(attachment.filename ?? `part-${(path?.index ?? 0) + 1}`);
      reply.header('content-disposition', `attachment; filename*=UTF-8''${name}`);
      return await reply.type('application/octet-stream').send(attachment.content);
    });
    scope.post(`${message}/delete`, async ({ params }, reply) => {
      const path = MessagePath.safeParse(params).data;
      if (!path) return await notThere(reply);
      await mailboxOf(path.box).remove(path.id);
      return await reply.redirect(`/boxes/${path.box}`, 303);
    });
  });
}

async function show(reply: FastifyReply, status: number, page: string): Promise<FastifyReply> {
  reply.header('content-security-policy', PAGE_POLICY).header('cache-control', 'no-store');
  return await reply.code(status).type('text/html; charset=utf-8').send(page);
}

const notThere = async (reply: FastifyReply): Promise<FastifyReply> =>
  await show(reply, 404, notePage('Not there', 'There is no such mail, or not any more.'));

function setCookie(
  reply: FastifyReply,
  { name, value, path, max_age_s }: { name: string; value: string; path: string; max_age_s: number },
): void {
  reply.header('set-cookie', `${name}=${value}; Path=${path}; Max-Age=${max_age_s}; HttpOnly; SameSite=Lax`);
}

function cookieOf({ headers }: FastifyRequest, name: string): string | undefined {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}
