import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import { UaaClient, type UaaClientOptions } from './uaa-client.ts';

export interface UaaUser {
  guid: string;
  username: string;
  origin: string;
}

/** What a UAA's list gives at most, unless asked for more; and a filter that still fits into a URL. */
const BATCH = 100;

const Found = z.object({
  resources: z.array(z.object({ id: z.string(), userName: z.string(), origin: z.string().default('uaa') })),
});

/**
 * Looks users up in the UAA, with a client of our own. Source: UAA's `GET /ids/Users`.
 * Errors: 503 CF-UaaUnavailable when the UAA is away or refuses us.
 */
export class UserDirectory {
  readonly #uaa: UaaClient;

  constructor(options: UaaClientOptions) {
    this.#uaa = new UaaClient(options);
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
      const { status, body } = await this.#uaa.ask(path);
      if (status === 200) return body;
      throw new Error(`the UAA answered ${status}: ${JSON.stringify(body).slice(0, 200)}`);
    } catch (error) {
      throw unavailable(error);
    }
  }
}

/** A SCIM string: JSON's quoting. */
function quote(text: string): string {
  return JSON.stringify(text);
}

function unavailable(cause: unknown): CfError {
  return new CfError('UaaUnavailable', 'The UAA service is currently unavailable', { cause });
}
