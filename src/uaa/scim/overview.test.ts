import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import { Database } from '#db/database.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestPostgres } from '#testing/postgres.ts';
import type { UaaTables } from '../tables.ts';
import { MovedClock } from '../testing.ts';
import { UserStore } from '../users/store.ts';
import { Overview } from './overview.ts';

const ROWS = 21_500;

describe('a list of very many users', () => {
  let postgres: TestPostgres;
  let database: Database<UaaTables>;
  const clock = new MovedClock();
  const statements: string[] = [];
  before(async () => {
    postgres = await TestPostgres.start();
    database = new Database<UaaTables>({
      url: await postgres.createDatabase('migrations/uaa'),
      max_connections: 4,
      application_name: 'test',
      log: silentLog,
      onStatement: (text) => void statements.push(text),
    });
    // Seven of them at a time are made in the same moment.
    await sql`insert into users (id, user_name, origin, email, token_salt, created_at)
      select md5(n::text), 'user-' || n, 'uaa', 'x', 'x', '2026-01-01'::timestamptz + (n / 7) * interval '1 microsecond'
      from generate_series(1, ${sql.lit(ROWS)}) n`.execute(database.query);
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  it('is paged alike by landmarks and without, and passes over no more than a thousand', async () => {
    const { rows: all } = await sql<{ id: string }>`select id from users order by created_at, id`.execute(
      database.query,
    );
    const users = new UserStore({ database, clock, log: silentLog });
    const page = async (startIndex: number): Promise<string[]> => {
      const { rows, totalResults } = await users.list({ startIndex, count: 10 });
      assert.equal(totalResults, ROWS);
      return rows.map((row) => row.id);
    };
    await page(1);
    await eventually('landmarks', async () => {
      await page(20_000);
      return statements.at(-1)?.includes('::timestamptz') === true && !statements.at(-1)?.includes('row_number');
    });
    for (const startIndex of [1, 991, 995, 1000, 1001, 1002, 7_777, 21_000, 21_001, 21_495, 21_500]) {
      const expected = all.slice(startIndex - 1, startIndex + 9).map((row) => row.id);
      assert.deepEqual(await page(startIndex), expected, `from ${startIndex}`);
    }
    assert.deepEqual((await users.list({ startIndex: ROWS + 1, count: 10 })).rows, []);
  });

  it('is not surveyed when they are few, and again when they are more', async () => {
    const overview = new Overview({ database, clock, log: silentLog });
    overview.heard(20_000);
    assert.equal(overview.total(), undefined);
    overview.heard(ROWS);
    await eventually('the survey', () => overview.total() === ROWS);
    assert.equal(overview.before(1)?.place, 1);
    assert.equal(overview.before(1000)?.place, 1);
    assert.equal(overview.before(1001)?.place, 1001);
    assert.equal(overview.before(ROWS)?.place, 21_001);
    await sql`delete from users where user_name in ('user-1', 'user-2')`.execute(database.query);
    clock.forward(3_600);
    await eventually('the next survey', () => overview.total() === ROWS - 2);
  });
});
