import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { TestApps } from '../apps-testing.ts';
import type { Answer } from '../testing.ts';

describe('manifests', () => {
  let cc: TestApps;
  before(async () => {
    cc = await TestApps.start();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const send = async (action: string, text: string): Promise<Answer> =>
    await cc.admin.request('POST', `/v3/spaces/${cc.space_guid}/${action}`, text, {
      'content-type': 'application/x-yaml',
    });
  const apply = async (text: string): Promise<Answer> => await send('actions/apply_manifest', text);
  const find = async (name: string): Promise<string> =>
    (await cc.admin.get(`/v3/apps?names=${name}`)).string('resources.0.guid');

  it('are applied in full', async () => {
    const text = `---
version: 1
applications:
- name: full
  buildpacks: [test_buildpack]
  stack: cflinuxfs4
  path: ./somewhere
  env: { A: one, B: 2, C: true }
  features: { ssh: false }
  routes:
  - route: full.apps.localhost
  - route: full.apps.localhost/deep
    options: { loadbalancing: least-connection }
  metadata:
    labels: { tier: gold }
    annotations: { contact: somebody }
  services: [full-service]
  processes:
  - type: web
    command: start-web
    instances: 2
    memory: 128M
    disk_quota: 1G
    log-rate-limit-per-second: 16KB
    health-check-type: http
    health-check-http-endpoint: /up
    health-check-invocation-timeout: 10
    health-check-interval: 5
    readiness-health-check-type: http
    readiness-health-check-http-endpoint: /ready
    readiness-health-check-invocation-timeout: 7
    readiness-health-check-interval: 4
    timeout: 30
    user: vcap
  - type: worker
    instances: 1
    memory: 0.25GB
  sidecars:
  - name: helper
    process_types: [web]
    command: help
    memory: 32M
`;
    await cc.admin.post('/v3/service_instances', {
      type: 'user-provided',
      name: 'full-service',
      relationships: { space: { data: { guid: cc.space_guid } } },
    });
    const accepted = await apply(text);
    const job = await cc.admin.job(accepted);
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    const app = await find('full');
    const shown = await cc.admin.get(`/v3/apps/${app}`);
    assert.deepEqual(shown.at('lifecycle.data'), { buildpacks: ['test_buildpack'], stack: 'cflinuxfs4' });
    assert.deepEqual(shown.at('metadata.labels'), { tier: 'gold' });
    const variables = await cc.admin.get(`/v3/apps/${app}/environment_variables`);
    assert.deepEqual(variables.at('var'), { A: 'one', B: '2', C: 'true' });
    const web = await cc.admin.get(`/v3/apps/${app}/processes/web`);
    assert.deepEqual(
      ['command', 'instances', 'memory_in_mb', 'disk_in_mb', 'log_rate_limit_in_bytes_per_second'].map((key) =>
        web.at(key),
      ),
      ['start-web', 2, 128, 1024, 16_384],
    );
    assert.deepEqual(web.at('health_check'), {
      type: 'http',
      data: { timeout: 30, invocation_timeout: 10, interval: 5, endpoint: '/up' },
    });
    assert.equal((await cc.admin.get(`/v3/apps/${app}/processes/worker`)).at('memory_in_mb'), 256);
    assert.deepEqual((await cc.admin.get(`/v3/apps/${app}/sidecars`)).each('memory_in_mb'), [32]);
    const routes = await cc.admin.get(`/v3/apps/${app}/routes`);
    assert.deepEqual(routes.each('url'), ['full.apps.localhost', 'full.apps.localhost/deep']);
    assert.equal((await cc.admin.get(`/v3/apps/${app}/features/ssh`)).at('enabled'), false);
    const generated = await cc.admin.get(`/v3/apps/${app}/manifest`);
    const diff = await send('manifest_diff', generated.text);
    assert.deepEqual([diff.status, diff.at('diff')], [201, []], diff.text);
    // Attribute by attribute what was applied, but for what clients alone read, and who may run a process.
    const [said] = (parse(text) as { applications: Said[] }).applications;
    const [told] = (parse(generated.text) as { applications: Said[] }).applications;
    assert.ok(said && told);
    const { path: _path, features, env, routes: said_routes, processes, ...rest } = said;
    assert.deepEqual(told, { ...told, ...rest });
    assert.deepEqual([told.features['ssh'], features['ssh']], [false, false]);
    assert.deepEqual(told.env, Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)])));
    assert.deepEqual(
      told.routes.map(({ route, options }) => ({ route, ...(options && { options }) })),
      said_routes,
    );
    const [{ user: _user, 'log-rate-limit-per-second': rate, ...web_said } = {}] = processes;
    const [web_told] = told.processes;
    assert.match(String(web_told?.['log-rate-limit-per-second']), /^16K/, String(rate));
    assert.deepEqual(web_told, { ...web_told, ...web_said, disk_quota: '1024M' });
    const refused = await apply('applications:\n- { name: full, processes: [{ type: web, user: root }] }');
    assert.deepEqual(refused.error, [422, `For application 'full': Process "web": User must be 'vcap'`]);
  });

  it('leave what they do not mention, and take commands back', async () => {
    await cc.admin.job(await apply('applications:\n- name: kept\n  command: run\n  memory: 99M\n  env: { A: a }\n'));
    await cc.admin.job(await apply('applications:\n- name: kept\n  command: null\n  env: { B: b }\n'));
    const app = await find('kept');
    const web = await cc.admin.get(`/v3/apps/${app}/processes/web`);
    assert.deepEqual([web.at('command'), web.at('memory_in_mb')], [null, 99]);
    const variables = await cc.admin.get(`/v3/apps/${app}/environment_variables`);
    assert.deepEqual(variables.at('var'), { A: 'a', B: 'b' });
  });

  it('give default, random and no routes', async () => {
    await cc.admin.job(
      await apply('applications:\n- { name: My_App 1, default-route: true }\n- { name: lucky, random-route: true }'),
    );
    const first = await cc.admin.get(`/v3/apps/${await find('My_App 1')}/routes`);
    assert.deepEqual(first.each('url'), ['my_app-1.apps.localhost']);
    const lucky = await find('lucky');
    const random = await cc.admin.get(`/v3/apps/${lucky}/routes`);
    assert.match(String(random.at('resources.0.url')), /^lucky-[a-z]+-[a-z]+-[a-z]{2}\.apps\.localhost$/);
    await cc.admin.job(await apply('applications:\n- { name: lucky, random-route: true }'));
    assert.deepEqual((await cc.admin.get(`/v3/apps/${lucky}/routes`)).each('url'), random.each('url'));
    await cc.admin.job(await apply('applications:\n- { name: lucky, no-route: true }'));
    assert.deepEqual((await cc.admin.get(`/v3/apps/${lucky}/routes`)).each('url'), []);
  });

  const refused: [string, string, number, RegExp][] = [
    ['broken YAML', 'applications:\n- name: x\n   env: [', 400, /at line \d+, column \d+/],
    ['anchors', 'applications:\n- &a { name: x }\n- *a', 422, /Anchors and Aliases/],
    ['another version', 'version: 2\napplications: [{ name: x }]', 422, /Unsupported manifest schema version/],
    ['no applications', 'version: 1', 422, /Cannot parse manifest with no 'applications' field/],
    ['an app without a name', 'applications: [{ memory: 1G }]', 422, /For application '#1': /],
    [
      'memory without a unit',
      'applications: [{ name: x, memory: 128 }]',
      422,
      /For application 'x': Memory must use a supported unit/,
    ],
    [
      'too much disk',
      'applications: [{ name: x, disk_quota: 99G }]',
      422,
      /For application 'x': .*too much disk requested/,
    ],
    [
      'forbidden variables',
      'applications: [{ name: x, env: { VCAP_X: y } }]',
      422,
      /For application 'x': Env cannot start with VCAP_/,
    ],
    [
      'an unknown stack',
      'applications: [{ name: x, stack: none }]',
      422,
      /For application 'x': Stack must be an existing stack/,
    ],
    [
      'an unknown buildpack',
      'applications: [{ name: x, buildpacks: [none] }]',
      422,
      /For application 'x': Buildpack "none" must be an existing admin buildpack or a valid git URI/,
    ],
    [
      'a route of no domain',
      'applications: [{ name: x, routes: [{ route: a.b.c }] }]',
      422,
      /For application 'x': The route 'a\.b\.c' did not match any existing domains\./,
    ],
    [
      'a service that is not there',
      'applications: [{ name: x, services: [db] }]',
      422,
      /Service instance 'db' not found/,
    ],
    ['docker', 'applications: [{ name: x, docker: { image: y }, buildpacks: [a] }]', 422, /both buildpack/],
    ['cnb', 'applications: [{ name: x, lifecycle: cnb }]', 422, /not supported/],
    ['a NUL in a name', 'applications: [{ name: "x\\0y" }]', 422, /./],
    ['a NUL in a variable', 'applications: [{ name: x, env: { A: "b\\0c" } }]', 422, /./],
  ];
  for (const [what, text, status, detail] of refused) {
    it(`are refused for ${what}, and nothing of them stays`, async () => {
      const before_apply = (await cc.admin.get('/v3/apps')).at('pagination.total_results');
      const answer = await apply(text);
      assert.equal(answer.status, status, answer.text);
      assert.match(String(answer.at('errors.0.detail')), detail);
      assert.equal((await cc.admin.get('/v3/apps')).at('pagination.total_results'), before_apply);
    });
  }

  it('are one: with a fault in the second app the first is not made', async () => {
    const answer = await apply('applications:\n- { name: good }\n- { name: bad, stack: none }');
    assert.equal(answer.status, 422);
    assert.deepEqual((await cc.admin.get('/v3/apps?names=good')).each('name'), []);
  });

  it('must come as YAML', async () => {
    const answer = await cc.admin.post(`/v3/spaces/${cc.space_guid}/actions/apply_manifest`, { applications: [] });
    assert.equal(answer.status, 400);
  });

  it('tell what they would change', async () => {
    await cc.admin.job(await apply('applications:\n- { name: differs, memory: 128M, env: { A: a } }'));
    const diff = await send(
      'manifest_diff',
      'applications:\n- { name: differs, memory: 256M, env: { A: b, B: c }, routes: [{ route: d.apps.localhost }] }\n- { name: newcomer, memory: 1G }',
    );
    assert.deepEqual(diff.at('diff'), [
      { op: 'replace', path: '/applications/0/memory', was: '128M', value: '256M' },
      { op: 'replace', path: '/applications/0/env/A', was: 'a', value: 'b' },
      { op: 'add', path: '/applications/0/env/B', value: 'c' },
      { op: 'add', path: '/applications/0/routes/0', value: { route: 'd.apps.localhost' } },
      { op: 'add', path: '/applications/1/name', value: 'newcomer' },
    ]);
  });
});

interface Said {
  path?: string;
  features: Record<string, boolean>;
  env: Record<string, unknown>;
  routes: { route: string; options?: object }[];
  processes: Record<string, unknown>[];
}
