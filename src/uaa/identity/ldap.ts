import { Client, EqualityFilter, InvalidCredentialsError, type Entry } from 'ldapts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { PasswordProvider } from '../sign-in/authenticator.ts';
import type { User } from '../tables.ts';
import type { LdapProvider } from './config.ts';
import type { ShadowUsers } from './shadow-users.ts';

/** A directory that proves passwords by a bind. Source: RFC 4511, 4513. */
export class LdapDirectory implements PasswordProvider {
  readonly origin: string;
  readonly #config: LdapProvider;
  readonly #shadows: ShadowUsers;
  readonly #log: Log;

  constructor(origin: string, options: { config: LdapProvider; shadows: ShadowUsers; log: Log }) {
    this.origin = origin;
    this.#config = options.config;
    this.#shadows = options.shadows;
    this.#log = options.log;
  }

  /** A directory that cannot be reached knows nobody: the sign-in fails as any other, and the log says why. */
  async authenticate(username: string, password: string): Promise<User | undefined> {
    // A bind with a name and no password succeeds as nobody in particular (RFC 4513 section 5.1.2).
    if (password === '' || username === '') return undefined;
    try {
      const entry = await this.#search(username);
      if (!entry || !(await this.#isPassword(entry.dn, password))) return undefined;
      const config = this.#config;
      const user_name = textOf(entry, config.user_name_attribute) ?? username;
      const person = {
        origin: this.origin,
        external_id: entry.dn,
        user_name,
        email: textOf(entry, config.email_attribute) ?? user_name,
        given_name: textOf(entry, config.given_name_attribute) ?? null,
        family_name: textOf(entry, config.family_name_attribute) ?? null,
        groups: await this.#groupsOf(entry.dn),
      };
      return await this.#shadows.keep(person, config.groups);
    } catch (error) {
      this.#log.error({ origin: this.origin, error: describeError(error) }, 'directory not asked');
      return undefined;
    }
  }

  /** The one entry of this name. Two entries are an ambiguity that nobody may sign in by. */
  async #search(username: string): Promise<Entry | undefined> {
    const config = this.#config;
    const filter = new EqualityFilter({ attribute: config.user_name_attribute, value: username });
    const attributes = [
      config.user_name_attribute,
      config.email_attribute,
      config.given_name_attribute,
      config.family_name_attribute,
    ];
    return await this.#asSearcher(async (client) => {
      const options = { scope: 'sub', filter, attributes, sizeLimit: 2 } as const;
      const { searchEntries } = await client.search(config.user_search_base, options);
      return searchEntries.length === 1 ? searchEntries[0] : undefined;
    });
  }

  async #groupsOf(dn: string): Promise<string[]> {
    const { group_search_base, group_member_attribute, group_name_attribute } = this.#config;
    if (group_search_base === undefined) return [];
    const filter = new EqualityFilter({ attribute: group_member_attribute, value: dn });
    return await this.#asSearcher(async (client) => {
      const options = { scope: 'sub' as const, filter, attributes: [group_name_attribute] };
      const { searchEntries } = await client.search(group_search_base, options);
      return searchEntries.flatMap((entry) => textOf(entry, group_name_attribute) ?? []);
    });
  }

  async #isPassword(dn: string, password: string): Promise<boolean> {
    return await this.#connected(async (client) => {
      try {
        await client.bind(dn, password);
        return true;
      } catch (error) {
        if (error instanceof InvalidCredentialsError) return false;
        throw error;
      }
    });
  }

  async #asSearcher<T>(work: (client: Client) => Promise<T>): Promise<T> {
    return await this.#connected(async (client) => {
      await client.bind(this.#config.bind_dn, this.#config.bind_password);
      return await work(client);
    });
  }

  async #connected<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { url, timeout_ms, is_starttls, ca } = this.#config;
    const tlsOptions = ca === undefined ? {} : { ca };
    const isTls = url.startsWith('ldaps:');
    const client = new Client({
      url,
      timeout: timeout_ms,
      connectTimeout: timeout_ms,
      ...(isTls && { tlsOptions }),
    });
    try {
      if (is_starttls) await client.startTLS(tlsOptions);
      return await work(client);
    } finally {
      // The answer is known; how the directory takes the goodbye changes nothing.
      await client.unbind().catch(() => {});
    }
  }
}

function textOf(entry: Entry, attribute: string): string | undefined {
  const value = entry[attribute];
  const [first] = Array.isArray(value) ? value : [value];
  const text = first === undefined ? '' : first.toString();
  return text === '' ? undefined : text;
}
