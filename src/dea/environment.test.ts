import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { instanceEnvironment, stagingEnvironment } from './environment.ts';
import { sampleStaging, sampleStart } from './testing/sample-messages.ts';

const facts = {
  host_ip: '10.0.0.7',
  container_ip: '10.254.0.2',
  ports: [
    { host_port: 61001, container_port: 8080 },
    { host_port: 61002, container_port: 9090 },
  ],
  started_at_ms: Date.UTC(2030, 0, 2),
};

const asMap = (env: string[]): Record<string, string> =>
  Object.fromEntries(env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));

describe("an instance's environment", () => {
  it('says where it is reached, from outside and from inside', () => {
    const env = asMap(instanceEnvironment(sampleStart({ index: 3, instance: 'guid-3' }), facts));
    assert.equal(env['PORT'], '8080');
    assert.equal(env['VCAP_APP_PORT'], '8080');
    assert.equal(env['VCAP_APP_HOST'], '0.0.0.0');
    assert.equal(env['CF_INSTANCE_INDEX'], '3');
    assert.equal(env['CF_INSTANCE_GUID'], 'guid-3');
    assert.equal(env['CF_INSTANCE_ADDR'], '10.0.0.7:61001');
    assert.equal(env['CF_INSTANCE_INTERNAL_IP'], '10.254.0.2');
    assert.deepEqual(JSON.parse(env['CF_INSTANCE_PORTS'] ?? ''), [
      { external: 61001, internal: 8080 },
      { external: 61002, internal: 9090 },
    ]);
    assert.equal(env['MEMORY_LIMIT'], '128m');
    assert.equal(env['LANG'], 'C.UTF-8');
    assert.equal(env['HOME'], '/home/vcap/app');
  });

  it('completes VCAP_APPLICATION with what only the DEA knows', () => {
    const env = asMap(instanceEnvironment(sampleStart({ instance: 'guid-0' }), facts));
    assert.deepEqual(JSON.parse(env['VCAP_APPLICATION'] ?? ''), {
      application_id: 'app-1',
      application_name: 'shop',
      instance_id: 'guid-0',
      instance_index: 0,
      host: '0.0.0.0',
      port: 8080,
      started_at: '2030-01-02T00:00:00.000Z',
      started_at_timestamp: 1893542400,
      start: '2030-01-02T00:00:00.000Z',
      state_timestamp: 1893542400,
    });
  });

  it('lets a later variable win over an earlier one, and none over what the platform says', () => {
    const chosen: [string, string][] = [
      ['A', 'group'],
      ['A', 'user'],
      ['PORT', '1'],
      ['LANG', 'de_DE.UTF-8'],
      ['TEXT', 'two\nlines = "quoted"'],
      ['bad=name', 'x'],
      ['NUL', 'a\0b'],
    ];
    const lines = instanceEnvironment(sampleStart({ env: chosen }), facts);
    const env = asMap(lines);
    assert.equal(env['A'], 'user');
    assert.equal(env['PORT'], '8080');
    assert.equal(env['LANG'], 'de_DE.UTF-8');
    assert.equal(env['TEXT'], 'two\nlines = "quoted"');
    assert.ok(!lines.some((line) => line.startsWith('bad') || line.startsWith('NUL')));
    assert.equal(lines.filter((line) => line.startsWith('A=')).length, 1);
  });

  it('names no port for a process without one, and no index for a task', () => {
    const bare = asMap(instanceEnvironment(sampleStart({ kind: 'TASK', ports: [] }), { ...facts, ports: [] }));
    assert.equal(bare['PORT'], undefined);
    assert.equal(bare['CF_INSTANCE_INDEX'], undefined);
    assert.equal(bare['CF_INSTANCE_PORTS'], '[]');
  });

  const databases: [string, string | undefined][] = [
    ['mysql://u:p@h/db', 'mysql2://u:p@h/db'],
    ['postgresql://u:p@h/db', 'postgres://u:p@h/db'],
    ['postgres://u:p@h/db', 'postgres://u:p@h/db'],
    ['amqp://h', undefined],
  ];
  for (const [uri, expected] of databases) {
    it(`has ${expected === undefined ? 'no DATABASE_URL' : `DATABASE_URL ${expected}`} for a service at ${uri}`, () => {
      const vcap_services = { db: [{ credentials: { uri } }] };
      assert.equal(asMap(instanceEnvironment(sampleStart({ vcap_services }), facts))['DATABASE_URL'], expected);
    });
  }
});

describe('the environment of staging', () => {
  it('names the stack and the limits, and leaves ports empty', () => {
    const env = asMap(
      stagingEnvironment(sampleStaging({ env: [['NPM_TOKEN', 'x']] }), { memory_mb: 1024, timeout_s: 900 }),
    );
    assert.equal(env['CF_STACK'], 'test');
    assert.equal(env['MEMORY_LIMIT'], '1024m');
    assert.equal(env['STAGING_TIMEOUT'], '900');
    assert.equal(env['NPM_TOKEN'], 'x');
    assert.equal(env['CF_INSTANCE_ADDR'], '');
    assert.equal(env['PORT'], undefined);
  });
});
