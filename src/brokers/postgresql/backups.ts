import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Selectable } from 'kysely';
import pg from 'pg';
import type { Blobstore } from '#blobs/blobstore.ts';
import { AppError } from '#kernel/errors.ts';
import { badRequest } from '../osb/errors.ts';
import { shortOf } from '../short-name.ts';
import type { Backups as BackupTable, Db } from '../tables.ts';
import type { DatabaseNames } from './names.ts';
import type { TenantsServer } from './server.ts';
import { admitLogin, createDatabase, loginsOf, openToOwner, restoringOf } from './tenant.ts';

const BUCKET = 'service-backups';
const quote = pg.escapeIdentifier;

export type Backup = Selectable<BackupTable>;

export interface Subject {
  instance_guid: string;
  names: DatabaseNames;
  connections: number;
  size_mb: number;
  maintenance_password: string;
}

/** Dumps of single databases in the blobstore, made by pg_dump and read by pg_restore as a role that owns that database alone. */
export class Backups {
  readonly #db: Db;
  readonly #blobs: Blobstore;
  readonly #server: TenantsServer;

  constructor({ db, blobs, server }: { db: Db; blobs: Blobstore; server: TenantsServer }) {
    this.#db = db;
    this.#blobs = blobs;
    this.#server = server;
  }

  async list(instance_guid: string): Promise<Backup[]> {
    return await this.#db
      .selectFrom('backups')
      .selectAll()
      .where('instance_guid', '=', instance_guid)
      .orderBy('created_at')
      .execute();
  }

  /** One more, consistent as of now; writing goes on meanwhile. Those by the clock beyond `kept` go. Its key. */
  async make(subject: Subject, by_clock: false | { kept: number }): Promise<string> {
    const { instance_guid, names } = subject;
    await this.#server.up();
    const key = `${shortOf(instance_guid)}-${Date.now()}`;
    const dump = this.#run('pg_dump', subject, ['--format=custom', '--no-owner', '--no-acl', names.database]);
    const { size } = await this.#blobs.put(BUCKET, key, dump, { max_bytes: subject.size_mb * 2 * 1024 * 1024 });
    const row = { key, instance_guid, size_bytes: size, by_clock: by_clock !== false };
    await this.#db.insertInto('backups').values(row).execute();
    if (by_clock !== false) {
      const old = (await this.list(instance_guid)).filter((backup) => backup.by_clock).slice(0, -by_clock.kept);
      for (const backup of old) await this.#forget(backup.key);
    }
    return key;
  }

  /** Reads a backup into a database of its own, which then takes the place of the instance's. Errors: 400 when there is no such. */
  async restore(subject: Subject, wanted: string): Promise<void> {
    const { names, connections } = subject;
    const { key } = await this.find(subject.instance_guid, wanted);
    const restoring = restoringOf(names.database);
    await this.#server.as('postgres', async (client) => {
      await client.query(`drop database if exists ${quote(restoring)} with (force)`);
      await createDatabase(client, { ...names, database: restoring }, connections);
      await admitLogin(client, { role: names.maintenance, database: restoring, as: names.owner });
    });
    await openToOwner(this.#server, restoring, names.owner);
    const blob = await this.#blobs.get(BUCKET, key);
    const options = ['--no-owner', '--no-acl', '--no-comments', '--exit-on-error', `--dbname=${restoring}`];
    await this.#feed(subject, options, blob.stream);
    await this.#server.as('postgres', async (client) => {
      const logins = await loginsOf(client, names);
      await client.query(`drop database if exists ${quote(names.database)} with (force)`);
      await client.query(`alter database ${quote(restoring)} rename to ${quote(names.database)}`);
      for (const { role, isLimited } of logins) {
        await admitLogin(client, { role, database: names.database, as: isLimited ? names.limited : names.owner });
      }
    });
  }

  /** By key, or `latest`. Errors: 400 when there is no such. */
  async find(instance_guid: string, wanted: string): Promise<Backup> {
    const all = await this.list(instance_guid);
    const found = wanted === 'latest' ? all.at(-1) : all.find(({ key }) => key === wanted);
    if (!found) throw badRequest(`there is no backup ${wanted} of this instance`);
    return found;
  }

  async forgetAll(instance_guid: string): Promise<void> {
    for (const { key } of await this.list(instance_guid)) await this.#forget(key);
  }

  async #forget(key: string): Promise<void> {
    await this.#blobs.delete(BUCKET, key);
    await this.#db.deleteFrom('backups').where('key', '=', key).execute();
  }

  #spawn(program: string, subject: Subject, args: readonly string[]): ReturnType<typeof spawn> {
    const { host, port } = this.#server.address;
    const login = ['--host', host, '--port', String(port), '--username', subject.names.maintenance, '--no-password'];
    return spawn(join(this.#server.binDir, program), [...login, ...args], {
      ...this.#server.user,
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PGPASSWORD: subject.maintenance_password, LC_ALL: 'C.UTF-8', PATH: '/usr/bin:/bin' },
    });
  }

  /** What a program writes; the stream fails when the program does, so that half a dump is none. */
  #run(program: string, subject: Subject, args: readonly string[]): Readable {
    const child = this.#spawn(program, subject, args);
    const output = new PassThrough();
    const said = gather(child.stderr);
    child.stdout?.pipe(output, { end: false });
    child.once('error', (error) => output.destroy(error));
    child.once('close', (exit_status) => {
      if (exit_status === 0) output.end();
      else output.destroy(new AppError('backup_failed', `${program} ended with ${exit_status}: ${said()}`));
    });
    output.once('close', () => child.kill());
    child.stdin?.end();
    return output;
  }

  async #feed(subject: Subject, args: readonly string[], source: Readable): Promise<void> {
    const child = this.#spawn('pg_restore', subject, args);
    const said = gather(child.stderr);
    child.stdout?.resume();
    const ended = once(child, 'close') as Promise<[number | null]>;
    if (!child.stdin) throw new AppError('restore_failed', 'pg_restore takes no input');
    // It may end before it has read all, and then says why.
    await pipeline(source, child.stdin).catch(() => {});
    const [exit_status] = await ended;
    if (exit_status !== 0) throw new AppError('restore_failed', `pg_restore ended with ${exit_status}: ${said()}`);
  }
}

function gather(stream: Readable | null): () => string {
  let text = '';
  stream?.on('data', (chunk: Buffer) => (text = (text + chunk.toString()).slice(-2000)));
  return () => text.trim();
}
