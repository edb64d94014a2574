import { sql } from 'kysely';
import { isDatabaseAway, type Database } from '#db/database.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { currentRequest } from '#kernel/request-scope.ts';
import type { UaaTables } from '../tables.ts';

export type AuditEventName =
  | 'user_authentication_success'
  | 'user_authentication_failure'
  | 'user_locked_out'
  | 'user_unlocked'
  | 'client_authentication_failure'
  | 'token_issued'
  | 'refresh_token_reused'
  | 'code_reused'
  | 'token_revoked'
  | 'password_changed'
  | 'password_reset_requested'
  | 'user_created'
  | 'user_modified'
  | 'user_deleted'
  | 'group_created'
  | 'group_modified'
  | 'group_deleted'
  | 'client_created'
  | 'client_modified'
  | 'client_deleted'
  | 'client_secret_changed'
  | 'approvals_changed'
  | 'signed_out';

export interface AuditEvent {
  event: AuditEventName;
  user_id?: string | undefined;
  client_id?: string | undefined;
  origin?: string | undefined;
  remote_address?: string | undefined;
  /** Whose token made the change; absent where people act in a browser, who are `user_id` then. */
  by?: { client_id: string; user_id?: string } | undefined;
  /** Facts; never a secret, a password or a token. */
  data?: Record<string, unknown>;
}

const FLUSH_MS = 250;
const BATCH = 500;
/** With the database away so many events wait; those beyond are in the log alone. */
const BACKLOG = 20_000;

/** Who did what: each event is logged at once, and kept in the database in batches, since every token makes one. */
export class AuditTrail implements AsyncDisposable {
  readonly #database: Database<UaaTables>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timer: Disposable;
  #waiting: { at: Date; event: AuditEvent }[] = [];
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: { database: Database<UaaTables>; clock: Clock; log: Log }) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#timer = options.clock.every(FLUSH_MS, async () => await this.flush());
  }

  record(event: AuditEvent): void {
    // The log carries the request's id by itself.
    this.#log.info({ ...event }, 'audit');
    if (this.#waiting.length >= BACKLOG) return;
    const { by, ...facts } = event;
    const request_id = currentRequest()?.request_id;
    const data = { ...event.data, ...(by && { by }), ...(request_id !== undefined && { request_id }) };
    this.#waiting.push({ at: new Date(this.#clock.now()), event: { ...facts, data } });
  }

  /** Resolves when all events so far are kept, or could not be. */
  async flush(): Promise<void> {
    this.#flushing = this.#flushing.then(async () => await this.#write());
    await this.#flushing;
  }

  async sweep(before: Date): Promise<void> {
    await this.#database.query.deleteFrom('audit_events').where('at', '<', before).execute();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer[Symbol.dispose]();
    await this.flush();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH);
      const rows = JSON.stringify(
        batch.map(({ at, event }) => ({
          ...event,
          at,
        })),
        (_name, value: unknown) => (typeof value === 'string' ? storable(value) : value),
      );
      try {
        await sql`insert into audit_events (at, event, user_id, client_id, origin, remote_address, data)
          select at, event, user_id, client_id, origin, remote_address, data from json_to_recordset(${rows}::json)
          as e (at timestamptz, event text, user_id text, client_id text, origin text, remote_address text, data jsonb)`.execute(
          this.#database.query,
        );
      } catch (error) {
        if (isDatabaseAway(error)) {
          this.#log.warn({ error: describeError(error), waiting: this.#waiting.length }, 'audit events not kept yet');
          return;
        }
        // What the database will never take must not keep out all that comes after it. The log has them.
        this.#log.error({ error: describeError(error), events: batch.length }, 'audit events refused by the database');
      }
      this.#waiting.splice(0, batch.length);
    }
  }
}

/** PostgreSQL takes neither null characters nor halves of surrogate pairs. */
const storable = (text: string): string => text.replaceAll('\0', '').toWellFormed();
