import type { Kysely, Transaction } from 'kysely';
import type { Database } from '#db/database.ts';
import type { Revocation } from '#contracts/uaa.ts';
import type { AuthorizationCodeRecord, RefreshTokenRecord, UaaTables } from '../tables.ts';
import { digestOf, easyWord, randomWord } from '../secrets.ts';

export type NewRefreshToken = Omit<RefreshTokenRecord, 'issued_at' | 'used_at'>;
export type NewCode = Omit<AuthorizationCodeRecord, 'code_hash' | 'used_at' | 'access_jti' | 'tokens_expire_at'>;

export interface NewOneTimeCode {
  purpose: 'passcode' | 'password_reset' | 'sign_in_state';
  user_id: string | null;
  data: Record<string, unknown>;
  expires_at: Date;
}

/** What became of a refresh token or a code that somebody presents. */
export type Redemption<Record> =
  | { outcome: 'fresh' | 'shared'; record: Record }
  /** `ended` is what the family still had, and is to be told. */
  | { outcome: 'reused'; record: Record; ended: Revocation[] }
  | { outcome: 'unknown' };

/** Refresh tokens, codes and revocations. */
export class TokenStore {
  readonly #database: Database<UaaTables>;

  constructor(database: Database<UaaTables>) {
    this.#database = database;
  }

  async addRefreshToken(token: NewRefreshToken): Promise<void> {
    await this.#database.query.insertInto('refresh_tokens').values(token).execute();
  }

  /**
   * Takes a refresh token. Within `grace_s` of its first use it may be used again (`shared`: two commands of one person);
   * later that means somebody stole it, or it was stolen from: its whole family ends (`reused`).
   */
  async takeRefreshToken(jti: string, at: Date, grace_s: number): Promise<Redemption<RefreshTokenRecord>> {
    return await this.#database.query.transaction().execute(async (transaction) => {
      const record = await transaction
        .selectFrom('refresh_tokens')
        .selectAll()
        .where('jti', '=', jti)
        .where('expires_at', '>', at)
        .forUpdate()
        .executeTakeFirst();
      if (!record) return { outcome: 'unknown' };
      if (record.used_at === null) {
        await transaction.updateTable('refresh_tokens').set({ used_at: at }).where('jti', '=', jti).execute();
        return { outcome: 'fresh', record };
      }
      if (record.used_at.getTime() + grace_s * 1000 >= at.getTime()) return { outcome: 'shared', record };
      return { outcome: 'reused', record, ended: await endFamily(transaction, record.family_id, at) };
    });
  }

  async findRefreshToken(jti: string): Promise<RefreshTokenRecord | undefined> {
    const { query } = this.#database;
    return await query.selectFrom('refresh_tokens').selectAll().where('jti', '=', jti).executeTakeFirst();
  }

  /** Ends all tokens that come from one sign-in; the access tokens among them that somebody could still use. */
  async endFamily(family_id: string, at: Date): Promise<Revocation[]> {
    const { query } = this.#database;
    return await query.transaction().execute(async (transaction) => await endFamily(transaction, family_id, at));
  }

  /** The code in clear, which is kept nowhere. */
  async addCode(code: NewCode): Promise<string> {
    const word = randomWord();
    await this.#database.query
      .insertInto('authorization_codes')
      .values({ ...code, code_hash: digestOf(word) })
      .execute();
    return word;
  }

  /**
   * Takes a code, which works once, for the tokens of which `access_jti` will be the first; a second time it ends the tokens
   * that the first gave (RFC 6749 section 4.1.2), even when they are not made yet.
   */
  async takeCode(
    code: string,
    at: Date,
    tokens: { access_jti: string; tokens_expire_at: Date },
  ): Promise<Redemption<AuthorizationCodeRecord>> {
    return await this.#database.query.transaction().execute(async (transaction) => {
      const record = await transaction
        .selectFrom('authorization_codes')
        .selectAll()
        .where('code_hash', '=', digestOf(code))
        .forUpdate()
        .executeTakeFirst();
      if (!record) return { outcome: 'unknown' };
      if (record.used_at !== null) {
        const ended = await endFamily(transaction, record.family_id, at);
        if (record.access_jti !== null && record.tokens_expire_at !== null) {
          const first = [record.access_jti, refreshJtiOf(record.access_jti)];
          const until = record.tokens_expire_at;
          const revocations = first.map((jti) => revocationOf(jti, at, until));
          await addRevocations(transaction, revocations);
          ended.push(...revocations);
        }
        return { outcome: 'reused', record, ended };
      }
      if (record.expires_at <= at) return { outcome: 'unknown' };
      const { code_hash } = record;
      await transaction
        .updateTable('authorization_codes')
        .set({ used_at: at, ...tokens })
        .where('code_hash', '=', code_hash)
        .execute();
      return { outcome: 'fresh', record };
    });
  }

  /** The word in clear, which is kept nowhere. */
  async addOneTimeCode(code: NewOneTimeCode): Promise<string> {
    const word = code.purpose === 'passcode' ? easyWord() : randomWord();
    await this.addNamedCode(word, code);
    return word;
  }

  /** As addOneTimeCode, for a word that somebody else made. */
  async addNamedCode(word: string, code: NewOneTimeCode): Promise<void> {
    const row = { ...code, data: JSON.stringify(code.data), code_hash: digestOf(word) };
    await this.#database.query.insertInto('one_time_codes').values(row).execute();
  }

  async findOneTimeCode(
    purpose: NewOneTimeCode['purpose'],
    word: string,
    at: Date,
  ): Promise<{ data: Record<string, unknown> } | undefined> {
    return await this.#database.query
      .selectFrom('one_time_codes')
      .select('data')
      .where('code_hash', '=', digestOf(word))
      .where('purpose', '=', purpose)
      .where('expires_at', '>', at)
      .executeTakeFirst();
  }

  async takeOneTimeCode(
    purpose: NewOneTimeCode['purpose'],
    word: string,
    at: Date,
  ): Promise<{ user_id: string | null; data: Record<string, unknown> } | undefined> {
    return await this.#database.query
      .deleteFrom('one_time_codes')
      .where('code_hash', '=', digestOf(word))
      .where('purpose', '=', purpose)
      .where('expires_at', '>', at)
      .returning(['user_id', 'data'])
      .executeTakeFirst();
  }

  async addRevocation(revocation: Revocation): Promise<void> {
    const { user_id, client_id } = revocation;
    await addRevocations(this.#database.query, [revocation]);
    if (user_id !== undefined)
      await this.#database.query.deleteFrom('refresh_tokens').where('user_id', '=', user_id).execute();
    if (client_id !== undefined) {
      await this.#database.query.deleteFrom('refresh_tokens').where('client_id', '=', client_id).execute();
    }
  }

  async isRevoked(jti: string): Promise<boolean> {
    const { query } = this.#database;
    const found = await query
      .selectFrom('revocations')
      .select('id')
      .where('kind', '=', 'jti')
      .where('id', '=', jti)
      .executeTakeFirst();
    return found !== undefined;
  }

  async revocations(at: Date): Promise<Revocation[]> {
    const rows = await this.#database.query
      .selectFrom('revocations')
      .selectAll()
      .where('expires_at', '>', at)
      .execute();
    return rows.map((row) => ({
      [row.kind]: row.id,
      issued_until: row.issued_until.getTime() / 1000,
      expires_at: Math.ceil(row.expires_at.getTime() / 1000),
    }));
  }

  /** Forgets what is over. Codes are kept a day longer, so that a late second use is still known for one. */
  async sweep(at: Date): Promise<void> {
    const { query } = this.#database;
    const dayAgo = new Date(at.getTime() - 86_400_000);
    await query.deleteFrom('refresh_tokens').where('expires_at', '<', at).execute();
    await query.deleteFrom('revocations').where('expires_at', '<', at).execute();
    await query.deleteFrom('one_time_codes').where('expires_at', '<', at).execute();
    await query.deleteFrom('authorization_codes').where('expires_at', '<', dayAgo).execute();
    await query.deleteFrom('sessions').where('expires_at', '<', at).execute();
    await query.deleteFrom('sign_in_attempts').where('last_at', '<', dayAgo).execute();
  }
}

/** The refresh token that comes with an access token is named after it, as UAA's is. */
export const refreshJtiOf = (access_jti: string): string => `${access_jti}-r`;

async function endFamily(transaction: Transaction<UaaTables>, family_id: string, at: Date): Promise<Revocation[]> {
  const gone = await transaction
    .deleteFrom('refresh_tokens')
    .where('family_id', '=', family_id)
    .returning(['access_jti', 'access_expires_at'])
    .execute();
  const ended = gone.flatMap(({ access_jti, access_expires_at }) =>
    access_jti !== null && access_expires_at !== null && access_expires_at > at
      ? [revocationOf(access_jti, at, access_expires_at)]
      : [],
  );
  await addRevocations(transaction, ended);
  return ended;
}

const revocationOf = (jti: string, at: Date, expires_at: Date): Revocation => ({
  jti,
  issued_until: Math.floor(at.getTime() / 1000),
  expires_at: Math.ceil(expires_at.getTime() / 1000),
});

async function addRevocations(query: Kysely<UaaTables>, revocations: readonly Revocation[]): Promise<void> {
  if (revocations.length === 0) return;
  const rows = revocations.map(({ jti, user_id, client_id, issued_until, expires_at }) => ({
    kind: jti !== undefined ? ('jti' as const) : user_id !== undefined ? ('user_id' as const) : ('client_id' as const),
    id: jti ?? user_id ?? client_id ?? '',
    issued_until: new Date(issued_until * 1000),
    expires_at: new Date(expires_at * 1000),
  }));
  await query
    .insertInto('revocations')
    .values(rows)
    .onConflict((c) =>
      c.columns(['kind', 'id']).doUpdateSet((e) => ({
        issued_until: e.ref('excluded.issued_until'),
        expires_at: e.ref('excluded.expires_at'),
      })),
    )
    .execute();
}
