import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { BrokerAnswer, BrokerVerb } from '#testing/osb-broker.ts';
import { TROUBLES, type Trouble } from '../broker-client/trouble.ts';
import { TestServices } from '../services-testing.ts';

const to = (guid: string): { data: { guid: string } } => ({ data: { guid } });

describe('managed service instances', () => {
  let services: TestServices;
  before(async () => {
    services = await TestServices.start();
  });
  after(async () => await services[Symbol.asyncDispose]());

  it('are made, changed, bound and deleted by brokers that take their time', async () => {
    const { admin } = services.cc;
    const { broker } = services;
    broker.asynchronous = { polls: 3 };
    const accepted = await services.request('slow', { parameters: { a: 1 } });
    const guid = await services.guidOf('slow');
    const busy = await admin.patch(`/v3/service_instances/${guid}`, { parameters: { a: 2 } });
    assert.deepEqual([busy.status, busy.at('errors.0.title')], [409, 'CF-AsyncServiceInstanceOperationInProgress']);
    assert.equal((await admin.job(accepted)).at('state'), 'COMPLETE');
    assert.equal((await admin.get(`/v3/service_instances/${guid}`)).at('last_operation.state'), 'succeeded');
    const changed = await admin.job(await admin.patch(`/v3/service_instances/${guid}`, { parameters: { a: 2 } }));
    assert.equal(changed.at('state'), 'COMPLETE', changed.text);
    assert.deepEqual((await admin.get(`/v3/service_instances/${guid}/parameters`)).body, { a: 2 });
    const app = await services.cc.applyManifest({ applications: [{ name: 'patient', memory: '64M' }] });
    const bound = await services.bind(guid, app);
    assert.equal(bound.at('state'), 'COMPLETE', bound.text);
    const env = await admin.get(`/v3/apps/${app}/env`);
    assert.match(env.string('system_env_json.VCAP_SERVICES.postgres.0.credentials.password'), /^of /);
    const call = broker.callsOf('last_operation').at(0);
    assert.deepEqual(call?.query, { service_id: 'postgres-id', plan_id: 'small-id', operation: `make ${guid}` });
    const deleted = await services.deleted(`/v3/service_instances/${guid}`);
    assert.equal(deleted.at('state'), 'COMPLETE', deleted.text);
    assert.deepEqual([broker.instances.size, broker.bindings.size], [0, 0]);
    broker.asynchronous = false;
  });

  it('that fail asynchronously say why, and leave nothing at the broker', async () => {
    const { broker } = services;
    broker.asynchronous = { polls: 2, end: 'failed' };
    const before_ = broker.countOf('deprovision');
    const job = await services.create('doomed');
    broker.asynchronous = false;
    assert.equal(job.at('state'), 'FAILED');
    assert.equal(job.at('errors.0.detail'), 'provision could not be completed: out of disks');
    const guid = await services.guidOf('doomed');
    const shown = await services.cc.admin.get(`/v3/service_instances/${guid}`);
    assert.deepEqual(
      [shown.at('last_operation.type'), shown.at('last_operation.state'), shown.at('last_operation.description')],
      ['create', 'failed', 'out of disks'],
    );
    await eventually('the orphan is deleted', () => broker.countOf('deprovision') > before_);
    assert.equal((await services.deleted(`/v3/service_instances/${guid}`)).at('state'), 'COMPLETE');
  });

  const OUTCOMES: readonly [Trouble, BrokerAnswer, RegExp][] = [
    ['server_error', { status: 500, body: { description: 'boom' } }, /Service broker error: boom/],
    ['server_error', 'drops', /could not be reached/],
    ['unexpected_success', { status: 204, text: '' }, /Status Code: 204/],
    ['malformed_ok', { status: 200, text: 'no json' }, /expected valid JSON object/],
    ['malformed_accepted', { status: 201, text: 'no json' }, /expected valid JSON object/],
    ['malformed_accepted', { status: 202, text: '[1]' }, /expected valid JSON object/],
    ['malformed_accepted', { status: 202, body: { operation: 'x'.repeat(10_001) } }, /operation/],
    ['rejected', { status: 400, body: { description: 'no' } }, /Service broker error: no/],
    ['unauthorized', { status: 401 }, /Authentication with the service broker failed/],
    ['rejected', { status: 403 }, /Status Code: 403/],
    ['rejected', { status: 404 }, /Status Code: 404/],
    ['request_timeout', { status: 408 }, /Status Code: 408/],
    ['conflict', { status: 409 }, /Resource conflict/],
    ['gone', { status: 410 }, /Status Code: 410/],
    ['async_required', { status: 422, body: { error: 'AsyncRequired' } }, /requires client support for asynchronous/],
    ['concurrency', { status: 422, body: { error: 'ConcurrencyError' } }, /in parallel/],
    ['maintenance_conflict', { status: 422, body: { error: 'MaintenanceInfoConflict' } }, /catalog is up to date/],
    ['rejected', { status: 422, body: {} }, /Status Code: 422/],
  ];
  for (const [trouble, answer, text] of OUTCOMES) {
    const what =
      typeof answer === 'string'
        ? answer
        : `${answer.status} ${JSON.stringify(answer.body ?? answer.text ?? '').slice(0, 50)}`;
    const { orphan } = TROUBLES[trouble];
    it(`whose broker answers ${what} fail, and are ${orphan ? '' : 'not '}deleted there`, async () => {
      await check('provision', 'deprovision', answer, { text, orphan });
    });
  }
  for (const [trouble, answer, text] of [
    ...OUTCOMES,
    ['app_required', { status: 422, body: { error: 'RequiresApp' } }, /through binding an application only/],
    [
      'undeclared',
      { status: 201, body: { credentials: {}, syslog_drain_url: 'syslog://x' } },
      /not registered as a logging/,
    ],
    [
      'undeclared',
      { status: 201, body: { credentials: {}, volume_mounts: [{ driver: 'x' }] } },
      /not registered as a volume/,
    ],
    ['malformed_accepted', { status: 201, body: { credentials: 'text' } }, /credentials/],
  ] as readonly [Trouble, BrokerAnswer, RegExp][]) {
    const { orphan } = TROUBLES[trouble];
    const said = typeof answer === 'string' ? answer : `${answer.status} ${JSON.stringify(answer.body ?? answer.text)}`;
    it(`with a binding that the broker answers with ${said.slice(0, 60)} are ${orphan ? '' : 'not '}unbound`, async () => {
      await check('bind', 'unbind', answer, { text, orphan });
    });
  }

  let number = 0;
  /** Has one call answered so, and holds the job, the row and what the broker was asked afterwards against the table. */
  const check = async (
    verb: 'provision' | 'bind',
    undo: BrokerVerb,
    answer: BrokerAnswer,
    expected: { text: RegExp; orphan: boolean },
  ): Promise<void> => {
    const { broker, cc } = services;
    number += 1;
    const name = `case-${number}`;
    const instance = verb === 'bind' ? await services.instance(name) : undefined;
    const app = await cc.applyManifest({ applications: [{ name, memory: '64M' }] });
    const undone = broker.countOf(undo);
    broker.next(verb, answer);
    const job = instance === undefined ? await services.create(name) : await services.bind(instance, app);
    assert.equal(job.at('state'), 'FAILED', job.text);
    assert.match(job.string('errors.0.detail'), expected.text);
    const guid = instance ?? (await services.guidOf(name));
    const rows = await cc.admin.get(
      instance === undefined
        ? `/v3/service_instances?guids=${guid}`
        : `/v3/service_credential_bindings?app_guids=${app}`,
    );
    assert.equal(rows.at('resources.0.last_operation.state'), 'failed');
    await eventually('no job is left', async () => {
      const { rows: left } = await cc.cc.database.pool.query(
        "select 1 from jobs where state in ('PROCESSING', 'POLLING')",
      );
      return left.length === 0;
    });
    assert.equal(broker.countOf(undo) - undone, expected.orphan ? 1 : 0);
    const deleted = await services.deleted(`/v3/service_instances/${guid}`);
    assert.equal(deleted.at('state'), 'COMPLETE', deleted.text);
    assert.equal(broker.instances.size, 0);
  };

  it('whose orphans cannot be deleted at once are tried for again', async () => {
    const { broker, cc } = services;
    const before_ = broker.countOf('deprovision');
    broker.next('provision', { status: 500 });
    broker.next('deprovision', { status: 500 }, 'drops', { status: 503 });
    await services.create('stubborn');
    await eventually('the fourth try', () => broker.countOf('deprovision') - before_ === 4);
    await services.deleted(`/v3/service_instances/${await services.guidOf('stubborn')}`);
    assert.equal(cc.cc.config.brokers.orphan_retry_s, 0.01);
  });

  it('whose orphans take their time to be deleted are asked after, and deleted again when that fails', async () => {
    const { broker } = services;
    const count = (call: 'deprovision' | 'last_operation'): number => broker.countOf(call);
    const [deprovisions, polls] = [count('deprovision'), count('last_operation')];
    broker.next('provision', { status: 500 });
    const accepted = { status: 202, body: { operation: 'the-deletion' } };
    broker.next('deprovision', accepted, accepted);
    broker.next(
      'last_operation',
      { status: 200, body: { state: 'in progress' } },
      { status: 200, body: { state: 'failed', description: 'no' } },
      { status: 410, body: {} },
    );
    await services.create('slow-orphan');
    await eventually('the second deletion is over', () => count('last_operation') - polls === 3);
    assert.equal(count('deprovision') - deprovisions, 2);
    assert.equal(broker.callsOf('last_operation').at(-1)?.query['operation'], 'the-deletion');
    await services.deleted(`/v3/service_instances/${await services.guidOf('slow-orphan')}`);
  });

  it('are polled on although the broker answers nonsense meanwhile', async () => {
    const { broker } = services;
    broker.asynchronous = { polls: 1 };
    broker.next('last_operation', { status: 500 }, { status: 200, text: 'no json' }, { status: 404 }, 'drops', {
      status: 200,
      body: { state: 'who knows' },
    });
    const job = await services.create('noisy');
    broker.asynchronous = false;
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    await services.deleted(`/v3/service_instances/${await services.guidOf('noisy')}`);
  });

  it('change plans only where the offering says so, and are refused what quotas do not allow', async () => {
    const { admin } = services.cc;
    const guid = await services.instance('growing');
    const large = await services.planGuid('large');
    const update = { relationships: { service_plan: to(large) } };
    const job = await admin.job(await admin.patch(`/v3/service_instances/${guid}`, update));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    const shown = await admin.get(`/v3/service_instances/${guid}`);
    assert.equal(shown.at('relationships.service_plan.data.guid'), large);
    const call = services.broker.callsOf('update').at(-1);
    assert.equal(call?.body['plan_id'], 'large-id');
    assert.equal(Reflect.get(call?.body['previous_values'] as object, 'plan_id'), 'small-id');
    // Names and tags are nobody's business but ours.
    const renamed = await admin.patch(`/v3/service_instances/${guid}`, { name: 'grown', tags: ['x'] });
    assert.deepEqual([renamed.status, renamed.at('name'), renamed.at('tags')], [200, 'grown', ['x']]);
    await services.cc.cc.database.query
      .updateTable('organization_quotas')
      .set({ total_service_instances: 1, paid_services_allowed: false })
      .execute();
    const refused = await services.request('too-many', {}, 'large');
    assert.equal(refused.status, 422);
    const texts = (refused.at('errors') as { detail: string }[]).map(({ detail }) => detail);
    assert.deepEqual(texts, [
      "You have exceeded your organization's services limit.",
      'The service instance cannot be created because paid service plans are not allowed.',
    ]);
    await services.cc.cc.database.query
      .updateTable('organization_quotas')
      .set({ total_service_instances: null, paid_services_allowed: true })
      .execute();
    await services.deleted(`/v3/service_instances/${guid}`);
  });

  it('can be purged, which asks no broker, whatever is being done to them', async () => {
    const { admin } = services.cc;
    const { broker } = services;
    broker.always('last_operation', { status: 200, body: { state: 'in progress' } });
    broker.asynchronous = { polls: 1 };
    const accepted = await services.request('stuck');
    const guid = await services.guidOf('stuck');
    await eventually('it is under way', async () => {
      return (await admin.get(`/v3/service_instances/${guid}`)).at('last_operation.state') === 'in progress';
    });
    const undone = broker.countOf('deprovision');
    assert.equal((await admin.delete(`/v3/service_instances/${guid}?purge=true`)).status, 204);
    assert.equal((await admin.job(accepted)).at('state'), 'FAILED');
    assert.equal(broker.countOf('deprovision'), undone);
    broker.asynchronous = false;
    broker.always('last_operation', undefined);
  });

  it('can be deleted while they are being made, and are not there afterwards', async () => {
    const { broker, cc } = services;
    const release = broker.hold('provision');
    const accepted = await services.request('unwanted');
    const guid = await services.guidOf('unwanted');
    await eventually('the broker makes it', () => broker.instances.has(guid));
    const deletion = await cc.admin.delete(`/v3/service_instances/${guid}`);
    release();
    assert.equal((await cc.admin.job(deletion)).at('state'), 'COMPLETE');
    assert.equal((await cc.admin.job(accepted)).at('state'), 'FAILED');
    await eventually('nothing is left', () => !broker.instances.has(guid));
  });

  it('are made once when their worker dies while the broker makes them, and another goes on', async () => {
    const { broker, cc } = services;
    const release = broker.hold('provision');
    const asked = broker.countOf('provision');
    const accepted = await services.request('interrupted');
    const guid = await services.guidOf('interrupted');
    await eventually('the broker makes it', () => broker.instances.has(guid));
    const job_guid = accepted.headers.get('location')?.split('/').at(-1) ?? '';
    await cc.cc.database.pool.query("update jobs set locked_by = 'dead', locked_until = now() where guid = $1", [
      job_guid,
    ]);
    await eventually('another asks again', () => broker.countOf('provision') === asked + 2);
    release();
    const job = await cc.admin.job(accepted);
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.equal(broker.made.get(guid), 1);
    assert.equal((await services.deleted(`/v3/service_instances/${guid}`)).at('state'), 'COMPLETE');
    assert.equal(broker.instances.has(guid), false);
  });

  it('go with their space and organization, brokers willing', async () => {
    const { admin } = services.cc;
    const { broker } = services;
    const org = await admin.post('/v3/organizations', { name: 'going' });
    const space = await admin.post('/v3/spaces', { name: 'going', relationships: { organization: to(org.guid) } });
    const app = await admin.post('/v3/apps', { name: 'a', relationships: { space: to(space.guid) } });
    const made = await services.create('in-space', {
      relationships: { space: to(space.guid), service_plan: to(await services.planGuid('small')) },
    });
    assert.equal(made.at('state'), 'COMPLETE', made.text);
    const instance = await services.guidOf('in-space');
    await services.bind(instance, app.guid);
    broker.next('deprovision', { status: 500, body: { description: 'not today' } });
    const failed = await services.deleted(`/v3/spaces/${space.guid}`);
    assert.equal(failed.at('state'), 'FAILED');
    assert.match(failed.string('errors.0.detail'), /Deletion of space going failed[^]*not today/);
    broker.asynchronous = { polls: 2 };
    const job = await services.deleted(`/v3/organizations/${org.guid}`);
    broker.asynchronous = false;
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.deepEqual([broker.instances.has(instance), broker.bindings.size], [false, 0]);
  });

  it('let apps go that are bound to them', async () => {
    const app = await services.cc.applyManifest({ applications: [{ name: 'leaving', memory: '64M' }] });
    const instance = await services.instance('left');
    await services.bind(instance, app);
    const job = await services.deleted(`/v3/apps/${app}`);
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    assert.equal(services.broker.bindings.size, 0);
    await services.deleted(`/v3/service_instances/${instance}`);
  });
});

describe('brokers that are too late', () => {
  it('have failed when their time is over, and what they made late is deleted', async () => {
    await using services = await TestServices.start({
      brokers: { client_timeout_s: 0.5, poll_interval_s: 0.02, orphan_retry_s: 0.01, poll_duration_max_s: 0.3 },
    });
    const { broker } = services;
    broker.next('provision', 'hangs');
    const silent = await services.create('silent');
    assert.match(silent.string('errors.0.detail'), /timed out/);
    await eventually('the orphan is deleted', () => broker.countOf('deprovision') === 1);
    broker.asynchronous = { polls: 1_000_000 };
    const endless = await services.create('endless');
    assert.match(endless.string('errors.0.detail'), /failed to provision within the required time/);
    await eventually('the orphan is deleted', () => broker.countOf('deprovision') === 2);
  });
});
