import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { request } from 'undici';
import { z } from 'zod';
import { AppError, describeError } from '#kernel/errors.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import type { Clock } from '#kernel/clock.ts';

/** Where people sign in, and who we are there: the catalog's `dashboard_client`. */
export const SignInConfig = z.strictObject({
  authorize_url: z.string().describe("UAA's, as browsers reach it"),
  token_url: z.string().describe("UAA's, as this machine reaches it"),
  api_url: z.string().describe("the cloud controller's, as this machine reaches it"),
  client_id: z.string(),
  client_secret: z.string().min(16),
});
export type SignInConfig = z.infer<typeof SignInConfig>;

/** UAA or the cloud controller did not answer as they should. */
export class SignInFailed extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('sign_in_failed', message, options);
  }
}

const SCOPES = ['openid', 'cloud_controller_service_permissions.read'];
/** Whoever lost their role is out after this; whoever has it is let in again without being asked. */
const SESSION_S = 900;
const SIGN_IN_S = 600;
const ASK_TIMEOUT_MS = 10_000;

const Token = z.object({ access_token: z.string() });
const Permissions = z.object({ manage: z.boolean(), read: z.boolean() });

/**
 * Lets into a dashboard who may manage the instance, as the Open Service Broker API and Cloud Foundry's "Dashboard Single Sign-On"
 * say: an authorization code of UAA's, and with its token the question to the cloud controller. Nothing is kept here: cookies are
 * signed with a key made of the client's secret.
 */
export class SignIn {
  readonly #config: SignInConfig;
  readonly #clock: Clock;
  /** Where UAA sends people back to. */
  readonly #redirect_uri: string;

  constructor(options: { config: SignInConfig; redirect_uri: string; clock: Clock }) {
    this.#config = options.config;
    this.#redirect_uri = options.redirect_uri;
    this.#clock = options.clock;
  }

  /** Where a browser goes to sign in for an instance, and the cookie by which it is known when it comes back. */
  begin(instance_guid: string): { location: string; cookie: string; max_age_s: number } {
    const nonce = randomBytes(16).toString('base64url');
    const location = new URL(this.#config.authorize_url);
    const { client_id } = this.#config;
    const query = { response_type: 'code', client_id, redirect_uri: this.#redirect_uri, scope: SCOPES.join(' ') };
    for (const [name, value] of Object.entries(query)) location.searchParams.set(name, value);
    location.searchParams.set('state', this.#sign('sign-in', [instance_guid, nonce], SIGN_IN_S));
    return { location: location.href, cookie: nonce, max_age_s: SIGN_IN_S };
  }

  /**
   * The instance that somebody who comes back may see, and their cookie for it; undefined for one who did not begin here, or may not.
   * Errors: SignInFailed.
   */
  async finish(given: {
    code: string;
    state: string;
    cookie: string | undefined;
  }): Promise<{ instance_guid: string; cookie: string; max_age_s: number } | undefined> {
    const [instance_guid, nonce] = this.#read('sign-in', given.state) ?? [];
    if (instance_guid === undefined || nonce === undefined || nonce !== given.cookie) return undefined;
    const token = await this.#exchange(given.code);
    if (!(await this.#mayManage(instance_guid, token))) return undefined;
    return { instance_guid, cookie: this.#sign('session', [instance_guid], SESSION_S), max_age_s: SESSION_S };
  }

  /** Whether the cookie was given for this instance. */
  isSignedIn(instance_guid: string, cookie: string | undefined): boolean {
    return cookie !== undefined && this.#read('session', cookie)?.[0] === instance_guid;
  }

  async #exchange(code: string): Promise<string> {
    const { token_url, client_id, client_secret } = this.#config;
    const form = new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: this.#redirect_uri });
    const answer = await ask(token_url, {
      method: 'POST',
      headers: {
        authorization: basicAuthHeader({ user: client_id, password: client_secret }),
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
      },
      body: form.toString(),
    });
    if (answer.status !== 200) throw new SignInFailed(`UAA answered ${answer.status} to the code`);
    return parse(Token, answer.text).access_token;
  }

  async #mayManage(instance_guid: string, token: string): Promise<boolean> {
    const path = `/v3/service_instances/${encodeURIComponent(instance_guid)}/permissions`;
    const answer = await ask(`${this.#config.api_url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    if (answer.status === 404 || answer.status === 403) return false;
    if (answer.status !== 200) throw new SignInFailed(`the cloud controller answered ${answer.status}`);
    return parse(Permissions, answer.text).manage;
  }

  #sign(purpose: string, parts: readonly string[], valid_s: number): string {
    const until = Math.floor(this.#clock.now() / 1000) + valid_s;
    const text = Buffer.from(JSON.stringify([purpose, until, ...parts])).toString('base64url');
    return `${text}.${this.#mac(text)}`;
  }

  #read(purpose: string, signed: string): string[] | undefined {
    const [text = '', mac = ''] = signed.split('.');
    const [given, expected] = [Buffer.from(mac), Buffer.from(this.#mac(text))];
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    const [kind, until, ...parts] = JSON.parse(Buffer.from(text, 'base64url').toString()) as [
      string,
      number,
      ...string[],
    ];
    return kind === purpose && until * 1000 > this.#clock.now() ? parts : undefined;
  }

  #mac(text: string): string {
    return createHmac('sha256', `cookies ${this.#config.client_secret}`).update(text).digest('base64url');
  }
}

async function ask(
  url: string,
  options: { method?: 'GET' | 'POST'; headers: Record<string, string>; body?: string },
): Promise<{ status: number; text: string }> {
  try {
    const { statusCode, body } = await request(url, { ...options, signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    return { status: statusCode, text: await body.text() };
  } catch (error) {
    throw new SignInFailed(`${new URL(url).host} does not answer: ${describeError(error)}`, { cause: error });
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new SignInFailed('an answer is not as it should be', { cause: error });
  }
}
