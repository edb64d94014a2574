import { request } from 'undici';
import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import type { Clock } from '#kernel/clock.ts';

export interface UaaUser {
  guid: string;
  username: string;
  origin: string;
}

export interface UserDirectoryOptions {
  /** The UAA as this component reaches it. */
  url: string;
  client: { id: string; secret: string };
  timeout_ms: number;
  clock: Clock;
}

/** What a UAA's list gives at most, unless asked for more; and a filter that still fits into a URL. */
const BATCH = 100;

const Token = z.object({ access_token: z.string(), expires_in: z.number() });
const Found = z.object({
  resources: z.array(z.object({ id: z.string(), userName: z.string(), origin: z.string().default('uaa') })),
});

/**
 * Looks users up in the UAA, with a client of our own. Source: UAA's `GET /ids/Users`.
 * Errors: 503 CF-UaaUnavailable when the UAA is away or refuses us.
 */
export class UserDirectory {
  readonly #options: UserDirectoryOptions;
  #token: { text: string; until_ms: number } | undefined;

  constructor(options: UserDirectoryOptions) {
    this.#options = options;
  }

  /** All users of that name, of each origin or of one. Names are compared without case, as the UAA does. */
  async byUsername(username: string, origin?: string): Promise<UaaUser[]> {
    const filter = `username eq ${quote(username)}${origin === undefined ? '' : ` and origin eq ${quote(origin)}`}`;
    return await this.#find(filter);
  }

  async byGuids(guids: readonly string[]): Promise<UaaUser[]> {
    const found: UaaUser[] = [];
    for (let first = 0; first < guids.length; first += BATCH) {
      const batch = guids.slice(first, first + BATCH);
      found.push(...(await this.#find(batch.map((guid) => `id eq ${quote(guid)}`).join(' or '))));
    }
    return found;
  }

  async #find(filter: string): Promise<UaaUser[]> {
    const query = new URLSearchParams({ filter, includeInactive: 'true', count: String(BATCH) });
    const answer = await this.#get(`/ids/Users?${query.toString()}`);
    const found = Found.safeParse(answer);
    if (!found.success) throw unavailable(found.error);
    return found.data.resources.map(({ id, userName, origin }) => ({ guid: id, username: userName, origin }));
  }

  async #get(path: string): Promise<unknown> {
    try {
      const response = await request(this.#options.url + path, {
        headers: { authorization: `bearer ${await this.#bearer()}`, accept: 'application/json' },
        headersTimeout: this.#options.timeout_ms,
        bodyTimeout: this.#options.timeout_ms,
      });
      if (response.statusCode === 200) return await response.body.json();
      if (response.statusCode === 401) this.#token = undefined;
      throw new Error(`the UAA answered ${response.statusCode}: ${(await response.body.text()).slice(0, 200)}`);
    } catch (error) {
      throw error instanceof CfError ? error : unavailable(error);
    }
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

/** A SCIM string: JSON's quoting. */
function quote(text: string): string {
  return JSON.stringify(text);
}

function unavailable(cause: unknown): CfError {
  return new CfError('UaaUnavailable', 'The UAA service is currently unavailable', { cause });
}
