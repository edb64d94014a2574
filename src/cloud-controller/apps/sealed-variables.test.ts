import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import { sealedVariables, sealOldVariables } from '../seed/sealed-variables-store.ts';
import { Database } from '#db/database.ts';
import { silentLog } from '#kernel/log.ts';
import { Vault } from '../service-secrets/vault.ts';
import type { CcTables } from '../tables.ts';

const SECRET = 'hunter2-of-the-database';

describe('environment variables', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  /** Every table's every row, as a backup has it. */
  const dump = async (): Promise<string> => {
    const { pool } = cc.cc.database;
    const { rows: tables } = await pool.query<{ name: string }>(
      `select table_name as name from information_schema.tables where table_schema = 'public'`,
    );
    const texts: string[] = [];
    for (const { name } of tables) {
      const { rows } = await pool.query<{ text: string }>(`select to_jsonb(t)::text as text from "${name}" t`);
      texts.push(...rows.map((row) => `${name}: ${row.text}`));
    }
    assert.ok(texts.length > 20);
    return texts.filter((text) => text.includes(SECRET)).join('\n');
  };

  it('reach the app, its stagings, tasks and revisions, and stand in no row of the database', async () => {
    const env = { PASSWORD: SECRET };
    await cc.admin.patch('/v3/environment_variable_groups/running', { var: { GROUP: SECRET } });
    await cc.admin.patch('/v3/environment_variable_groups/staging', { var: { GROUP: SECRET } });
    const app = await cc.pushed('sealed', { a: '1' }, { env });
    await cc.admin.patch(`/v3/apps/${app}/environment_variables`, { var: { OTHER: `${SECRET}2` } });
    const task = await cc.admin.post(`/v3/apps/${app}/tasks`, { command: 'true' });
    assert.equal(task.status, 202, task.text);
    const [started] = await eventually('it runs', () => dea.started.length > 0 && dea.started);
    const given = Object.fromEntries(started?.env ?? []);
    assert.deepEqual([given['PASSWORD'], given['GROUP']], [SECRET, SECRET]);
    assert.equal(Object.fromEntries(dea.staged[0]?.env ?? [])['PASSWORD'], SECRET);
    const shown = await cc.admin.get(`/v3/apps/${app}/env`);
    assert.deepEqual(shown.at('environment_variables'), { PASSWORD: SECRET, OTHER: `${SECRET}2` });
    assert.equal(shown.at('running_env_json.GROUP'), SECRET);
    const revisions = await cc.admin.get(`/v3/apps/${app}/revisions`);
    const revision = await cc.admin.get(`/v3/revisions/${String(revisions.each('guid')[0])}/environment_variables`);
    assert.deepEqual(revision.at('var'), { PASSWORD: SECRET });
    assert.equal(await dump(), '');
  });

  it('that were written before there was a key are sealed at the next start', async () => {
    const { admin, space_guid } = cc;
    const relationships = { space: { data: { guid: space_guid } } };
    const app = await admin.post('/v3/apps', { name: 'old', relationships });
    await cc.cc.database.pool.query(`update apps set environment_variables = $1 where guid = $2`, [
      JSON.stringify({ PASSWORD: SECRET }),
      app.guid,
    ]);
    assert.match(await dump(), /^apps: /);
    const { config } = cc.cc;
    await using database = new Database<CcTables>({
      url: config.database.url,
      max_connections: 1,
      application_name: 'test',
      log: silentLog,
      sealed: sealedVariables(new Vault(config)),
    });
    await sealOldVariables(database.query);
    assert.equal(await dump(), '');
    const shown = await admin.get(`/v3/apps/${app.guid}/environment_variables`);
    assert.deepEqual(shown.at('var'), { PASSWORD: SECRET });
  });
});
