import type { Transaction } from 'kysely';
import { isUniqueViolation, type Database } from '#db/database.ts';
import type { Clock } from '#kernel/clock.ts';
import type { ClientSeed } from '../config.ts';
import { UaaError } from '../errors.ts';
import { hashPassword, verifyPassword } from '../passwords/hash.ts';
import { randomWord } from '../secrets.ts';
import { listPage, type Page, type PageQuery } from '../scim/store-page.ts';
import type { Attributes } from '../scim/attributes.ts';
import type { Client, UaaTables } from '../tables.ts';

export const CLIENT_ATTRIBUTES: Attributes = {
  client_id: { column: 'client_id', type: 'text' },
  name: { column: 'name', type: 'text' },
  created: { column: 'created_at', type: 'time' },
  lastmodified: { column: 'updated_at', type: 'time' },
};

export interface ClientProperties {
  name: string | null;
  scope: string[];
  authorities: string[];
  resource_ids: string[];
  authorized_grant_types: string[];
  redirect_uri: string[];
  autoapprove: string[];
  allowedproviders: string[] | null;
  access_token_validity: number | null;
  refresh_token_validity: number | null;
  allowpublic: boolean;
  has_redirect_wildcards: boolean;
  additional: Record<string, unknown>;
}

export type ClientChange =
  | { kind: 'add'; client_id: string; properties: ClientProperties; secret_hash: string | null }
  | { kind: 'update'; client_id: string; properties: ClientProperties }
  | { kind: 'secret'; client_id: string; secret_hash: string }
  | { kind: 'delete'; client_id: string };

/** A change made by another UAA is seen after at most this long. */
const CACHE_MS = 1_000;
const CACHE_LIMIT = 5_000;

/** Clients, with a short memory of those that were asked for: each token request asks for one. */
export class ClientStore {
  readonly #database: Database<UaaTables>;
  readonly #clock: Clock;
  readonly #cache = new Map<string, { client: Client; read_at_ms: number }>();

  constructor(database: Database<UaaTables>, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async find(client_id: string): Promise<Client | undefined> {
    const now = this.#clock.monotonic();
    const cached = this.#cache.get(client_id);
    if (cached && now - cached.read_at_ms < CACHE_MS) return cached.client;
    const client = await this.#read(client_id);
    this.#cache.delete(client_id);
    if (!client) return undefined;
    const [oldest] = this.#cache.keys();
    if (this.#cache.size >= CACHE_LIMIT && oldest !== undefined) this.#cache.delete(oldest);
    this.#cache.set(client_id, { client, read_at_ms: now });
    return client;
  }

  /**
   * Makes all changes or none; the clients as they are then, or were, in the order of the changes.
   * Errors: scim_resource_already_exists, scim_resource_not_found.
   */
  async modify(changes: readonly ClientChange[]): Promise<Client[]> {
    const changed = await this.#database.query.transaction().execute(async (transaction) => {
      const done: Client[] = [];
      for (const change of changes) done.push(await apply(transaction, change));
      return done;
    });
    for (const { client_id } of changes) this.#cache.delete(client_id);
    return changed;
  }

  /** The newest last. A client may have two at a time, so that a secret changes without a moment of refusal. */
  async setSecrets(client_id: string, secret_hashes: string[], endsTokens: boolean): Promise<void> {
    await this.#database.query
      .updateTable('clients')
      .set({ secret_hashes, updated_at: new Date(), ...(endsTokens && { token_salt: randomWord(9) }) })
      .where('client_id', '=', client_id)
      .execute();
    this.#cache.delete(client_id);
  }

  /** Ends all tokens of the client. Errors: scim_resource_not_found. */
  async renewSalt(client_id: string): Promise<void> {
    const result = await this.#database.query
      .updateTable('clients')
      .set({ token_salt: randomWord(9) })
      .where('client_id', '=', client_id)
      .executeTakeFirst();
    this.#cache.delete(client_id);
    if (result.numUpdatedRows === 0n) throw clientNotFound(client_id);
  }

  /** Seconds that the longest-lived access token of any client can live, `otherwise` being that of clients that say nothing. */
  async longestValidity(otherwise: number): Promise<number> {
    const { query } = this.#database;
    const { longest } = await query
      .selectFrom('clients')
      .select((e) => e.fn.max('access_token_validity').as('longest'))
      .executeTakeFirstOrThrow();
    return Math.max(otherwise, longest ?? 0);
  }

  async list(page: PageQuery): Promise<Page<Client>> {
    return await listPage<Client>(this.#database, { table: 'clients', attributes: CLIENT_ATTRIBUTES, ...page });
  }

  /** Makes or changes a client to be as the configuration has it; a secret that still fits is left alone. */
  async seed(client_id: string, seed: ClientSeed): Promise<void> {
    const kept = await this.#read(client_id);
    const { secret, access_token_validity, refresh_token_validity, ...rest } = seed;
    const properties: ClientProperties = {
      ...rest,
      resource_ids: [],
      allowedproviders: null,
      access_token_validity: access_token_validity ?? null,
      refresh_token_validity: refresh_token_validity ?? null,
      additional: {},
    };
    if (!kept) {
      const secret_hash = secret === null ? null : await hashPassword(secret);
      await this.modify([{ kind: 'add', client_id, properties, secret_hash }]).catch((error: unknown) => {
        // Another UAA that starts at the same time was first.
        if (!(error instanceof UaaError)) throw error;
      });
      return;
    }
    await this.modify([{ kind: 'update', client_id, properties }]);
    if (secret === null) return;
    for (const hash of kept.secret_hashes) if (await verifyPassword(secret, hash)) return;
    await this.setSecrets(client_id, [await hashPassword(secret)], true);
  }

  async #read(client_id: string): Promise<Client | undefined> {
    const { query } = this.#database;
    return await query.selectFrom('clients').selectAll().where('client_id', '=', client_id).executeTakeFirst();
  }
}

async function apply(transaction: Transaction<UaaTables>, change: ClientChange): Promise<Client> {
  const { client_id } = change;
  switch (change.kind) {
    case 'add':
      try {
        return await transaction
          .insertInto('clients')
          .values({
            client_id,
            ...toRow(change.properties),
            secret_hashes: change.secret_hash === null ? [] : [change.secret_hash],
            token_salt: randomWord(9),
          })
          .returningAll()
          .executeTakeFirstOrThrow();
      } catch (error) {
        if (!isUniqueViolation(error)) throw error;
        throw new UaaError('scim_resource_already_exists', `Client already exists: ${client_id}`, { cause: error });
      }
    case 'update':
    case 'secret': {
      const set =
        change.kind === 'update'
          ? toRow(change.properties)
          : { secret_hashes: [change.secret_hash], token_salt: randomWord(9) };
      const updated = await transaction
        .updateTable('clients')
        .set({ ...set, updated_at: new Date() })
        .where('client_id', '=', client_id)
        .returningAll()
        .executeTakeFirst();
      if (!updated) throw clientNotFound(client_id);
      return updated;
    }
    case 'delete': {
      const deleted = await transaction
        .deleteFrom('clients')
        .where('client_id', '=', client_id)
        .returningAll()
        .executeTakeFirst();
      if (!deleted) throw clientNotFound(client_id);
      return deleted;
    }
    default:
      return change satisfies never;
  }
}

function toRow(properties: ClientProperties): Omit<ClientProperties, 'additional'> & { additional: string } {
  return { ...properties, additional: JSON.stringify(properties.additional) };
}

export const clientNotFound = (client_id: string): UaaError =>
  new UaaError('scim_resource_not_found', `No client with requested id: ${client_id}`);
