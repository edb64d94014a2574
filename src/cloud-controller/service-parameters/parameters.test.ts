import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { CATALOG } from '#testing/osb-broker.ts';
import { TestServices } from '../services-testing.ts';
import { faultOfSchema, faultsOfParameters } from './json-schema.ts';

const $schema = 'http://json-schema.org/draft-04/schema#';
const SIZE = {
  $schema,
  type: 'object',
  properties: { size: { type: 'integer', minimum: 1 }, engine: { enum: ['a', 'b'] } },
  required: ['size'],
  additionalProperties: false,
};

describe('a schema of a catalog', () => {
  const later = 'http://json-schema.org/draft-07/schema#';
  const recursive = {
    $schema,
    properties: { child: { $ref: '#' }, b: { $ref: '#/definitions/b' } },
    definitions: { b: {} },
  };
  for (const [what, schema, expected] of [
    ['of draft 4', SIZE, undefined],
    ['of draft 7', { $schema: later, const: 1, exclusiveMinimum: 3, properties: { a: true } }, undefined],
    ['of 2020-12', { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' }, undefined],
    ['that refers to itself', recursive, undefined],
    ['without a version', { type: 'object' }, /must have \$schema key but was not present/],
    ['of a version of its own', { $schema: 'http://example.com/mine' }, /Custom meta schemas are not supported/],
    ['that refers to others', { $schema, items: { $ref: 'http://x/y' } }, /No external references are allowed/],
    ['with a type that is none', { $schema, type: 'thing' }, /Must conform to JSON Schema Draft 04.*: type: /],
    [
      'with a bad bound',
      { $schema, properties: { a: { minimum: '1' } } },
      /properties\/a\/minimum: .*Expected "number"/,
    ],
    ['with a bound of another draft', { $schema, exclusiveMinimum: 3 }, /exclusiveMinimum: .*Expected "boolean"/],
    ['with a broken pattern', { $schema, properties: { a: { pattern: '(' } } }, /properties\/a\/pattern: .*regex/],
    ['that leads nowhere', { $schema, $ref: '#/definitions/none' }, /Unresolved \$ref "#\/definitions\/none"\.$/],
    ['that leads in circles', { $schema, $ref: '#' }, /circles/],
  ] as const) {
    it(`${what} is ${expected ? 'refused' : 'taken'}, and stays as it is`, () => {
      const before_ = structuredClone(schema);
      const fault = faultOfSchema(schema);
      if (expected) assert.match(String(fault), expected);
      else assert.equal(fault, undefined);
      assert.deepEqual(schema, before_);
    });
  }

  it('tells all that is wrong with parameters, each thing once', () => {
    assert.deepEqual(faultsOfParameters(SIZE, { size: 3, engine: 'a' }), []);
    assert.deepEqual(faultsOfParameters(SIZE, { size: 0, engine: 'c', colour: 'red' }), [
      'size: 0 is less than 1',
      'engine: Instance does not match any of ["a","b"]',
      'colour: is not known to the plan',
    ]);
    assert.deepEqual(faultsOfParameters(SIZE, {}), ['Instance does not have required property "size"']);
  });

  it('whose pattern would run for ever is given up', () => {
    const schema = { $schema, properties: { name: { pattern: '^(a+)+$' } } };
    assert.equal(faultOfSchema(schema), undefined);
    const faults = faultsOfParameters(schema, { name: `${'a'.repeat(100)}!` });
    assert.deepEqual(faults, ['they cannot be checked: the check takes too long']);
  });
});

describe('parameters of services', () => {
  let services: TestServices;
  before(async () => {
    services = await TestServices.start();
    const role = { $schema, type: 'object', properties: { role: { enum: ['reader'] } } };
    await offer({
      service_instance: {
        create: { parameters: SIZE },
        update: { parameters: { $schema, properties: { size: { type: 'integer' } } } },
      },
      service_binding: { create: { parameters: role } },
    });
  });
  after(async () => await services[Symbol.asyncDispose]());

  /** The broker's catalog, with these schemas for its first plan, at the end of its job. */
  const offer = async (schemas: object): Promise<string> => {
    const { admin } = services.cc;
    const [service] = structuredClone(CATALOG.services);
    const [small, ...others] = service?.plans ?? [];
    services.broker.catalog = { services: [{ ...service, plans: [{ ...small, schemas }, ...others] }] };
    const guid = (await admin.get('/v3/service_brokers')).string('resources.0.guid');
    const { url, username, password } = services.broker;
    const authentication = { type: 'basic', credentials: { username, password } };
    return (await admin.job(await admin.patch(`/v3/service_brokers/${guid}`, { url, authentication }))).text;
  };

  it('are held against the plan before its broker is asked', async () => {
    const { admin } = services.cc;
    const refused = /^Parameters are not as the service plan wants them: /;
    const asked = services.broker.calls.length;
    const created = await services.request('db', { parameters: { size: 'big' } });
    assert.deepEqual(created.error, [
      422,
      'Parameters are not as the service plan wants them: size: Instance type "string" is invalid. Expected "integer".',
    ]);
    assert.equal(services.broker.calls.length, asked);
    const guid = await services.instance('db', { parameters: { size: 2 } });
    const path = `/v3/service_instances/${guid}`;
    const [status, text] = (await admin.patch(path, { parameters: { size: 'big' } })).error;
    assert.equal(status, 422);
    assert.match(String(text), refused);
    const other_plan = { service_plan: { data: { guid: await services.planGuid('large') } } };
    // The other plan says nothing of parameters.
    const moved = await admin.job(await admin.patch(path, { parameters: { size: 'big' }, relationships: other_plan }));
    assert.equal(moved.at('state'), 'COMPLETE', moved.text);

    const bound_to = await services.instance('second', { parameters: { size: 1 } });
    const app = await services.cc.applyManifest({ applications: [{ name: 'client', memory: '64M' }] });
    assert.match(String((await services.requestBind(bound_to, app, { parameters: { role: 'x' } })).error[1]), refused);
    const manifest = { name: 'client', services: [{ name: 'second', parameters: { role: 'x' } }] };
    await assert.rejects(
      services.cc.applyManifest({ applications: [manifest] }),
      /For service 'second': Parameters are/,
    );
    assert.equal(services.broker.countOf('bind'), 0);
    const bound = await services.bind(bound_to, app, { parameters: { role: 'reader' } });
    assert.equal(bound.at('state'), 'COMPLETE', bound.text);
  });

  it('have schemas that a catalog is refused for when they are none, or large', async () => {
    const bad = { service_instance: { create: { parameters: { $schema, type: 'thing' } } } };
    assert.match(
      await offer(bad),
      /Schema service_instance\.create\.parameters is not valid\. Must conform to JSON Schema/,
    );
    const large = { service_binding: { create: { parameters: { $schema, description: 'x'.repeat(65_536) } } } };
    assert.match(
      await offer(large),
      /Schema service_binding\.create\.parameters is not valid\. Must not be larger than 64KB/,
    );
  });
});
