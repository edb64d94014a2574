import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { SyslogDrainUrls } from '#contracts/cloud-controller.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { TestApps } from '../apps-testing.ts';

describe('the list of syslog drains', () => {
  let cc: TestApps;
  before(async () => {
    cc = await TestApps.start();
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('names each drain with the apps bound to it, page by page', async () => {
    const { query } = cc.cc.database;
    const service = { guid: 'drain', name: 'drain', type: 'user-provided' as const, space_guid: cc.space_guid };
    const nothing = { credentials_sealed: null, operation_job_guid: null };
    await query
      .insertInto('service_instances')
      .values({
        ...service,
        ...nothing,
        service_plan_guid: null,
        syslog_drain_url: 'syslog://d',
        route_service_url: null,
        dashboard_url: null,
      })
      .execute();
    for (const name of ['one', 'two']) {
      const app_guid = await cc.applyManifest({ applications: [{ name }] });
      await query
        .insertInto('service_credential_bindings')
        .values({
          ...nothing,
          guid: `binding-${name}`,
          type: 'app',
          name: null,
          service_instance_guid: 'drain',
          app_guid,
          syslog_drain_url: 'syslog://d',
        })
        .execute();
    }
    const read = async (search: string): Promise<SyslogDrainUrls> => {
      const { internal_url, internal_api } = cc.cc.config;
      const headers = { authorization: basicAuthHeader(internal_api) };
      const response = await fetch(`${internal_url}/internal/v5/syslog_drain_urls${search}`, { headers });
      return SyslogDrainUrls.parse(await response.json());
    };
    const all = await read('');
    const hostnames = all.results.flatMap(({ credentials }) => credentials[0]?.apps.map(({ hostname }) => hostname));
    assert.deepEqual([all.results.length, hostnames, all.next_id], [1, ['o.s.one', 'o.s.two'], null]);
    const first = await read('?batch_size=1');
    assert.equal(first.results[0]?.credentials[0]?.apps[0]?.hostname, 'o.s.one');
    const second = await read(`?batch_size=1&next_id=${first.next_id}`);
    assert.equal(second.results[0]?.credentials[0]?.apps[0]?.hostname, 'o.s.two');
    assert.deepEqual((await read(`?batch_size=1&next_id=${second.next_id}`)).results, []);
  });
});
