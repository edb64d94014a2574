import { createHmac } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isSame } from '#http/basic-auth.ts';
import type { Clock } from '#kernel/clock.ts';
import type { UaaConfig } from '../config.ts';
import { randomWord } from '../secrets.ts';
import type { Session, SessionStore } from '../sessions/store.ts';
import type { PageContext } from './pages.ts';
import { TEXTS, languageOf } from './texts.ts';

export interface BrowserDoorOptions {
  config: UaaConfig;
  clock: Clock;
  sessions: SessionStore;
  /** What form tokens are made with; the same for all UAAs. */
  secret: Buffer;
}

/** One visit of a browser: its session, its form token, and what its pages need. */
export interface Visit {
  session: Session | undefined;
  /** What this browser alone has, signed in or not. */
  anchor: string;
  context: PageContext;
  /** Whether the form that was sent is one that we gave to this browser and session. */
  isOwnForm(csrf: string | undefined): boolean;
}

/**
 * Cookies and forms. Cookies are HttpOnly and SameSite=Lax, and with https Secure under a `__Host-` name, which no other host
 * of the domain can plant. A form carries a token that is made of a cookie and the session, so it cannot be sent from elsewhere.
 */
export class BrowserDoor {
  readonly #options: BrowserDoorOptions;
  readonly #isSecure: boolean;

  constructor(options: BrowserDoorOptions) {
    this.#options = options;
    this.#isSecure = options.config.urls.login.startsWith('https:');
  }

  async visit(request: FastifyRequest, reply: FastifyReply, lang: string | undefined): Promise<Visit> {
    const { sessions, clock, secret } = this.#options;
    const cookies = readCookies(request.headers.cookie);
    const session_id = cookies.get(this.#name('session'));
    const session = session_id === undefined ? undefined : await sessions.find(session_id, clock.now());
    let anchor = cookies.get(this.#name('csrf'));
    if (anchor === undefined || !/^[\w-]{24,64}$/.test(anchor)) {
      anchor = randomWord();
      this.#setCookie(reply, 'csrf', anchor);
    }
    if (lang === 'en' || lang === 'zh') this.#setCookie(reply, 'lang', lang);
    const csrf = createHmac('sha256', secret)
      .update(`${anchor}\0${session?.id ?? ''}`)
      .digest('base64url');
    return {
      session,
      anchor,
      context: { ...this.contextOf(request, lang), csrf },
      isOwnForm: (given) => given !== undefined && isSame(given, csrf),
    };
  }

  /** What a page without a form needs: it can be shown when sessions cannot be read. */
  contextOf(request: FastifyRequest, lang: string | undefined): PageContext {
    const kept = readCookies(request.headers.cookie).get(this.#name('lang'));
    const language = languageOf(lang ?? kept, request.headers['accept-language']);
    const path = request.method === 'GET' ? withoutLang(request.url) : '/login';
    return { texts: TEXTS[language], language, branding: this.#options.config.branding, csrf: '', path };
  }

  async signIn(reply: FastifyReply, user_id: string, before: Session | undefined): Promise<void> {
    const { sessions, clock } = this.#options;
    if (before) await sessions.end(before.id);
    this.#setCookie(reply, 'session', await sessions.create(user_id, clock.now()));
  }

  async signOut(reply: FastifyReply, session: Session | undefined): Promise<void> {
    if (session) await this.#options.sessions.end(session.id);
    this.#setCookie(reply, 'session', undefined);
  }

  /** Sends a page. `formTargets` are origins that its forms may be redirected to, besides our own. */
  async show(
    reply: FastifyReply,
    page: string,
    options: { status?: number; formTargets?: readonly string[] } = {},
  ): Promise<FastifyReply> {
    const targets = ["'self'", ...(options.formTargets ?? [])].join(' ');
    return await reply
      .code(options.status ?? 200)
      .header('Content-Type', 'text/html; charset=utf-8')
      .header('Cache-Control', 'no-store')
      .header('Referrer-Policy', 'same-origin')
      .header('X-Frame-Options', 'DENY')
      .header(
        'Content-Security-Policy',
        `default-src 'none'; style-src 'self'; img-src 'self' data:; form-action ${targets}; frame-ancestors 'none'; base-uri 'none'`,
      )
      .send(page);
  }

  #name(name: string): string {
    return this.#isSecure ? `__Host-uaa_${name}` : `uaa_${name}`;
  }

  #setCookie(reply: FastifyReply, name: string, value: string | undefined): void {
    const parts = [`${this.#name(name)}=${value ?? ''}`, 'Path=/', 'HttpOnly', 'SameSite=Lax'];
    if (this.#isSecure) parts.push('Secure');
    if (value === undefined) parts.push('Max-Age=0');
    // Fastify keeps those set before.
    reply.header('Set-Cookie', parts.join('; '));
  }
}

/** Whether a person is looking, rather than a program. */
export const wantsHtml = (request: FastifyRequest): boolean => /\btext\/html\b/.test(request.headers.accept ?? '');

function readCookies(header: string | undefined): Map<string, string> {
  const cookies = new Map<string, string>();
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=');
    const name = part.slice(0, at).trim();
    // Of two with one name the first counts: it is the one with the longer path, or the older.
    if (at > 0 && !cookies.has(name)) cookies.set(name, part.slice(at + 1).trim());
  }
  return cookies;
}

const withoutLang = (url: string): string => url.replace(/([?&])lang=[^&]*&?/g, '$1').replace(/[?&]$/, '');

/** The origin that a redirect leads to, as a source for `form-action`; a scheme of its own for apps outside the browser. */
export function formTargetOf(redirect_uri: string): string[] {
  const match = /^([a-z][a-z0-9+.-]*):(\/\/[A-Za-z0-9.:[\]-]+)?/i.exec(redirect_uri);
  if (!match?.[1]) return [];
  return [match[2] === undefined || !/^https?$/i.test(match[1]) ? `${match[1]}:` : `${match[1]}:${match[2]}`];
}
