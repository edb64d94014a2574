import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';

const PASSWORD = 'pull-me-secretly';

describe('apps of docker images', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const packageOf = async (app_guid: string, data: object, type = 'docker') =>
    await cc.admin.post('/v3/packages', { type, data, relationships: { app: { data: { guid: app_guid } } } });
  const image = (name: string) => ({ applications: [{ name, docker: { image: 'reg.example/team/app:v1' } }] });

  it('are staged and started with the image, its login and the port that it exposes', async () => {
    const app = await cc.applyManifest(image('whole'));
    assert.deepEqual((await cc.admin.get(`/v3/apps/${app}`)).at('lifecycle'), { type: 'docker', data: {} });
    const docker = { image: 'reg.example/team/app:v1', username: 'puller', password: PASSWORD };
    const created = await packageOf(app, docker);
    assert.deepEqual([created.status, created.at('state')], [201, 'READY'], created.text);
    assert.deepEqual(created.at('data'), { ...docker, password: '***' });
    const build = await cc.stage(created.guid);
    assert.equal(build.at('state'), 'STAGED', build.text);
    assert.deepEqual(build.at('lifecycle'), { type: 'docker', data: {} });
    assert.deepEqual(dea.staged.at(-1)?.docker, docker);
    const droplet = await cc.admin.get(`/v3/droplets/${build.string('droplet.guid')}`);
    assert.deepEqual([droplet.at('image'), droplet.at('stack')], [docker.image, null]);
    await cc.startWith(app, droplet.guid);
    const started = await eventually('it runs', () => dea.started.find((one) => one.app === app));
    assert.deepEqual([started.docker, started.ports], [docker, [9000]]);
    const manifest = await cc.admin.get(`/v3/apps/${app}/manifest`);
    assert.match(
      manifest.text,
      /lifecycle: docker\n\s+docker:\n\s+image: reg.example\/team\/app:v1\n\s+username: puller/,
    );
  });

  it('keep the password of a registry in no row, job or event but sealed', async () => {
    const app = await cc.applyManifest(image('sealed'));
    const first = await packageOf(app, { image: 'reg.example/a', username: 'puller', password: PASSWORD });
    const copy = await cc.admin.post(`/v3/packages?source_guid=${first.guid}`, {
      relationships: { app: { data: { guid: app } } },
    });
    assert.equal((await cc.stage(copy.guid)).at('state'), 'STAGED');
    assert.equal(dea.staged.at(-1)?.docker?.password, PASSWORD);
    const droplet = (await cc.admin.get(`/v3/packages/${copy.guid}/droplets`)).string('resources.0.guid');
    const other = await cc.applyManifest(image('copied'));
    const copied = await cc.admin.post(`/v3/droplets?source_guid=${droplet}`, {
      relationships: { app: { data: { guid: other } } },
    });
    await cc.admin.patch(`/v3/apps/${other}/relationships/current_droplet`, { data: { guid: copied.guid } });
    await cc.admin.post(`/v3/apps/${other}/actions/start`);
    await eventually('the copy is started with the login', () =>
      dea.started.some((start) => start.app === other && start.docker?.password === PASSWORD),
    );
    const { pool } = cc.cc.database;
    const tables = await pool.query<{ name: string }>(
      "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    );
    for (const { name } of tables.rows) {
      const { rows } = await pool.query<{ text: string }>(`select to_jsonb(t)::text as text from "${name}" t`);
      for (const { text } of rows) assert.ok(!text.includes(PASSWORD), `${name}: ${text}`);
    }
  });

  it('are refused what has no sense for them', async () => {
    const app = await cc.applyManifest(image('odd'));
    const other = await cc.applyManifest({ applications: [{ name: 'with-bits' }] });
    const cases: [() => ReturnType<typeof packageOf>, RegExp][] = [
      [async () => await packageOf(app, {}), /Image required/],
      [async () => await packageOf(app, { image: 'a', username: 'u' }), /together/],
      [async () => await packageOf(app, {}, 'bits'), /of the type bits for a docker app/],
      [async () => await packageOf(other, { image: 'a' }), /of the type docker for a buildpack app/],
      [
        async () => await cc.admin.patch(`/v3/apps/${app}`, { lifecycle: { type: 'docker', data: { stack: 'x' } } }),
        /no buildpacks and no stack/,
      ],
    ];
    for (const [ask, text] of cases) {
      const answer = await ask();
      assert.equal(answer.status, 422, answer.text);
      assert.match(answer.text, text);
    }
  });

  it('are pushed no more once the operator turns the flag off', async () => {
    const app = await cc.applyManifest(image('flagged'));
    const { guid } = await packageOf(app, { image: 'reg.example/a' });
    await cc.admin.patch('/v3/feature_flags/diego_docker', { enabled: false });
    try {
      const answers = [
        await packageOf(app, { image: 'reg.example/a' }),
        await cc.admin.post('/v3/builds', { package: { guid } }),
      ];
      for (const answer of answers)
        assert.deepEqual([answer.status, answer.at('errors.0.title')], [403, 'CF-FeatureDisabled']);
    } finally {
      await cc.admin.patch('/v3/feature_flags/diego_docker', { enabled: true });
    }
  });
});
