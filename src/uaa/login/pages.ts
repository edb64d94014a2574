import type { UaaConfig } from '../config.ts';
import type { UaaError } from '../errors.ts';
import type { User } from '../tables.ts';
import { html, type Html } from '#http/html.ts';
import type { Language, Texts } from './texts.ts';

/** What every page knows. */
export interface PageContext {
  texts: Texts;
  language: Language;
  branding: UaaConfig['branding'];
  csrf: string;
  /** This page's own address, for the link to the other language. */
  path: string;
}

export type Notice = { kind: 'bad' | 'good'; text: string } | undefined;

export function layout(context: PageContext, title: string, body: Html): string {
  const { texts, language, branding, path } = context;
  const [other, otherTag] = language === 'en' ? ['zh', 'zh-CN'] : ['en', 'en'];
  const link = `${path}${path.includes('?') ? '&' : '?'}lang=${other}`;
  return html`<!doctype html>
    <html lang="${language === 'zh' ? 'zh-CN' : 'en'}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · ${branding.name}</title>
        <link rel="stylesheet" href="/login/style.css" />
      </head>
      <body>
        <header>${mark(branding)}<span>${branding.name}</span></header>
        <main>${body}</main>
        <footer>
          ${branding.footer !== '' && html`<span>${branding.footer}</span>`}<a
            href="${link}"
            lang="${otherTag ?? ''}"
            hreflang="${otherTag ?? ''}"
            >${texts.other_language}</a
          >
        </footer>
      </body>
    </html> `.text;
}

function mark(branding: UaaConfig['branding']): Html {
  if (branding.logo !== undefined) return html`<img src="${branding.logo}" alt="" />`;
  return html`<span class="mark" aria-hidden="true">${branding.name.slice(0, 1).toUpperCase()}</span>`;
}

const noticeOf = (notice: Notice): Html | undefined =>
  notice &&
  html`<p class="notice ${notice.kind}" role="${notice.kind === 'bad' ? 'alert' : 'status'}">${notice.text}</p>`;

const csrfField = (context: PageContext): Html => html`<input type="hidden" name="csrf" value="${context.csrf}" />`;

export interface SignInPage {
  username: string;
  /** The path to go on to, or an empty text. */
  onward: string;
  /** The name of the client that asks, when one does. */
  client_name: string | undefined;
  notice: Notice;
  /** Other places to sign in at: a label and the path that leads there. */
  providers: readonly { label: string; path: string }[];
}

export function signInPage(context: PageContext, page: SignInPage): string {
  const { texts } = context;
  return layout(
    context,
    texts.sign_in,
    html`<h1>${page.client_name === undefined ? texts.sign_in : `${texts.sign_in_to} ${page.client_name}`}</h1>
      ${noticeOf(page.notice)}
      <form method="post" action="/login.do">
        ${csrfField(context)}<input type="hidden" name="continue" value="${page.onward}" />
        <label for="username">${texts.username}</label>
        <input
          id="username"
          name="username"
          type="text"
          value="${page.username}"
          autocomplete="username"
          autocapitalize="none"
          spellcheck="false"
          maxlength="255"
          required${page.username === '' && html` autofocus`}
        />
        <label for="password">${texts.password}</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="current-password"
          maxlength="4096"
          required${page.username !== '' && html` autofocus`}
        />
        <button type="submit">${texts.sign_in}</button>
      </form>
      ${page.providers.length > 0 && html`<p class="quiet or">${texts.or_with}</p>`}
      ${page.providers.map((provider) => html`<a class="provider" href="${provider.path}">${provider.label}</a>`)}
      <p class="links"><a href="/forgot_password">${texts.forgot}</a></p>`,
  );
}

export interface ApprovePage {
  client_name: string;
  user_name: string;
  scopes: readonly { name: string; description: string }[];
  /** Where the decision is sent: the authorization request as it came. */
  action: string;
}

export function approvePage(context: PageContext, page: ApprovePage): string {
  const { texts } = context;
  return layout(
    context,
    texts.approve_title,
    html`<h1>${texts.approve_title}</h1>
      <p><strong>${page.client_name}</strong> ${texts.approve_text}</p>
      <form method="post" action="${page.action}">
        ${csrfField(context)}
        <ul class="list">
          ${page.scopes.map(
            (scope) =>
              html`<li>
                <label class="check"
                  ><input type="checkbox" name="scope.${scope.name}" value="true" checked /><span
                    >${scope.description === '' ? scope.name : scope.description}<small>${scope.name}</small></span
                  ></label
                >
              </li> `,
          )}
        </ul>
        <div class="row">
          <button class="plain" type="submit" name="decision" value="deny">${texts.deny}</button
          ><button type="submit" name="decision" value="allow">${texts.allow}</button>
        </div>
      </form>
      <p class="quiet">${texts.approve_as} ${page.user_name}</p>`,
  );
}

export function passcodePage(context: PageContext, passcode: string): string {
  const { texts } = context;
  return layout(
    context,
    texts.passcode_title,
    html`<h1>${texts.passcode_title}</h1>
      <p>${texts.passcode_text}</p>
      <p class="code" id="passcode">${passcode}</p>
      <p class="links"><a href="/">${texts.account}</a></p>`,
  );
}

export interface AccountPage {
  user: User;
  approvals: readonly { client_id: string; client_name: string; scopes: readonly string[] }[];
  notice: Notice;
}

export function accountPage(context: PageContext, { user, approvals, notice }: AccountPage): string {
  const { texts, language } = context;
  const name = [user.given_name, user.family_name].filter((part) => part !== null && part !== '').join(' ');
  const when = user.previous_logon_at?.toLocaleString(language === 'zh' ? 'zh-CN' : 'en-GB', {
    dateStyle: 'medium',
    timeStyle: 'short',
    timeZone: 'UTC',
  });
  const facts: [string, string | undefined][] = [
    [texts.username, user.user_name],
    [texts.name, name === '' || name === `${user.user_name} ${user.user_name}` ? undefined : name],
    [texts.email, user.email],
    [texts.last_sign_in, when === undefined ? undefined : `${when} UTC`],
  ];
  return layout(
    context,
    texts.account,
    html`<h1>${texts.account}</h1>
      ${noticeOf(notice)}
      <ul class="list">
        ${facts.map(
          ([label, value]) =>
            value !== undefined &&
            html`<li>
              <div class="quiet">${label}</div>
              <div>${value}</div>
            </li>`,
        )}
      </ul>
      <p class="links">
        ${user.origin === 'uaa' && html`<a href="/change_password">${texts.change_password}</a>`}<a href="/passcode"
          >${texts.passcode_link}</a
        >
      </p>
      <h2>${texts.approvals}</h2>
      ${approvals.length === 0 && html`<p class="quiet">${texts.approvals_none}</p>`}
      <ul class="list">
        ${approvals.map(
          (approval) =>
            html`<li>
              <div>${approval.client_name}<br /><span class="quiet">${approval.scopes.join(', ')}</span></div>
              <form method="post" action="/account/approvals">
                ${csrfField(context)}<input type="hidden" name="client_id" value="${approval.client_id}" /><button
                  class="plain small"
                  type="submit"
                >
                  ${texts.remove}
                </button>
              </form>
            </li>`,
        )}
      </ul>
      <form class="row" method="post" action="/logout.do">
        ${csrfField(context)}<button class="plain" type="submit">${texts.sign_out}</button>
      </form>`,
  );
}

/** `code` is that of a link for a forgotten password; without one the current password is asked for. */
export function newPasswordPage(context: PageContext, page: { code: string | undefined; notice: Notice }): string {
  const { texts } = context;
  const title = page.code === undefined ? texts.change_password : texts.reset_title;
  const field = (id: string, label: string, autocomplete: string): Html =>
    html`<label for="${id}">${label}</label>
      <input id="${id}" name="${id}" type="password" autocomplete="${autocomplete}" maxlength="4096" required /> `;
  return layout(
    context,
    title,
    html`<h1>${title}</h1>
      ${noticeOf(page.notice)}
      <form method="post" action="${page.code === undefined ? '/change_password' : '/reset_password'}">
        ${csrfField(context)}${page.code === undefined ? field('old_password', texts.old_password, 'current-password') : html`<input type="hidden" name="code" value="${page.code}" />`}
        ${field('new_password', texts.new_password, 'new-password')}${field('new_password_again', texts.new_password_again, 'new-password')}<button
          type="submit"
        >
          ${texts.save}
        </button>
      </form>
      ${page.code === undefined && html`<p class="links"><a href="/">${texts.account}</a></p>`}`,
  );
}

export function forgotPage(context: PageContext, page: { maySend: boolean; notice: Notice }): string {
  const { texts } = context;
  const form = html`<p>${texts.forgot_text}</p>
    <form method="post" action="/forgot_password">
      ${csrfField(context)}<label for="username">${texts.username}</label>
      <input
        id="username"
        name="username"
        type="text"
        autocomplete="username"
        autocapitalize="none"
        spellcheck="false"
        maxlength="255"
        required
        autofocus
      />
      <button type="submit">${texts.send}</button>
    </form>`;
  return layout(
    context,
    texts.forgot_title,
    html`<h1>${texts.forgot_title}</h1>
      ${noticeOf(page.notice)} ${page.maySend ? page.notice === undefined && form : html`<p>${texts.forgot_absent}</p>`}
      <p class="links"><a href="/login">${texts.back}</a></p>`,
  );
}

export function errorPage(context: PageContext, { code, message }: UaaError): string {
  const { texts } = context;
  return layout(
    context,
    texts.error_title,
    html`<h1>${texts.error_title}</h1>
      <p>${code === 'temporarily_unavailable' ? texts.error_away : texts.error_text}</p>
      <p class="notice bad" role="alert">${message}</p>
      <p class="links"><a href="/login">${texts.back}</a></p>`,
  );
}
