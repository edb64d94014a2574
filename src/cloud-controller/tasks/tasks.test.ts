import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';

describe('tasks', () => {
  let cc: TestApps;
  let dea: FakeDea;
  let app: string;
  before(async () => {
    cc = await TestApps.start();
    dea = await cc.dea();
    app = await cc.applyManifest({ applications: [{ name: 'worker', memory: '64M', env: { COLOR: 'blue' } }] });
    const droplet = await cc.stagedDroplet(app);
    await cc.admin.patch(`/v3/apps/${app}/relationships/current_droplet`, { data: { guid: droplet } });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const run = async (body: object): Promise<string> => {
    const created = await cc.admin.post(`/v3/apps/${app}/tasks`, body);
    assert.equal(created.status, 202, created.text);
    await eventually(
      'it runs',
      async () => (await cc.admin.get(`/v3/tasks/${created.guid}`)).at('state') === 'RUNNING',
    );
    return created.guid;
  };

  it('run in a container of their own and end with their result', async () => {
    const guid = await run({ command: 'migrate', name: 'first', memory_in_mb: 32 });
    const message = dea.started.find((started) => started.droplet === guid);
    assert.deepEqual(
      [message?.kind, message?.start_command, message?.limits.mem, message?.task_name, message?.env],
      ['TASK', 'migrate', 32, 'first', [['COLOR', 'blue']]],
    );
    assert.equal(await dea.endTask(guid, { failed: false, failure_reason: null, exit_status: 0 }), 200);
    assert.equal((await cc.admin.get(`/v3/tasks/${guid}`)).at('state'), 'SUCCEEDED');
    assert.equal(await dea.endTask(guid, { failed: true, failure_reason: 'late', exit_status: 1 }), 409);
    assert.equal(await dea.endTask('none', { failed: true, failure_reason: null, exit_status: 1 }), 404);
  });

  it('tell why they failed, and are numbered per app', async () => {
    const guid = await run({ command: 'false' });
    await dea.endTask(guid, { failed: true, failure_reason: 'exited with status 1', exit_status: 1 });
    const task = await cc.admin.get(`/v3/tasks/${guid}`);
    assert.deepEqual([task.at('state'), task.at('result.failure_reason')], ['FAILED', 'exited with status 1']);
    const found = await cc.admin.get(`/v3/apps/${app}/tasks?sequence_ids=${String(task.at('sequence_id'))}`);
    assert.deepEqual(found.each('guid'), [guid]);
  });

  it('can be cancelled until they have ended', async () => {
    const guid = await run({ command: 'sleep' });
    const cancelled = await cc.admin.request('PUT', `/v3/tasks/${guid}/cancel`);
    assert.deepEqual([cancelled.status, cancelled.at('state')], [202, 'CANCELING'], cancelled.text);
    const task = await eventually('it has ended', async () => {
      const found = await cc.admin.get(`/v3/tasks/${guid}`);
      return found.at('state') === 'FAILED' && found;
    });
    assert.equal(task.at('result.failure_reason'), 'task was cancelled');
    const again = await cc.admin.post(`/v3/tasks/${guid}/actions/cancel`);
    assert.deepEqual(again.error, [422, 'Task state is FAILED and therefore cannot be canceled']);
  });

  it('fail with the reason when no DEA has room', async () => {
    const created = await cc.admin.post(`/v3/apps/${app}/tasks`, { command: 'x', memory_in_mb: 90_000 });
    assert.equal(created.status, 202, created.text);
    const task = await eventually('it failed', async () => {
      const found = await cc.admin.get(`/v3/tasks/${created.guid}`);
      return found.at('state') === 'FAILED' && found;
    });
    assert.equal(task.at('result.failure_reason'), 'insufficient resources: memory');
  });
});
