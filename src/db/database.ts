import { Kysely, PostgresDialect, type LogEvent } from 'kysely';
import pg from 'pg';
import { AppError, describeError, systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { SealedColumns, type SealedColumnsOptions } from './sealed-columns.ts';

/** PostgreSQL cannot be reached or will not serve: worth another try later. */
export class DatabaseUnavailable extends AppError {
  constructor(options?: ErrorOptions) {
    super('database_unavailable', 'the database is not available', options);
  }
}

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/name` */
  url: string;
  max_connections: number;
  application_name: string;
  log: Log;
  /** Columns that are kept encrypted. */
  sealed?: SealedColumnsOptions;
  /** Called with the text of each statement; for tests that count them. */
  onStatement?: (sql: string) => void;
}

/** A pool of connections and the query builder over it. Disposing of it waits for the queries under way. */
export class Database<Schema> implements AsyncDisposable {
  readonly query: Kysely<Schema>;
  readonly pool: pg.Pool;

  constructor(options: DatabaseOptions) {
    this.pool = new pg.Pool({
      connectionString: options.url,
      max: options.max_connections,
      application_name: options.application_name,
      connectionTimeoutMillis: 5_000,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
      // A statement that hangs holds a connection; nothing of ours may run so long.
      statement_timeout: 60_000,
    });
    // An idle connection that the server drops is made anew at the next query.
    this.pool.on('error', (error) =>
      options.log.warn({ error: describeError(error) }, 'idle database connection lost'),
    );
    // One that is lost between two statements of a transaction tells it to nobody else; the next statement fails by it.
    this.pool.on('connect', (client) =>
      client.on('error', (error) => options.log.warn({ error: describeError(error) }, 'database connection lost')),
    );
    const { onStatement, sealed } = options;
    this.query = new Kysely<Schema>({
      dialect: new PostgresDialect({ pool: this.pool }),
      ...(sealed && { plugins: [new SealedColumns(sealed)] }),
      ...(onStatement && { log: (event: LogEvent) => onStatement(event.query.sql) }),
    });
  }

  /** Errors: DatabaseUnavailable. */
  async ping(): Promise<void> {
    try {
      await this.pool.query('select 1');
    } catch (error) {
      throw new DatabaseUnavailable({ cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.query.destroy();
  }
}

// Counts and sizes come as bigint (20) and numeric sums as text unless told; ours stay far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const CONNECTION_FAULTS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT', 'EHOSTUNREACH']);

/**
 * Whether an error means that the database is away (as opposed to a statement that it refused): no connection, or the
 * server's classes 08 (connection), 53 (insufficient resources) and 57P (operator intervention, such as a shutdown).
 */
export function isDatabaseAway(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true;
  if (!(error instanceof Error)) return false;
  const code = systemErrorCode(error);
  if (code !== undefined && (CONNECTION_FAULTS.has(code) || /^(08|53|57P)/.test(code))) return true;
  if (
    /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/.test(
      error.message,
    )
  )
    return true;
  return error.cause !== undefined && isDatabaseAway(error.cause);
}

/** Whether a unique constraint refused the statement; with a name, that one. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return isPgError(error, '23505', constraint);
}

/** Whether a foreign key refused the statement: what it points to is not there, or something still points to it. */
export function isForeignKeyViolation(error: unknown, constraint?: string): boolean {
  return isPgError(error, '23503', constraint);
}

function isPgError(error: unknown, code: string, constraint: string | undefined): boolean {
  if (!(error instanceof pg.DatabaseError) || error.code !== code) return false;
  return constraint === undefined || error.constraint === constraint;
}
