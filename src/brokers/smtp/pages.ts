import type { ParsedMail } from 'mailparser';
import { html, Html } from '#http/html.ts';
import type { Summary } from './mailbox.ts';

/** Of all pages of ours; the mail itself is in a frame without rights. */
export const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/** Of a mail's own HTML: no script, nothing fetched from elsewhere, no origin. */
export const MAIL_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.45rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
iframe{width:100%;height:60vh;border:1px solid #8884;background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #8884;padding:1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}button{font:inherit}`;

function page(title: string, body: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html> `.text;
}

const kilobytes = (bytes: number): string => `${Math.max(1, Math.round(bytes / 1024))} KB`;

export function boxPage(path: string, mails: readonly Summary[]): string {
  const rows = mails.map(
    ({ id, received_at, from, to, subject, bytes }) =>
      html`<tr>
        <td><a href="${path}/messages/${id}">${subject === '' ? '(no subject)' : subject}</a></td>
        <td>${from}</td>
        <td>${to.join(', ')}</td>
        <td>${received_at.replace('T', ' ').slice(0, 19)}</td>
        <td>${kilobytes(bytes)}</td>
      </tr>`,
  );
  const table = html`<table>
      <thead>
        <tr>
          <th>subject</th>
          <th>from</th>
          <th>to</th>
          <th>received (UTC)</th>
          <th>size</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
    <form method="post" action="${path}/clear">
      <p><button>Delete all</button></p>
    </form>`;
  return page(
    'Mail',
    html`<h1>Mail</h1>
      ${mails.length === 0 ? html`<p>Nothing has come yet. Reload to look again.</p>` : table}`,
  );
}

export function messagePage(path: string, { summary, mail }: { summary: Summary; mail: ParsedMail }): string {
  const here = `${path}/messages/${summary.id}`;
  const attachments = mail.attachments.map(
    ({ filename, size }, index) =>
      html`<li><a href="${here}/attachments/${index}">${filename ?? `part ${index + 1}`}</a> ${kilobytes(size)}</li>`,
  );
  return page(
    summary.subject,
    html`<p><a href="${path}">All mail</a></p>
      <h1>${summary.subject === '' ? '(no subject)' : summary.subject}</h1>
      <dl>
        <dt>from</dt>
        <dd>${mail.from?.text ?? summary.from}</dd>
        <dt>sent to</dt>
        <dd>${summary.to.join(', ')}</dd>
        <dt>received</dt>
        <dd>${summary.received_at}</dd>
      </dl>
      ${typeof mail.html === 'string' && html`<iframe sandbox title="the mail" src="${here}/html"></iframe>`}
      ${mail.text !== undefined && html`<pre>${mail.text}</pre>`}
      ${
        attachments.length > 0 &&
        html`<h2>Attachments</h2>
          <ul>
            ${attachments}
          </ul>`
      }
      <p><a href="${here}/source">Source</a></p>
      <form method="post" action="${here}/delete">
        <p><button>Delete</button></p>
      </form>`,
  );
}

export function notePage(title: string, text: string): string {
  return page(
    title,
    html`<h1>${title}</h1>
      <p>${text}</p>`,
  );
}
