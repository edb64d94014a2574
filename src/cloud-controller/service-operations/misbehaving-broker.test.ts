import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { BrokerAnswer } from '#testing/osb-broker.ts';
import type { Answer } from '../testing.ts';
import { TestServices } from '../services-testing.ts';

/** The tables of OSB 2.17 for what is there already; those of provision and bind are in service-instances.test.ts. */
describe('a broker that misbehaves', () => {
  let services: TestServices;
  let app = '';
  before(async () => {
    services = await TestServices.start();
    app = await services.cc.applyManifest({ applications: [{ name: 'client', memory: '64M' }] });
  });
  after(async () => await services[Symbol.asyncDispose]());

  const REFUSALS: readonly [BrokerAnswer, RegExp][] = [
    ['drops', /could not be reached/],
    [{ status: 204, text: '' }, /Status Code: 204/],
    [{ status: 202, text: 'no json' }, /expected valid JSON object/],
    [{ status: 202, body: { operation: 7 } }, /operation/],
    [{ status: 400, body: { description: 'no' } }, /Service broker error: no/],
    [{ status: 401 }, /Authentication with the service broker failed/],
    [{ status: 403 }, /Status Code: 403/],
    [{ status: 404 }, /Status Code: 404/],
    [{ status: 409 }, /Resource conflict/],
    [{ status: 422, body: { error: 'AsyncRequired' } }, /requires client support for asynchronous/],
    [{ status: 422, body: { error: 'ConcurrencyError' } }, /in parallel/],
    [{ status: 500, body: { description: 'boom' } }, /Service broker error: boom/],
  ];
  const ONLY_UPDATES: readonly [BrokerAnswer, RegExp][] = [
    [{ status: 200, text: 'no json' }, /expected valid JSON object/],
    [{ status: 201, body: {} }, /Status Code: 201/],
    [{ status: 410 }, /Status Code: 410/],
    [{ status: 422, body: { error: 'MaintenanceInfoConflict' } }, /catalog is up to date/],
  ];
  const said = (answer: BrokerAnswer): string =>
    typeof answer === 'string' ? answer : `${answer.status} ${JSON.stringify(answer.body ?? answer.text ?? '')}`;
  const lastOperation = async (path: string): Promise<string> => {
    const shown = await services.cc.admin.get(path);
    return `${shown.string('last_operation.type')} ${shown.string('last_operation.state')}`;
  };
  const failed = (job: Answer, text: RegExp): void => {
    assert.equal(job.at('state'), 'FAILED', job.text);
    assert.match(job.string('errors.0.detail'), text);
  };
  const undone = (): number => services.broker.countOf('deprovision') + services.broker.countOf('unbind');

  it('when it changes an instance leaves it as it was, with its plan', async () => {
    const { admin } = services.cc;
    const path = `/v3/service_instances/${await services.instance('changing')}`;
    const relationships = { service_plan: { data: { guid: await services.planGuid('large') } } };
    for (const [answer, text] of [...REFUSALS, ...ONLY_UPDATES]) {
      services.broker.next('update', answer);
      failed(await admin.job(await admin.patch(path, { relationships, parameters: { a: 1 } })), text);
      assert.equal(await lastOperation(path), 'update failed', said(answer));
      const small = await services.planGuid('small');
      assert.equal((await admin.get(path)).at('relationships.service_plan.data.guid'), small, said(answer));
    }
    assert.equal(undone(), 0);
    const job = await admin.job(await admin.patch(path, { relationships }));
    assert.equal(job.at('state'), 'COMPLETE', job.text);
    await services.deleted(path);
  });

  it('when it deletes an instance keeps it, until it is deleted in the end', async () => {
    const path = `/v3/service_instances/${await services.instance('staying')}`;
    for (const [answer, text] of REFUSALS) {
      services.broker.next('deprovision', answer);
      failed(await services.deleted(path), text);
      assert.equal(await lastOperation(path), 'delete failed', said(answer));
    }
    // What is not there any more is deleted, and so is what is said to be, in whatever words.
    services.broker.next('deprovision', { status: 200, text: 'no json' });
    assert.equal((await services.deleted(path)).at('state'), 'COMPLETE');
    const gone = `/v3/service_instances/${await services.instance('gone')}`;
    services.broker.next('deprovision', { status: 410 });
    assert.equal((await services.deleted(gone)).at('state'), 'COMPLETE');
    assert.equal((await services.cc.admin.get(gone)).status, 404);
    services.broker.instances.clear();
  });

  it('when it unbinds keeps the binding, until it is gone in the end', async () => {
    const instance = await services.instance('bound');
    assert.equal((await services.bind(instance, app)).at('state'), 'COMPLETE');
    const [guid] = (await services.cc.admin.get('/v3/service_credential_bindings')).each('guid');
    const path = `/v3/service_credential_bindings/${String(guid)}`;
    for (const [answer, text] of REFUSALS) {
      services.broker.next('unbind', answer);
      failed(await services.deleted(path), text);
      assert.equal(await lastOperation(path), 'delete failed', said(answer));
    }
    services.broker.next('unbind', { status: 410 });
    assert.equal((await services.deleted(path)).at('state'), 'COMPLETE');
    services.broker.bindings.clear();
    await services.deleted(`/v3/service_instances/${instance}`);
  });

  it('when it is asked how far it is ends an operation by clear words alone', async () => {
    const { broker, cc } = services;
    const guid = await services.instance('asked');
    const path = `/v3/service_instances/${guid}`;
    const ends: readonly [answers: BrokerAnswer[], update: RegExp | undefined, deletion: RegExp | undefined][] = [
      [[{ status: 400, body: { description: 'bad' } }], /bad/, /bad/],
      [[{ status: 200, body: { state: 'failed', description: 'full' } }], /full/, /full/],
      [
        [{ status: 404 }, { status: 200, body: { state: 'failed' } }],
        /could not be completed/,
        /could not be completed/,
      ],
      [
        [{ status: 500 }, { status: 200, body: [] }, { status: 200, body: { state: 'succeeded' } }],
        undefined,
        undefined,
      ],
      [[{ status: 410 }], /it is gone/, undefined],
    ];
    broker.asynchronous = { polls: 1 };
    for (const [answers, text] of ends) {
      broker.next('last_operation', ...answers);
      const job = await cc.admin.job(await cc.admin.patch(path, { parameters: { a: 1 } }));
      if (text) failed(job, text);
      else assert.equal(job.at('state'), 'COMPLETE', job.text);
    }
    for (const [answers, , text] of ends) {
      const one = `/v3/service_instances/${await madeAtOnce(`deleted-${answers.length}-${String(text)}`)}`;
      broker.next('last_operation', ...answers);
      const job = await services.deleted(one);
      if (text) failed(job, text);
      else assert.equal(job.at('state'), 'COMPLETE', job.text);
      if (text) await services.deleted(one);
    }
    broker.asynchronous = false;
    await services.deleted(path);
  });

  const madeAtOnce = async (name: string): Promise<string> => {
    const before_ = services.broker.asynchronous;
    services.broker.asynchronous = false;
    const guid = await services.instance(name);
    services.broker.asynchronous = before_;
    return guid;
  };

  it('when it does not hand out what it bound later leaves a failed binding, whose deletion unbinds', async () => {
    const { broker } = services;
    const instance = await services.instance('fetched');
    const answers: readonly [BrokerAnswer, RegExp][] = [
      [{ status: 404 }, /Status Code: 404/],
      [{ status: 410 }, /Status Code: 410/],
      [{ status: 500 }, /Status Code: 500/],
      [{ status: 200, text: 'no json' }, /expected valid JSON object/],
      [{ status: 200, body: { credentials: {}, syslog_drain_url: 'syslog://x' } }, /not registered as a logging/],
    ];
    for (const [answer, text] of answers) {
      broker.asynchronous = { polls: 1 };
      broker.next('fetch_binding', answer);
      failed(await services.bind(instance, app), text);
      broker.asynchronous = false;
      const [guid] = (await services.cc.admin.get('/v3/service_credential_bindings')).each('guid');
      const path = `/v3/service_credential_bindings/${String(guid)}`;
      assert.equal(await lastOperation(path), 'create failed', said(answer));
      assert.equal((await services.deleted(path)).at('state'), 'COMPLETE');
      assert.equal(broker.bindings.size, 0);
    }
    await services.deleted(`/v3/service_instances/${instance}`);
  });

  const routeBindings = '/v3/service_route_bindings';
  it('when it binds a route is held to https; one that keeps to it is asked with the route, and told of its end', async () => {
    const { broker, cc } = services;
    const { admin } = cc;
    await offerRouteService(services);
    const instance = await services.instance('gate');
    const domain = (await admin.get('/v3/domains?names=apps.localhost')).string('resources.0.guid');
    const data = (guid: string): { data: { guid: string } } => ({ data: { guid } });
    const route = await admin.post('/v3/routes', {
      host: 'gated',
      relationships: { space: data(cc.space_guid), domain: data(domain) },
    });
    const relationships = { service_instance: data(instance), route: data(route.guid) };
    const bind = async (): Promise<Answer> =>
      await admin.job(await admin.post(routeBindings, { relationships, parameters: { limit: 5 } }));

    broker.extras = { route_service_url: 'http://gate.example.com' };
    const unbinds = broker.countOf('unbind');
    failed(await bind(), /route_service_url must be a valid https URL/);
    await eventually('it is unbound', () => broker.countOf('unbind') === unbinds + 1);
    const [left] = (await admin.get(routeBindings)).each('guid');
    assert.equal(await lastOperation(`${routeBindings}/${String(left)}`), 'create failed');
    assert.equal((await services.deleted(`${routeBindings}/${String(left)}`)).at('state'), 'COMPLETE');

    broker.extras = { route_service_url: 'https://gate.example.com/check' };
    for (const asynchronous of [false, { polls: 2 }] as const) {
      broker.asynchronous = asynchronous;
      const bound = await bind();
      assert.equal(bound.at('state'), 'COMPLETE', bound.text);
      const { body } = broker.callsOf('bind').at(-1) ?? {};
      assert.deepEqual(
        [body?.['bind_resource'], body?.['parameters']],
        [{ route: 'gated.apps.localhost' }, { limit: 5 }],
      );
      const list = await admin.get(`${routeBindings}?route_guids=${route.guid}`);
      assert.deepEqual(list.each('route_service_url'), ['https://gate.example.com/check']);
      const path = `${routeBindings}/${list.string('resources.0.guid')}`;
      assert.deepEqual((await admin.get(`${path}/parameters`)).body, { limit: 5 });
      broker.next('unbind', { status: 500 });
      failed(await services.deleted(path), /Status Code: 500/);
      const unbound = await services.deleted(path);
      assert.equal(unbound.at('state'), 'COMPLETE', unbound.text);
      assert.deepEqual([(await admin.get(path)).status, broker.bindings.size], [404, 0]);
    }
    broker.asynchronous = false;
    await services.deleted(`/v3/service_instances/${instance}`);
  });
});

/** Has the broker say in its catalog that requests of routes may go through it. */
async function offerRouteService({ broker, cc: { admin } }: TestServices): Promise<void> {
  const { services: offered } = broker.catalog as { services: object[] };
  broker.catalog = { services: offered.map((service) => ({ ...service, requires: ['route_forwarding'] })) };
  const guid = (await admin.get('/v3/service_brokers')).string('resources.0.guid');
  const { url, username, password } = broker;
  const authentication = { type: 'basic', credentials: { username, password } };
  const job = await admin.job(await admin.patch(`/v3/service_brokers/${guid}`, { url, authentication }));
  assert.equal(job.at('state'), 'COMPLETE', job.text);
}
