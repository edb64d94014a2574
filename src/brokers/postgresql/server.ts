import { execFile } from 'node:child_process';
import { chownSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { AppError } from '#kernel/errors.ts';
import type { PostgresqlConfig } from '../config.ts';
import { Engine, type Surroundings } from '../engines/engine.ts';
import { ownFolder, type SystemUser } from '../engines/system-user.ts';

const run = promisify(execFile);

export interface ServerOptions {
  config: PostgresqlConfig;
  folder: string;
  address: string;
  client_network: string;
  user: SystemUser;
  superuser_password: string;
  around: Surroundings;
}

/** Where one runs a statement. */
export type Client = pg.Client;

const SUPERUSER = 'postgres';

/**
 * The tenants' PostgreSQL: a server of its own beside the platform's, with its own files and system user, so that no fault in a
 * database of theirs leads to ours. It is made and started when the first database is asked for.
 */
export class TenantsServer implements AsyncDisposable {
  readonly #options: ServerOptions;
  #engine: Engine | undefined;
  #starting: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#engine?.isUp === true;
  }

  get address(): { host: string; port: number } {
    return { host: this.#options.address, port: this.#options.config.port };
  }

  get binDir(): string {
    return this.#options.config.bin_dir;
  }

  get user(): SystemUser {
    return this.#options.user;
  }

  /** Makes and starts it where need be, and waits until it serves. Errors: EngineFailed; AppError `postgres_init_failed`. */
  async up(): Promise<void> {
    if (this.#engine) return;
    this.#starting ??= (async () => {
      try {
        await this.#initialise();
        const engine = new Engine(this.#spec(), this.#options.around);
        await engine.start();
        this.#engine = engine;
      } finally {
        this.#starting = undefined;
      }
    })();
    await this.#starting;
  }

  /** Runs `work` as superuser in a database, over a connection of its own. */
  async as<T>(database: string, work: (client: Client) => Promise<T>): Promise<T> {
    await this.up();
    const client = this.#client(database);
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  /** Stops it while nobody has a database. */
  async rest(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#starting?.catch(() => {});
    await this.rest();
  }

  get #data(): string {
    return join(this.#options.folder, 'data');
  }

  #client(database: string): Client {
    const { host, port } = this.address;
    const client = new pg.Client({
      host,
      port,
      database,
      user: SUPERUSER,
      password: this.#options.superuser_password,
      application_name: 'broker',
      connectionTimeoutMillis: 5_000,
    });
    // A server that dies meanwhile says so by an event, too; the statement under way fails by it.
    client.on('error', () => {});
    return client;
  }

  async #initialise(): Promise<void> {
    const { folder, user, config, superuser_password } = this.#options;
    if (!existsSync(join(config.bin_dir, 'postgres'))) {
      throw new AppError(
        'postgres_absent',
        `there is no PostgreSQL in ${config.bin_dir}: install the package postgresql-15`,
      );
    }
    ownFolder(folder, user);
    if (!existsSync(join(this.#data, 'PG_VERSION'))) {
      const unfinished = `${this.#data}.unfinished`;
      rmSync(unfinished, { recursive: true, force: true });
      const passwordFile = join(folder, 'password');
      writeFileSync(passwordFile, superuser_password, { mode: 0o600 });
      chownSync(passwordFile, user.uid, user.gid);
      const auth = ['-U', SUPERUSER, '-A', 'scram-sha-256', `--pwfile=${passwordFile}`];
      const form = ['-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'];
      try {
        await run(join(config.bin_dir, 'initdb'), ['-D', unfinished, ...auth, ...form], { ...user, cwd: folder });
        renameSync(unfinished, this.#data);
      } catch (error) {
        throw new AppError('postgres_init_failed', `PostgreSQL's files could not be made in ${folder}`, {
          cause: error,
        });
      } finally {
        rmSync(passwordFile, { force: true });
      }
    }
    const rules = join(this.#data, 'pg_hba.conf');
    writeFileSync(rules, hostRules(this.#options), { mode: 0o600 });
    chownSync(rules, user.uid, user.gid);
  }

  #spec(): ConstructorParameters<typeof Engine>[0] {
    const { config, user, address } = this.#options;
    const settings: Record<string, string | number> = {
      listen_addresses: address,
      port: config.port,
      unix_socket_directories: '',
      max_connections: config.max_connections,
      shared_buffers: '32MB',
      max_wal_size: '512MB',
      // What one query may spill: beside the database's own size, which counts temporary tables.
      temp_file_limit: '512MB',
      password_encryption: 'scram-sha-256',
      jit: 'off',
      max_worker_processes: 4,
      max_parallel_workers: 2,
      log_min_messages: 'warning',
      // Statements may hold passwords and people's data.
      log_min_error_statement: 'panic',
    };
    return {
      name: 'postgresql',
      command: join(config.bin_dir, 'postgres'),
      args: ['-D', this.#data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
      user,
      limits: { memory_mb: config.memory_mb, pids: config.max_connections + 50 },
      // A fast shutdown: clients are cut, the write-ahead log is closed.
      stop_signal: 'SIGINT',
      isReady: async () => await this.#accepts(),
    };
  }

  async #accepts(): Promise<boolean> {
    const client = this.#client(SUPERUSER);
    try {
      await client.connect();
      // What initdb leaves open to everybody; a database of a tenant is closed at its making.
      await client.query('revoke all on database postgres, template1 from public');
      return true;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/** Who may log in from where: the superuser from this machine alone, tenants from containers too. */
function hostRules({ address, client_network }: ServerOptions): string {
  return `# Written at each start.
host all ${SUPERUSER} ${address}/32 scram-sha-256
host all ${SUPERUSER} 0.0.0.0/0 reject
host replication all 0.0.0.0/0 reject
host all all ${address}/32 scram-sha-256
host all all ${client_network} scram-sha-256
`;
}
