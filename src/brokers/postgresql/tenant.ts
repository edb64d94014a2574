import pg from 'pg';
import type { Client, TenantsServer } from './server.ts';
import { type DatabaseNames, roleOf } from './names.ts';

const quote = pg.escapeIdentifier;
const literal = pg.escapeLiteral;

/** Those that write large objects, which belong to no table: only for who may write at all. */
const LARGE_OBJECT_WRITERS = [
  'lo_creat(integer)',
  'lo_create(oid)',
  'lo_from_bytea(oid, bytea)',
  'lo_put(oid, bigint, bytea)',
  'lowrite(integer, bytea)',
  'lo_open(oid, integer)',
  'lo_truncate(integer, integer)',
  'lo_truncate64(integer, bigint)',
];

/**
 * Makes an instance's database, or what is missing of one that was left half-made. Everything in it belongs to a role that nobody
 * logs in as; the database itself to the superuser, since an owner could lift its limits.
 */
export async function makeDatabase(
  server: TenantsServer,
  names: DatabaseNames,
  given: { connections: number; maintenance_password: string },
): Promise<void> {
  const { database, owner, limited, maintenance } = names;
  await server.as('postgres', async (client) => {
    for (const role of [owner, limited]) await makeRole(client, role, 'nologin noinherit');
    await makeRole(client, maintenance, 'login noinherit');
    await client.query(`alter role ${quote(maintenance)} password ${literal(given.maintenance_password)}`);
    await client.query(`grant ${quote(owner)} to ${quote(maintenance)}`);
    await createDatabase(client, names, given.connections);
    await client.query(`alter role ${quote(maintenance)} in database ${quote(database)} set role = ${quote(owner)}`);
  });
  await openToOwner(server, database, owner);
}

/** An empty one, unless it is there. */
export async function createDatabase(
  client: Client,
  names: Pick<DatabaseNames, 'database' | 'owner' | 'maintenance'>,
  connections: number,
): Promise<void> {
  const { database, owner, maintenance } = names;
  const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [database]);
  if (rowCount === 0) await client.query(`create database ${quote(database)} template template0`);
  await client.query(`revoke all on database ${quote(database)} from public`);
  await client.query(`grant connect, create, temporary on database ${quote(database)} to ${quote(owner)}`);
  await client.query(`grant connect on database ${quote(database)} to ${quote(maintenance)}`);
  await setConnections(client, database, connections);
}

/** One more than the plan has: backups need one. */
export async function setConnections(client: Client, database: string, connections: number): Promise<void> {
  await client.query(`alter database ${quote(database)} connection limit ${connections + 1}`);
}

export async function openToOwner(server: TenantsServer, database: string, owner: string): Promise<void> {
  await server.as(database, async (client) => {
    await client.query(`alter schema public owner to ${quote(owner)}`);
    await client.query(`revoke execute on function ${LARGE_OBJECT_WRITERS.join(', ')} from public`);
    await client.query(`grant execute on function ${LARGE_OBJECT_WRITERS.join(', ')} to ${quote(owner)}`);
  });
}

async function makeRole(client: Client, role: string, attributes: string): Promise<void> {
  const { rowCount } = await client.query('select 1 from pg_roles where rolname = $1', [role]);
  if (rowCount === 0) await client.query(`create role ${quote(role)} ${attributes}`);
}

/**
 * A role for one binding. By itself it may do nothing but connect: in its database it becomes the owner, so that all that bindings
 * make belongs to the instance and outlives them.
 */
export async function makeLogin(
  server: TenantsServer,
  names: DatabaseNames,
  binding: { guid: string; password: string },
): Promise<void> {
  const role = roleOf(binding.guid);
  const { database, owner } = names;
  await server.as('postgres', async (client) => {
    await makeRole(client, role, 'login noinherit');
    await client.query(`alter role ${quote(role)} password ${literal(binding.password)}`);
    await admitLogin(client, { role, database, as: owner });
  });
}

/** Lets a login into a database, as what it becomes there. */
export async function admitLogin(
  client: Client,
  { role, database, as }: { role: string; database: string; as: string },
): Promise<void> {
  await client.query(`grant connect on database ${quote(database)} to ${quote(role)}`);
  await client.query(`grant ${quote(as)} to ${quote(role)}`);
  await client.query(`alter role ${quote(role)} in database ${quote(database)} set role = ${quote(as)}`);
}

/** Cuts a binding's connections and removes its role; what it made stays, since it belongs to the owner. */
export async function removeLogin(server: TenantsServer, names: DatabaseNames, binding_guid: string): Promise<void> {
  const role = roleOf(binding_guid);
  const isThere = await server.as('postgres', async (client) => {
    const found = await client.query('select 1 from pg_roles where rolname = $1', [role]);
    if (found.rowCount === 0) return false;
    await client.query(`alter role ${quote(role)} nologin`);
    await cutConnections(client, names.database, [role]);
    return true;
  });
  if (!isThere) return;
  await server.as(names.database, async (client) => {
    await client.query(`reassign owned by ${quote(role)} to ${quote(names.owner)}`);
    await client.query(`drop owned by ${quote(role)}`);
    await client.query(`drop role ${quote(role)}`);
  });
}

export async function cutConnections(client: Client, database: string, roles: readonly string[]): Promise<void> {
  await client.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename = any($2)',
    [database, roles],
  );
}

export async function removeDatabase(server: TenantsServer, names: DatabaseNames): Promise<void> {
  const { database, owner, limited, maintenance } = names;
  await server.as('postgres', async (client) => {
    for (const name of [database, restoringOf(database)]) {
      await client.query(`drop database if exists ${quote(name)} with (force)`);
    }
    for (const role of [maintenance, limited, owner]) await client.query(`drop role if exists ${quote(role)}`);
  });
}

/** What a database is called while a backup is read into it. */
export const restoringOf = (database: string): string => `${database}_restoring`;

/** The logins of bindings of a database, and what each may be there. */
export async function loginsOf(
  client: Client,
  names: DatabaseNames,
): Promise<{ role: string; isLimited: boolean; isOwner: boolean }[]> {
  const { rows } = await client.query<{ role: string; limited: boolean; owner: boolean }>(
    `select member.rolname as role, bool_or(held.rolname = $1) as limited, bool_or(held.rolname = $2) as owner
     from pg_auth_members join pg_roles member on member.oid = pg_auth_members.member
       join pg_roles held on held.oid = pg_auth_members.roleid
     where held.rolname in ($1, $2) and member.rolname <> $3
     group by member.rolname`,
    [names.limited, names.owner, names.maintenance],
  );
  return rows.map(({ role, limited, owner }) => ({ role, isLimited: limited, isOwner: owner }));
}
