import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import { silentLog } from '#kernel/log.ts';
import { TestPostgres } from '#testing/postgres.ts';
import { Database, isDatabaseAway, isForeignKeyViolation, isUniqueViolation } from './database.ts';
import { migrate, MigrationFailed } from './migrate.ts';

interface Schema {
  towns: { name: string };
  streets: { name: string; town: string };
}

describe('the database', () => {
  let postgres: TestPostgres;
  let folder: string;
  before(async () => {
    postgres = await TestPostgres.start();
    folder = await mkdtemp(join(tmpdir(), 'ingot-migrations-'));
    await writeFile(join(folder, '0001_towns.sql'), 'create table towns (name text primary key)');
    await writeFile(join(folder, '0002_streets.sql'), 'create table streets (name text, town text references towns)');
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await postgres[Symbol.asyncDispose]();
  });
  const open = (url: string, onStatement?: (sql: string) => void): Database<Schema> =>
    new Database({
      url,
      max_connections: 2,
      application_name: 'test',
      log: silentLog,
      ...(onStatement && { onStatement }),
    });

  it('applies each migration once, also when two start at once', async () => {
    const url = await postgres.createDatabase();
    const runs = await Promise.all([1, 2].map(async () => await migrate({ url, folder, log: silentLog })));
    assert.deepEqual(runs.flat().sort(), ['0001_towns.sql', '0002_streets.sql']);
    assert.deepEqual(await migrate({ url, folder, log: silentLog }), []);
  });

  it('refuses a migration that fails or was changed, and leaves nothing of it', async () => {
    const url = await postgres.createDatabase();
    const other = await mkdtemp(join(tmpdir(), 'ingot-migrations-'));
    try {
      await writeFile(join(other, '0001_bad.sql'), 'create table half (a int); create table half (a int)');
      await assert.rejects(migrate({ url, folder: other, log: silentLog }), MigrationFailed);
      await writeFile(join(other, '0001_bad.sql'), 'create table half (a int)');
      await migrate({ url, folder: other, log: silentLog });
      await writeFile(join(other, '0001_bad.sql'), 'create table half (b int)');
      await assert.rejects(migrate({ url, folder: other, log: silentLog }), /was changed after it was applied/);
    } finally {
      await rm(other, { recursive: true });
    }
  });

  it('tells a broken constraint from an absent server, and counts statements', async () => {
    const url = await postgres.createDatabase();
    await migrate({ url, folder, log: silentLog });
    const statements: string[] = [];
    await using database = open(url, (sql) => statements.push(sql));
    const insert = async (): Promise<unknown> =>
      await database.query.insertInto('towns').values({ name: 'Ulm' }).execute();
    await insert();
    await assert.rejects(insert(), (error) => isUniqueViolation(error, 'towns_pkey') && !isDatabaseAway(error));
    const street = database.query.insertInto('streets').values({ name: 'High', town: 'Nowhere' });
    await assert.rejects(street.execute(), (error) => isForeignKeyViolation(error));
    assert.equal(statements.length, 3);
    await using absent = open('postgres://postgres:test@127.0.0.1:1/none');
    await assert.rejects(absent.query.selectFrom('towns').selectAll().execute(), (error) => isDatabaseAway(error));
  });

  it('fails only the transaction whose connection the server ends between two statements', async () => {
    const url = await postgres.createDatabase();
    await migrate({ url, folder, log: silentLog });
    await using database = open(url);
    const { query, pool } = database;
    const cut = query.transaction().execute(async (transaction) => {
      await transaction.insertInto('towns').values({ name: 'Ulm' }).execute();
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(transaction);
      await pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      // Long enough for the server's farewell to arrive while nothing is asked.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await transaction.insertInto('towns').values({ name: 'Bern' }).execute();
    });
    await assert.rejects(cut, (error) => isDatabaseAway(error));
    assert.deepEqual(await query.selectFrom('towns').selectAll().execute(), []);
  });
});
