import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request, type Dispatcher } from 'undici';
import { systemErrorCode } from '#kernel/errors.ts';
import { ApiError, ApiUnreachable, CommandError, noApi, notLoggedIn } from './errors.ts';
import type { Session } from './session.ts';

export interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Sent as JSON. */
  json?: unknown;
  body?: string | Readable;
  headers?: Record<string, string>;
  query?: Record<string, string | number | undefined>;
}

export interface Answer<T = unknown> {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  body: T;
}

interface Page {
  pagination: { next: { href: string } | null };
  resources: unknown[];
  included?: Record<string, unknown[]>;
}

const RETRIES = 2;
const RETRIED_STATUS = new Set([500, 502, 503, 504]);
/** With less than this left a token is refreshed before it is used. */
const REFRESH_BEFORE_S = 60;

/** Names below `.localhost` are this machine by definition (RFC 6761), whatever its resolver says. */
const resolve: LookupFunction = (hostname, options, callback) => {
  if (!/(^|\.)localhost$/i.test(hostname)) return lookup(hostname, options, callback);
  return options.all === true ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4);
};

/** Speaks to the cloud controller and to UAA for one session: bearer token, silent refresh, retries, pages and jobs. */
export class CfClient {
  readonly #session: Session;
  readonly #agent: Agent;
  readonly #onWarning: (text: string) => void;

  constructor(options: { session: Session; onWarning: (text: string) => void; skip_ssl_validation?: boolean }) {
    this.#session = options.session;
    this.#onWarning = options.onWarning;
    const isInsecure = options.skip_ssl_validation ?? options.session.data.SSLDisabled;
    this.#agent = new Agent({
      connect: { lookup: resolve, timeout: 6_000, rejectUnauthorized: !isInsecure },
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  async close(): Promise<void> {
    await this.#agent.close();
  }

  /** Calls the API as the logged-in user; `path` is below the API or an absolute link. Errors: ApiError, CommandError. */
  async call<T = unknown>(path: string, call: Call = {}): Promise<Answer<T>> {
    return expectSuccess(await this.raw(path, call)) as Answer<T>;
  }

  /** As `call`, whatever the status. */
  async raw(path: string, call: Call = {}): Promise<Answer> {
    const { Target, AccessToken } = this.#session.data;
    if (Target === '') throw noApi();
    if (AccessToken === '') throw notLoggedIn();
    if (isStale(this.#session)) await this.refresh();
    const url = withQuery(path.startsWith('http') ? path : Target + path, call.query);
    let answer = await this.#sendAuthorized(url, call);
    // A body that was read while it was sent cannot be sent again.
    if (answer.status === 401 && !(call.body instanceof Readable)) {
      await this.refresh();
      answer = await this.#sendAuthorized(url, call);
    }
    this.#showWarnings(answer);
    return answer;
  }

  async get<T>(path: string, query?: Call['query']): Promise<T> {
    return (await this.call<T>(path, query ? { query } : {})).body;
  }

  /** All resources of a list, page after page, with what was included. */
  async list<T>(
    path: string,
    query: Call['query'] = {},
  ): Promise<{ resources: T[]; included: Record<string, unknown[]> }> {
    const resources: T[] = [];
    const included: Record<string, unknown[]> = {};
    let page: Page = await this.get<Page>(path, query);
    for (;;) {
      resources.push(...(page.resources as T[]));
      for (const [kind, items] of Object.entries(page.included ?? {}))
        included[kind] = [...(included[kind] ?? []), ...items];
      if (!page.pagination.next) return { resources, included };
      page = await this.get<Page>(page.pagination.next.href);
    }
  }

  /** Makes a call whose work may go on after the answer, and waits for the job it names. */
  async callAndWait(path: string, call: Call): Promise<void> {
    const answer = await this.call(path, call);
    const location = answer.headers['location'];
    if (typeof location === 'string' && location.includes('/v3/jobs/')) await this.waitForJob(location);
  }

  async waitForJob(location: string): Promise<void> {
    const { AsyncTimeout } = this.#session.data;
    const end_ms = AsyncTimeout > 0 ? performance.now() + AsyncTimeout * 60_000 : Infinity;
    for (let delay = 50; ; delay = Math.min(delay * 1.5, 1000)) {
      const job = await this.get<{
        guid: string;
        state: string;
        errors: { detail: string }[];
        warnings?: { detail: string }[];
      }>(location);
      if (job.state === 'COMPLETE' || job.state === 'FAILED') {
        for (const warning of job.warnings ?? []) this.#onWarning(warning.detail);
        if (job.state === 'COMPLETE') return;
        throw new CommandError(job.errors.map((error) => error.detail).join('\n') || `Job (${job.guid}) failed.`);
      }
      if (performance.now() > end_ms)
        throw new CommandError(`Job (${job.guid}) has not ended within ${AsyncTimeout} minute(s).`);
      await sleep(delay);
    }
  }

  /** The bytes below a path, wherever it leads. The user's token is told to the API alone. Errors: ApiError, CommandError. */
  async download(path: string): Promise<Readable> {
    if (isStale(this.#session)) await this.refresh();
    const { Target, AccessToken } = this.#session.data;
    let url = Target + path;
    for (let hops = 0; hops < 5; hops++) {
      const isOwn = new URL(url).origin === new URL(Target).origin;
      const headers = { accept: '*/*', ...(isOwn && { authorization: AccessToken }) };
      const response = await request(url, { dispatcher: this.#agent, headers });
      const { location } = response.headers;
      if (response.statusCode >= 300 && response.statusCode < 400 && typeof location === 'string') {
        await response.body.dump();
        url = new URL(location, url).href;
        continue;
      }
      if (response.statusCode >= 400) expectSuccess(await read(response));
      return response.body;
    }
    throw new CommandError(`${Target}${path} leads nowhere.`);
  }

  /** Reads a resource again and again until it is as wished; `isDone` may throw. */
  async until<T>(path: string, isDone: (now: T) => boolean): Promise<T> {
    for (let delay = 100; ; delay = Math.min(delay * 1.3, 1000)) {
      const now = await this.get<T>(path);
      if (isDone(now)) return now;
      await sleep(delay);
    }
  }

  /** A call without the user's token: the root document, UAA. */
  async open<T = unknown>(url: string, call: Call = {}): Promise<Answer<T>> {
    return expectSuccess(await this.#send(withQuery(url, call.query), call)) as Answer<T>;
  }

  /** Gets new tokens for the session by the form of one grant. Errors: ApiError with UAA's reason. */
  async authenticate(form: Record<string, string>, client: { id: string; secret: string }): Promise<void> {
    const { AuthorizationEndpoint } = this.#session.data;
    const { body } = await this.open<{ access_token: string; refresh_token?: string }>(
      `${AuthorizationEndpoint}/oauth/token`,
      {
        method: 'POST',
        body: new URLSearchParams(form).toString(),
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`,
        },
      },
    );
    this.#session.update({ AccessToken: `bearer ${body.access_token}`, RefreshToken: body.refresh_token ?? '' });
  }

  /** Errors: CommandError when the session is over. */
  async refresh(): Promise<void> {
    const { RefreshToken, UAAOAuthClient, UAAOAuthClientSecret, UAAGrantType } = this.#session.data;
    const client = { id: UAAOAuthClient, secret: UAAOAuthClientSecret };
    try {
      if (UAAGrantType === 'client_credentials') await this.authenticate({ grant_type: 'client_credentials' }, client);
      else if (RefreshToken === '') throw notLoggedIn();
      else await this.authenticate({ grant_type: 'refresh_token', refresh_token: RefreshToken }, client);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status >= 500) throw error;
      throw new CommandError(
        'The token expired, was revoked, or the token ID is incorrect. Please log back in to re-authenticate.',
        { cause: error },
      );
    }
  }

  async #sendAuthorized(url: string, call: Call): Promise<Answer> {
    return await this.#send(url, {
      ...call,
      headers: { authorization: this.#session.data.AccessToken, ...call.headers },
    });
  }

  async #send(url: string, call: Call): Promise<Answer> {
    const method = call.method ?? 'GET';
    const options: Parameters<typeof request>[1] = {
      method,
      dispatcher: this.#agent,
      headers: {
        accept: 'application/json',
        'user-agent': 'cf/8.18.0 (ingot)',
        ...(call.body === undefined && { 'content-type': 'application/json' }),
        ...call.headers,
      },
      ...(call.json !== undefined && { body: JSON.stringify(call.json) }),
      ...(call.body !== undefined && { body: call.body }),
    };
    for (let attempt = 0; ; attempt++) {
      // What was posted once may have been done; it is not for us to do it twice.
      const mayRetry = attempt < RETRIES && method !== 'POST' && !(call.body instanceof Readable);
      try {
        const answer = await read(await request(url, options));
        if (!mayRetry || !RETRIED_STATUS.has(answer.status)) return answer;
      } catch (error) {
        if (!mayRetry) throw unreachable(url, error);
      }
      await sleep(250 * (attempt + 1));
    }
  }

  #showWarnings(answer: Answer): void {
    const header = answer.headers['x-cf-warnings'];
    if (typeof header !== 'string') return;
    for (const warning of header.split(',')) this.#onWarning(decodeURIComponent(warning.replaceAll('+', ' ')).trim());
  }
}

function isStale(session: Session): boolean {
  const { exp } = session.claims;
  return exp !== undefined && session.data.RefreshToken !== '' && exp - Date.now() / 1000 < REFRESH_BEFORE_S;
}

async function read(response: Dispatcher.ResponseData<unknown>): Promise<Answer> {
  const text = await response.body.text();
  let body: unknown;
  try {
    body = text === '' ? undefined : JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: response.statusCode, headers: response.headers, text, body };
}

function withQuery(url: string, query: Call['query']): string {
  const pairs = Object.entries(query ?? {}).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return pairs.length === 0 ? url : `${url}${url.includes('?') ? '&' : '?'}${new URLSearchParams(pairs).toString()}`;
}

function expectSuccess(answer: Answer): Answer {
  if (answer.status < 400) return answer;
  const body = answer.body as
    | { errors?: { title: string; detail: string }[]; error?: string; error_description?: string }
    | undefined;
  const [first] = body?.errors ?? [];
  if (first)
    throw new ApiError({
      status: answer.status,
      title: first.title,
      details: (body?.errors ?? []).map((error) => error.detail),
    });
  if (body?.error !== undefined)
    throw new ApiError({ status: answer.status, title: body.error, details: [body.error_description ?? body.error] });
  throw new ApiError({
    status: answer.status,
    title: 'unknown',
    details: [`Unexpected answer ${answer.status}: ${answer.text.slice(0, 500).trim()}`],
  });
}

function unreachable(url: string, error: unknown): CommandError {
  const { origin } = new URL(url);
  const code = systemErrorCode(error) ?? '';
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)) {
    return new CommandError(
      `Invalid SSL Cert for ${new URL(url).host}\nTIP: Use 'cf api --skip-ssl-validation' to continue with an insecure API endpoint`,
      { cause: error },
    );
  }
  const why = error instanceof Error ? error.message || code : String(error);
  return new ApiUnreachable(
    `Request error: ${origin}: ${why}\nTIP: If you are behind a firewall and require an HTTP proxy, verify the https_proxy environment variable is correctly set. Else, check your network connection.`,
    { cause: error },
  );
}
