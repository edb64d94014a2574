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

  const open = async (path: string, headers: Record<string, string> = {}): Promise<[Response, string]> => {
    const response = await fetch(cc.url + path, { headers });
    return [response, await response.text()];
  };
});
