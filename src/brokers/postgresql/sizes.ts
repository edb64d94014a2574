import pg from 'pg';
import type { Log } from '#kernel/log.ts';
import type { DatabaseNames } from './names.ts';
import type { Client, TenantsServer } from './server.ts';
import { cutConnections, loginsOf } from './tenant.ts';

const quote = pg.escapeIdentifier;
const MB = 1024 * 1024;
/** Writing is allowed again when so much of the size is free; else a database at its limit would be cut off at every turn. */
const ROOM = 0.95;

export interface Sized {
  names: DatabaseNames;
  size_mb: number;
}

/** Whether bindings may write, given whether they may now. */
export function mayWrite(of: { bytes: number; size_mb: number; isLimited: boolean }): boolean {
  return of.bytes <= of.size_mb * MB * (of.isLimited ? ROOM : 1);
}

/**
 * Compares the size of a database with that of its plan, and takes from its bindings what makes it grow: they become a role that
 * may read, delete and truncate, until there is room again. Since no login owns anything, none can give it back to itself.
 * Open connections are cut when that changes, as each keeps what it was when it was made.
 */
export async function enforceSize(server: TenantsServer, { names, size_mb }: Sized, log: Log): Promise<void> {
  const state = await server.as('postgres', async (client) => {
    const { rows } = await client.query<{ bytes: number }>(
      'select pg_database_size(oid) as bytes from pg_database where datname = $1',
      [names.database],
    );
    const bytes = rows[0]?.bytes;
    return bytes === undefined ? undefined : { bytes, logins: await loginsOf(client, names) };
  });
  if (!state || state.logins.length === 0) return;
  const { bytes, logins } = state;
  const isLimited = logins.some((login) => login.isLimited);
  const canWrite = mayWrite({ bytes, size_mb, isLimited });
  const [from, to] = canWrite ? [names.limited, names.owner] : [names.owner, names.limited];
  const wrong = logins.filter((login) =>
    canWrite ? login.isLimited || !login.isOwner : login.isOwner || !login.isLimited,
  );
  if (!canWrite) {
    await server.as(names.database, async (client) => {
      await grantReading(client, names.limited);
      await giveBackSpace(client);
    });
  }
  if (wrong.length === 0) return;
  await server.as('postgres', async (client) => {
    for (const { role } of wrong) {
      await client.query(`grant ${quote(to)} to ${quote(role)}`);
      await client.query(`alter role ${quote(role)} in database ${quote(names.database)} set role = ${quote(to)}`);
      await client.query(`revoke ${quote(from)} from ${quote(role)}`);
    }
    await cutConnections(
      client,
      names.database,
      wrong.map(({ role }) => role),
    );
  });
  log.warn(
    { database: names.database, bytes, size_mb },
    canWrite ? 'database has room again and may be written' : 'database is over its size and may not be written',
  );
}

async function grantReading(client: Client, limited: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'`,
  );
  for (const { name } of rows) {
    const schema = quote(name);
    await client.query(`grant usage on schema ${schema} to ${quote(limited)}`);
    await client.query(`grant select, delete, truncate on all tables in schema ${schema} to ${quote(limited)}`);
    await client.query(`grant select on all sequences in schema ${schema} to ${quote(limited)}`);
  }
}

/** Deleted rows take up room until a table is written anew. */
async function giveBackSpace(client: Client): Promise<void> {
  const { rows } = await client.query<{ schema: string; name: string }>(
    `select schemaname as schema, relname as name from pg_stat_user_tables
     where n_dead_tup > 1000 and n_dead_tup > n_live_tup / 4`,
  );
  for (const { schema, name } of rows) await client.query(`vacuum (full) ${quote(schema)}.${quote(name)}`);
}

/** Of these, the ones whose bindings may be what they should not be: over their size, or limited. One look at all of them. */
export async function inQuestion<Of extends Sized>(server: TenantsServer, all: readonly Of[]): Promise<Of[]> {
  const { rows } = await server.as('postgres', async (client) =>
    client.query<{ name: string; bytes: number; limited: boolean }>(
      `select datname as name, pg_database_size(oid) as bytes, exists (
         select 1 from pg_auth_members m join pg_roles held on held.oid = m.roleid
         where held.rolname = replace(datname, 'db_', 'limited_')) as limited
       from pg_database where datname like 'db\\_%'`,
    ),
  );
  const found = new Map(rows.map((row) => [row.name, row]));
  return all.filter(({ names, size_mb }) => {
    const row = found.get(names.database);
    return row !== undefined && (row.limited || row.bytes > size_mb * MB);
  });
}

/** In MB, for people. */
export async function sizeOf(server: TenantsServer, database: string): Promise<number> {
  return await server.as('postgres', async (client) => {
    const { rows } = await client.query<{ bytes: number }>(
      'select pg_database_size(oid) as bytes from pg_database where datname = $1',
      [database],
    );
    return Math.round(((rows[0]?.bytes ?? 0) / MB) * 10) / 10;
  });
}
