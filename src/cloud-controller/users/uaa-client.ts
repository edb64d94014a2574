import { request } from 'undici';
import { z } from 'zod';
import { basicAuthHeader } from '#http/basic-auth.ts';
import type { Clock } from '#kernel/clock.ts';

export interface UaaClientOptions {
  /** The UAA as this component reaches it. */
  url: string;
  client: { id: string; secret: string };
  timeout_ms: number;
  clock: Clock;
}

const Token = z.object({ access_token: z.string(), expires_in: z.number() });

/** Asks the UAA with a client of our own, whose token is kept while it is good. */
export class UaaClient {
  readonly #options: UaaClientOptions;
  #token: { text: string; until_ms: number } | undefined;

  constructor(options: UaaClientOptions) {
    this.#options = options;
  }

  /** The answer's status and JSON. Errors: Error when the UAA is away or refuses us. */
  async ask(path: string, json?: unknown): Promise<{ status: number; body: unknown }> {
    const { url, timeout_ms } = this.#options;
    const response = await request(url + path, {
      method: json === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `bearer ${await this.#bearer()}`,
        accept: 'application/json',
        ...(json !== undefined && { 'content-type': 'application/json' }),
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
      headersTimeout: timeout_ms,
      bodyTimeout: timeout_ms,
    });
    if (response.statusCode === 401) this.#token = undefined;
    const text = await response.body.text();
    const isJson = String(response.headers['content-type']).includes('json');
    return { status: response.statusCode, body: isJson ? JSON.parse(text) : text.slice(0, 200) };
  }

  async #bearer(): Promise<string> {
    const now = this.#options.clock.now();
    if (this.#token && this.#token.until_ms > now) return this.#token.text;
    const { client, url, timeout_ms } = this.#options;
    const response = await request(`${url}/oauth/token`, {
      method: 'POST',
      headers: {
        authorization: basicAuthHeader({ user: client.id, password: client.secret }),
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
      },
      body: 'grant_type=client_credentials',
      headersTimeout: timeout_ms,
      bodyTimeout: timeout_ms,
    });
    if (response.statusCode !== 200) {
      throw new Error(
        `the UAA refused our client: ${response.statusCode} ${(await response.body.text()).slice(0, 200)}`,
      );
    }
    const token = Token.parse(await response.body.json());
    this.#token = { text: token.access_token, until_ms: now + Math.max(0, token.expires_in - 60) * 1000 };
    return token.access_token;
  }
}
