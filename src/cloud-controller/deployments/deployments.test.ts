import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';
import type { Answer } from '../testing.ts';

describe('deployments', () => {
  let cc: TestApps;
  let dea: FakeDea;
  before(async () => {
    cc = await TestApps.start({ placement: { deployment_interval_s: 0.1 } });
    dea = await cc.dea({ process_types: { web: 'run-web', worker: 'run-worker' } });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const deploy = async (app: string, body: object): Promise<Answer> => {
    const created = await cc.admin.post('/v3/deployments', {
      relationships: { app: { data: { guid: app } } },
      ...body,
    });
    assert.equal(created.status, 201, created.text);
    return created;
  };
  const reaches = async (guid: string, reason: string): Promise<Answer> =>
    await eventually(`the deployment is ${reason}`, async () => {
      const found = await cc.admin.get(`/v3/deployments/${guid}`);
      return found.at('status.reason') === reason && found;
    });
  const webs = async (app: string): Promise<unknown[]> =>
    (await cc.admin.get(`/v3/apps/${app}/processes?types=web`)).each('guid');

  it('rolls to a new droplet with never fewer serving than wanted, and restarts other processes at the end', async () => {
    const app = await cc.pushed('rolled', { a: '1' }, { instances: 3 });
    await cc.admin.post(`/v3/apps/${app}/processes/worker/actions/scale`, { instances: 1 });
    const [worker] = (await cc.admin.get(`/v3/apps/${app}/processes?types=worker`)).each('guid');
    await eventually('all run', () => dea.instances.filter((held) => held.app === app).length === 4);
    const worker_version = dea.instancesOf(String(worker))[0]?.version;
    const droplet_guid = await cc.stagedDroplet(app, { a: '2' });
    const ofWeb = (): number => dea.instances.filter((held) => held.app === app && held.droplet !== worker).length;
    let fewest = ofWeb();
    const watch = setInterval(() => (fewest = Math.min(fewest, ofWeb())), 1);
    // As the cf CLI v9 sends `cf push -m 64M --strategy rolling`: what was not given is null.
    const options = {
      web_instances: null,
      memory_in_mb: 64,
      disk_in_mb: null,
      log_rate_limit_in_bytes_per_second: null,
    };
    const created = await deploy(app, { droplet: { guid: droplet_guid }, options });
    assert.deepEqual(
      [created.at('status.value'), created.at('status.reason'), created.at('new_processes.0.type')],
      ['ACTIVE', 'DEPLOYING', 'web'],
    );
    const scaled = await cc.admin.post(`/v3/apps/${app}/processes/web/actions/scale`, { instances: 9 });
    assert.deepEqual(scaled.error, [422, 'Cannot scale this process while a deployment is in flight.']);
    const done = await reaches(created.guid, 'DEPLOYED');
    clearInterval(watch);
    assert.equal(done.at('status.value'), 'FINALIZED');
    assert.ok(fewest >= 3, `${fewest} served`);
    assert.deepEqual(await webs(app), [created.at('new_processes.0.guid')]);
    await eventually('only the new ones run', () => dea.instancesOf(app).length === 0 && ofWeb() === 3);
    const restarted = await eventually('the worker restarted', () => {
      const [held] = dea.instancesOf(String(worker));
      return held?.version !== worker_version && held;
    });
    assert.equal(restarted.index, 0);
    const current = await cc.admin.get(`/v3/apps/${app}/droplets/current`);
    assert.equal(current.guid, droplet_guid);
    const revisions = await cc.admin.get(`/v3/apps/${app}/revisions`);
    assert.deepEqual(revisions.each('description'), ['Initial revision.', 'New droplet deployed.']);
  });

  it('starts a stopped app and is at its end at once', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'stopped', memory: '64M' }] });
    const created = await deploy(app, { droplet: { guid: await cc.stagedDroplet(app) } });
    assert.deepEqual([created.at('status.value'), created.at('status.reason')], ['FINALIZED', 'DEPLOYED']);
    await eventually('it runs', () => dea.instancesOf(app).length === 1);
  });

  it('pauses a canary at each step until it is told to go on', async () => {
    const app = await cc.pushed('canary', { a: '1' }, { instances: 4 });
    await eventually('all run', () => dea.instancesOf(app).length === 4);
    const options = { canary: { steps: [{ instance_weight: 25 }, { instance_weight: 50 }] } };
    const created = await deploy(app, { strategy: 'canary', options });
    const paused = await reaches(created.guid, 'PAUSED');
    assert.deepEqual(paused.at('status.canary.steps'), { current: 1, total: 2 });
    const web = String(created.at('new_processes.0.guid'));
    assert.equal(dea.instancesOf(web).length, 1);
    await cc.admin.post(`/v3/deployments/${created.guid}/actions/continue`);
    await eventually('the second step', async () => {
      const found = await cc.admin.get(`/v3/deployments/${created.guid}`);
      return found.at('status.reason') === 'PAUSED' && found.at('status.canary.steps.current') === 2;
    });
    assert.equal(dea.instancesOf(web).length, 2);
    await cc.admin.post(`/v3/deployments/${created.guid}/actions/continue`);
    await reaches(created.guid, 'DEPLOYED');
    assert.equal(dea.instancesOf(web).length, 4);
  });

  it('goes back when it is cancelled while new instances do not become ready', async () => {
    const app = await cc.pushed('cancelled', { a: '1' }, { instances: 2 });
    await eventually('both run', () => dea.instancesOf(app).length === 2);
    const before = (await cc.admin.get(`/v3/apps/${app}/droplets/current`)).guid;
    const droplet_guid = await cc.stagedDroplet(app, { a: 'broken' });
    dea.isPrompt = false;
    try {
      const created = await deploy(app, { droplet: { guid: droplet_guid } });
      const web = String(created.at('new_processes.0.guid'));
      await eventually('one starts', () => dea.instancesOf(web).length === 1);
      const cancelled = await cc.admin.post(`/v3/deployments/${created.guid}/actions/cancel`);
      assert.equal(cancelled.status, 200, cancelled.text);
      const done = await reaches(created.guid, 'CANCELED');
      assert.equal(done.at('status.value'), 'FINALIZED');
      await eventually('only the old ones run', () => dea.instancesOf(web).length === 0);
      assert.equal(dea.instancesOf(app).length, 2);
      assert.equal((await cc.admin.get(`/v3/apps/${app}/droplets/current`)).guid, before);
      const again = await cc.admin.post(`/v3/deployments/${created.guid}/actions/cancel`);
      assert.deepEqual(again.error, [422, 'Cannot cancel a CANCELED deployment']);
    } finally {
      dea.isPrompt = true;
    }
  });

  it('is superseded by the next one', async () => {
    const app = await cc.pushed('superseded', { a: '1' }, { instances: 2 });
    await eventually('both run', () => dea.instancesOf(app).length === 2);
    dea.isPrompt = false;
    const first = await deploy(app, {});
    await eventually('one starts', () => dea.instancesOf(String(first.at('new_processes.0.guid'))).length === 1);
    dea.isPrompt = true;
    const second = await deploy(app, {});
    assert.equal((await cc.admin.get(`/v3/deployments/${first.guid}`)).at('status.reason'), 'SUPERSEDED');
    await reaches(second.guid, 'DEPLOYED');
    assert.deepEqual(await webs(app), [second.at('new_processes.0.guid')]);
    assert.equal((await cc.admin.get(`/v3/processes/${String(second.at('new_processes.0.guid'))}`)).at('instances'), 2);
  });

  it('rolls back to a revision, with its environment', async () => {
    const app = await cc.pushed('rollback');
    await eventually('it runs', () => dea.instancesOf(app).length === 1);
    await cc.admin.patch(`/v3/apps/${app}/environment_variables`, { var: { COLOR: 'blue' } });
    await cc.admin.post(`/v3/apps/${app}/actions/restart`);
    const revisions = await cc.admin.get(`/v3/apps/${app}/revisions`);
    assert.deepEqual(revisions.each('version'), [1, 2]);
    const created = await deploy(app, { revision: { guid: revisions.string('resources.0.guid') } });
    await reaches(created.guid, 'DEPLOYED');
    const variables = await cc.admin.get(`/v3/apps/${app}/environment_variables`);
    assert.deepEqual(variables.at('var'), {});
    const latest = await cc.admin.get(`/v3/apps/${app}/revisions?order_by=-created_at`);
    assert.equal(
      latest.at('resources.0.description'),
      'New environment variables deployed. Rolled back to revision 1.',
    );
  });

  it('refuses what makes no sense', async () => {
    const app = await cc.applyManifest({ applications: [{ name: 'senseless' }] });
    const relationships = { app: { data: { guid: app } } };
    const cases: [object, string][] = [
      [{}, 'Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.'],
      [{ droplet: { guid: 'x' }, revision: { guid: 'y' } }, "Cannot set both fields 'droplet' and 'revision'"],
      [
        { droplet: { guid: 'x' } },
        'Unable to assign current droplet. Ensure the droplet exists and belongs to this app.',
      ],
      [{ strategy: 'recreate' }, "Strategy 'recreate' is not a supported deployment strategy"],
    ];
    for (const [body, text] of cases) {
      assert.deepEqual((await cc.admin.post('/v3/deployments', { relationships, ...body })).error, [422, text]);
    }
  });
});
