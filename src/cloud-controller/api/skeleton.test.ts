import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, TestCloudController } from '../testing.ts';

describe('the cloud controller', () => {
  let cc: TestCloudController;
  before(async () => {
    cc = await TestCloudController.start();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('says where everything is to whoever asks', async () => {
    const root = new Answer(...(await open('/')));
    assert.equal(root.at('links.cloud_controller_v3.meta.version'), '3.224.0');
    assert.equal(root.at('links.login.href'), 'http://login.cf.localhost');
  });

  it('refuses requests without a token, with a bad one, and to nowhere', async () => {
    const none = new Answer(...(await open('/v3/jobs/x')));
    assert.deepEqual([none.status, none.at('errors.0.title')], [401, 'CF-NotAuthenticated']);
    const bad = new Answer(...(await open('/v3/jobs/x', { authorization: 'bearer x' })));
    assert.deepEqual([bad.status, bad.at('errors.0.title')], [401, 'CF-InvalidAuthToken']);
    assert.deepEqual((await cc.admin.get('/v3/nothing')).error, [404, 'Unknown request']);
    assert.deepEqual((await cc.admin.get('/v3/jobs/x')).error, [404, 'Job not found']);
  });

  it('lets its operator see a job that is stuck, and end it', async () => {
    // As one that a worker of a version to come left behind: none here knows what to do.
    const guid = 'stuck-job';
    await cc.database.query
      .insertInto('jobs')
      .values({ guid, operation: 'none.knows', locked_by: null, locked_until: null, payload: '{}' })
      .execute();
    const asOperator = async (method: string, path: string): Promise<Answer> => {
      const { user, password } = cc.config.internal_api;
      const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
      const response = await fetch(cc.config.internal_url + path, { method, headers: { authorization } });
      return new Answer(response, await response.text());
    };
    const seen = await asOperator('GET', '/internal/jobs');
    assert.deepEqual(
      ['guid', 'operation', 'state', 'attempts'].map((field) => seen.at(`jobs.0.${field}`)),
      [guid, 'none.knows', 'PROCESSING', 0],
    );
    assert.equal((await asOperator('DELETE', `/internal/jobs/${guid}`)).status, 204);
    const job = await cc.admin.get(`/v3/jobs/${guid}`);
    assert.deepEqual([job.at('state'), job.at('errors.0.detail')], ['FAILED', 'An operator ended this job.']);
    assert.deepEqual((await asOperator('DELETE', `/internal/jobs/${guid}`)).error, [404, 'Job under way not found']);
    assert.deepEqual((await asOperator('GET', '/internal/jobs')).at('jobs'), []);
  });

  const open = async (path: string, headers: Record<string, string> = {}): Promise<[Response, string]> => {
    const response = await fetch(cc.url + path, { headers });
    return [response, await response.text()];
  };
});
