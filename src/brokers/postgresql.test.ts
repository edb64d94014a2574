import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { TestService } from './osb-testing.ts';
import { TestBrokers } from './testing.ts';

const PLANS = [
  { name: 'small', description: 'small', size_mb: 16, connections: 2 },
  { name: 'large', description: 'large', size_mb: 64, connections: 4 },
];

describe('the broker of PostgreSQL', () => {
  let brokers: TestBrokers;
  let service: TestService;
  let port: number;
  before(async () => {
    port = await freePort();
    brokers = await TestBrokers.start({ postgresql: { port, check_interval_s: 0.3, plans: PLANS } });
    service = new TestService(brokers, 'postgresql');
  });
  after(async () => await brokers[Symbol.asyncDispose]());

  async function query(uri: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: uri });
    client.on('error', () => {});
    await client.connect();
    try {
      let rows: Record<string, unknown>[] = [];
      for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows;
      return rows;
    } finally {
      await client.end();
    }
  }
  const uriOf = ({ credentials }: { credentials: Record<string, string> }): string => credentials['uri'] ?? '';
  const enginePid = (): number =>
    (JSON.parse(readFileSync(join(brokers.folder, 'services/run/postgresql.json'), 'utf8')) as { pid: number }).pid;

  it('starts no server before the first database is asked for', () => {
    assert.throws(enginePid, /ENOENT/);
  });

  it('refuses who it does not know, other versions, and what makes no sense, each as the specification says', async () => {
    const guid = randomUUID();
    const path = `/postgresql/v2/service_instances/${guid}`;
    const json = { ...service.ids('small'), organization_guid: 'o', space_guid: 's' };
    const cases: [status: number, given: Parameters<TestBrokers['ask']>[1], path?: string][] = [
      [401, { headers: { authorization: undefined } }, '/postgresql/v2/catalog'],
      [401, { headers: { authorization: 'Basic bm86bm8=' } }, '/postgresql/v2/catalog'],
      [412, { headers: { 'x-broker-api-version': undefined } }, '/postgresql/v2/catalog'],
      [412, { headers: { 'x-broker-api-version': '3.0' } }, '/postgresql/v2/catalog'],
      [404, {}, '/postgresql/v2/nothing'],
      [400, { method: 'PUT', json: { ...json, plan_id: 'none' } }],
      [400, { method: 'PUT', json: { ...json, service_id: 'none' } }],
      [400, { method: 'PUT', json: { ...json, parameters: { unknown: 1 } } }],
      [400, { method: 'PUT', json: { ...json, space_guid: '' } }],
      [400, { method: 'PUT', json: [] }],
      [404, { method: 'PATCH', json }],
      [410, { method: 'DELETE', query: service.ids('small') }],
      [400, { method: 'DELETE' }],
      [404, {}],
      [410, {}, `${path}/last_operation`],
      [404, { method: 'PUT', json: service.ids('small') }, `${path}/service_bindings/${randomUUID()}`],
      [410, { method: 'DELETE', query: service.ids('small') }, `${path}/service_bindings/${randomUUID()}`],
    ];
    for (const [status, given, at = path] of cases) {
      const got = await brokers.ask(at, given);
      assert.equal(got.status, status, `${at} ${JSON.stringify(given)} gave ${JSON.stringify(got.body)}`);
      assert.equal(typeof got.body['description'], 'string');
    }
  });

  it('makes an instance once, however often it is asked, and another only under another id', async () => {
    const guid = randomUUID();
    const answers = await Promise.all([1, 2, 3].map(async () => await service.create(guid, 'small')));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((one, other) => one - other),
      [200, 200, 201],
    );
    assert.equal((await service.create(guid, 'large')).status, 409);
    const binding = randomUUID();
    const first = await service.bind(guid, binding);
    const second = await service.bind(guid, binding);
    assert.deepEqual([first.status, second.status], [201, 200]);
    assert.deepEqual(second.body, first.body);
    assert.equal((await service.bind(guid, binding, { role: 'x' })).status, 400);
    assert.equal((await service.delete(guid)).status, 200);
    assert.equal((await service.delete(guid)).status, 410);
  });

  it('lets a later binding use what an earlier one made, and the earlier one no more', async () => {
    const first = await service.bound('small');
    await query(uriOf(first), 'create table notes (text text)', "insert into notes values ('kept')");
    const binding = randomUUID();
    const { body } = await service.bind(first.instance, binding);
    assert.equal((await service.unbind(first.instance, first.binding)).status, 200);
    const uri = (body['credentials'] as { uri: string }).uri;
    assert.deepEqual(await query(uri, 'alter table notes add more int', 'select text from notes'), [{ text: 'kept' }]);
    await assert.rejects(query(uriOf(first), 'select 1'), /password authentication failed|does not exist/);
  });

  it('keeps tenants from each other, from the superuser and from the limits of their plan', async () => {
    const [one, other] = [await service.bound('small'), await service.bound('small')];
    const elsewhere = new URL(uriOf(one));
    elsewhere.pathname = new URL(uriOf(other)).pathname;
    await assert.rejects(query(elsewhere.href, 'select 1'), /permission denied for database/);
    elsewhere.pathname = '/postgres';
    await assert.rejects(query(elsewhere.href, 'select 1'), /permission denied for database/);
    const { database = '', username = '' } = one.credentials;
    for (const forbidden of [
      `alter database ${database} connection limit -1`,
      `alter role ${username} superuser`,
      `create role another`,
      `set role postgres`,
      `copy (select 1) to program 'id'`,
      `select pg_read_file('/etc/passwd')`,
      `set temp_file_limit = -1`,
    ])
      await assert.rejects(query(uriOf(one), forbidden), /permission denied|must be|only roles/, forbidden);
    const clients = await Promise.all(
      [1, 2, 3].map(async () => {
        const client = new pg.Client({ connectionString: uriOf(one) });
        await client.connect();
        return client;
      }),
    );
    // Two by the plan, and one for backups.
    await assert.rejects(query(uriOf(one), 'select 1'), /too many connections/);
    await Promise.all(clients.map(async (client) => await client.end()));
  });

  it('takes writing from a database over its size until there is room again, and no tenant can take it back', async () => {
    const full = await service.bound('small');
    const uri = uriOf(full);
    const fill = `insert into load select repeat(md5(random()::text), 30) from generate_series(1, 15000)`;
    await query(uri, 'create table load (text text)', fill);
    await eventually('writing is taken', async () => {
      const error = await query(uri, `insert into load values ('more')`).then(
        () => undefined,
        (fault: unknown) => fault,
      );
      return error instanceof Error && /permission denied for table/.test(error.message);
    });
    const { database = '' } = full.credentials;
    const owner = database.replace('db_', 'owner_');
    for (const forbidden of [`set role ${owner}`, 'create table more (a int)', `select lo_from_bytea(0, 'x')`])
      await assert.rejects(query(uri, forbidden), /permission denied/, forbidden);
    await assert.rejects(query(uri, 'set role none', 'create table public.more (a int)'), /permission denied/);
    const rows = await query(uri, 'delete from load where true', 'select count(*)::int as left from load');
    assert.deepEqual(rows, [{ left: 0 }]);
    await eventually('writing is given back', async () => {
      await query(uri, `insert into load values ('more')`);
      return true;
    });
  });

  it('grows with its plan', async () => {
    const { instance, credentials } = await service.bound('small');
    assert.equal((await service.update(instance, { plan: 'large' })).status, 200);
    const { body } = await service.fetch(instance);
    assert.equal(body['plan_id'], service.ids('large').plan_id);
    assert.equal((body['parameters'] as { connections: number }).connections, 4);
    assert.deepEqual(
      await query(credentials['uri'] ?? '', 'select datconnlimit from pg_database where datname = current_database()'),
      [{ datconnlimit: 5 }],
    );
  });

  it('backs up and restores, with tables, their owner and the open bindings', async () => {
    const { instance, credentials } = await service.bound('small');
    const uri = credentials['uri'] ?? '';
    const ended = async (): Promise<string> =>
      await eventually('the operation ends', async () => {
        const { body } = await service.lastOperation(instance);
        return body['state'] === 'in progress' ? undefined : String(body['state']);
      });
    await query(uri, 'create table notes (text text)', "insert into notes values ('before')");
    assert.equal((await service.update(instance, { parameters: { restore: 'latest' } })).status, 202);
    assert.equal(await ended(), 'failed', 'there is none yet');
    assert.equal((await service.update(instance, { parameters: { backup: true } })).status, 202);
    assert.equal(await ended(), 'succeeded');
    await query(uri, "insert into notes values ('after')", 'create table later (a int)');
    assert.equal((await service.update(instance, { parameters: { restore: 'latest' } })).status, 202);
    assert.equal(await ended(), 'succeeded');
    assert.deepEqual(await query(uri, "insert into notes values ('more')", 'select text from notes order by text'), [
      { text: 'before' },
      { text: 'more' },
    ]);
    await assert.rejects(query(uri, 'select * from later'), /does not exist/);
    assert.deepEqual(await query(uri, 'select datconnlimit from pg_database where datname = current_database()'), [
      { datconnlimit: 3 },
    ]);
    const { body } = await service.fetch(instance);
    assert.equal((body['parameters'] as { backups: unknown[] }).backups.length, 1);
  });

  it('serves while the broker is killed, and is taken over; killed itself, it comes back with every table', async () => {
    const { instance, credentials } = await service.bound('small');
    const client = new pg.Client({ connectionString: credentials['uri'] });
    client.on('error', () => {});
    await client.connect();
    await client.query('create table notes (text text)');
    const pid = enginePid();
    await brokers.process.signal('SIGKILL');
    await client.query("insert into notes values ('kept')");
    await brokers.process.resume();
    assert.equal(enginePid(), pid);
    assert.equal((await service.create(instance, 'small')).status, 200);
    process.kill(pid, 'SIGKILL');
    await eventually('the server is back', async () => {
      const rows = await query(credentials['uri'] ?? '', 'select text from notes');
      assert.deepEqual(rows, [{ text: 'kept' }]);
      return true;
    });
    assert.notEqual(enginePid(), pid);
  });

  it('goes on with an instance that was half made when it was killed', async () => {
    const guid = randomUUID();
    const asked = service.create(guid, 'small').catch(() => undefined);
    await brokers.process.signal('SIGKILL');
    await asked;
    await brokers.process.resume();
    const { status } = await service.create(guid, 'small');
    assert.ok(status === 200 || status === 201, String(status));
    const { body } = await service.bind(guid, randomUUID());
    await query((body['credentials'] as { uri: string }).uri, 'create table t (a int)');
    assert.equal((await service.delete(guid)).status, 200);
    assert.equal((await service.fetch(guid)).status, 404);
  });
});
