import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { systemClock } from '#kernel/clock.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { retry } from '#kernel/retry.ts';
import { isDatabaseAway } from './database.ts';

export class MigrationFailed extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('migration_failed', message, options);
  }
}

// One lock for all of a database's migrations: several processes may start at once.
const LOCK_KEY = 4_906_151;

/**
 * Brings a database up to the newest of the plain SQL files `NNNN_name.sql` in `folder`, each once, in order, each in a
 * transaction of its own. Returns the names of those applied now.
 * A database that is away is waited for, half a minute at most. Errors: MigrationFailed when a file fails, or when one already applied was changed since.
 */
export async function migrate(options: { url: string; folder: string; log: Log }): Promise<string[]> {
  const client = await connect(options.url, options.log);
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK_KEY]);
    await client.query(
      'create table if not exists schema_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())',
    );
    const { rows } = await client.query<{ name: string; checksum: string }>(
      'select name, checksum from schema_migrations',
    );
    const applied = new Map(rows.map((row) => [row.name, row.checksum]));
    const names = (await readdir(options.folder)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name)).sort();
    if (names.length === 0) throw new MigrationFailed(`no migrations in ${options.folder}`);
    const done: string[] = [];
    for (const name of names) {
      const sql = await readFile(join(options.folder, name), 'utf8');
      const checksum = createHash('sha256').update(sql).digest('hex');
      const known = applied.get(name);
      if (known === checksum) continue;
      if (known !== undefined) throw new MigrationFailed(`${name} was changed after it was applied`);
      await applyOne(client, { name, sql, checksum });
      options.log.info({ migration: name }, 'migration applied');
      done.push(name);
    }
    return done;
  } finally {
    // Ending the session frees the lock.
    await client.end();
  }
}

/** Waits for a server that starts at the same time. */
async function connect(url: string, log: Log): Promise<pg.Client> {
  return await retry(
    async () => {
      const client = new pg.Client({ connectionString: url, application_name: 'migrate' });
      client.on('error', (error) => log.warn({ error: describeError(error) }, 'database connection lost'));
      await client.connect();
      return client;
    },
    { clock: systemClock, attempts: 60, first_delay_ms: 50, max_delay_ms: 500, isWorthRetrying: isDatabaseAway },
  );
}

async function applyOne(client: pg.Client, file: { name: string; sql: string; checksum: string }): Promise<void> {
  await client.query('begin');
  try {
    await client.query(file.sql);
    await client.query('insert into schema_migrations (name, checksum) values ($1, $2)', [file.name, file.checksum]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw new MigrationFailed(`${file.name} failed`, { cause: error });
  }
}
