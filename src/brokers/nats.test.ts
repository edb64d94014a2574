import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { TestService } from './osb-testing.ts';
import { shortOf } from './short-name.ts';
import { TestBrokers } from './testing.ts';

const plans = [
  { name: 'small', description: 'small', connections: 3, stream_disk_mb: 1, stream_memory_mb: 0, streams: 2 },
  { name: 'large', description: 'large', connections: 10, stream_disk_mb: 8, stream_memory_mb: 1, streams: 5 },
];

describe('the broker of NATS', () => {
  let brokers: TestBrokers;
  let service: TestService;
  before(async () => {
    brokers = await TestBrokers.start({ nats: { port: await freePort(), plans } });
    service = new TestService(brokers, 'nats');
  });
  after(async () => await brokers[Symbol.asyncDispose]());

  const open = async ({ credentials }: { credentials: Record<string, unknown> }): Promise<NatsConnection> =>
    await connect({
      servers: `${String(credentials['host'])}:${String(credentials['port'])}`,
      user: String(credentials['username']),
      pass: String(credentials['password']),
      reconnect: false,
    });
  const record = (): string => join(brokers.folder, 'services/run/nats.json');
  const pid = (): number => (JSON.parse(readFileSync(record(), 'utf8')) as { pid: number }).pid;

  it('gives each instance an account that hears nothing of the others, and each binding a user', async () => {
    const [one, other] = [await service.bound('small'), await service.bound('small')];
    const [mine, theirs] = [await open(one), await open(other)];
    const heard: string[] = [];
    theirs.subscribe('>', { callback: (_error, message) => void heard.push(`theirs: ${message.subject}`) });
    mine.subscribe('>', { callback: (_error, message) => void heard.push(`mine: ${message.subject}`) });
    await Promise.all([mine.flush(), theirs.flush()]);
    mine.publish('greeting');
    await Promise.all([mine.flush(), theirs.flush()]);
    assert.deepEqual(heard, ['mine: greeting']);

    const second = await service.bind(one.instance, randomUUID());
    const again = await open(second.body as { credentials: Record<string, unknown> });
    assert.equal(mine.isClosed(), false, 'who is in stays in while others come');
    await service.unbind(one.instance, one.binding);
    await mine.closed();
    await assert.rejects(open(one), /[Aa]uthorization/);
    assert.equal(again.isClosed() || theirs.isClosed(), false);
    await Promise.all([again.close(), theirs.close()]);
    for (const { instance } of [one, other]) assert.equal((await service.delete(instance)).status, 200);
    assert.equal(existsSync(record()), false, 'nobody has an account: no server');
  });

  it('holds connections and streams to the plan, and more when that is changed', async () => {
    const tenant = await service.bound('small');
    const connections = [await open(tenant), await open(tenant), await open(tenant)];
    await assert.rejects(open(tenant));
    const manager = await jetstreamManager(connections[0] as NatsConnection);
    const wanted = { name: 'orders', subjects: ['orders'], max_bytes: 4 * 1024 * 1024 };
    await assert.rejects(manager.streams.add(wanted), /insufficient storage/);
    await assert.rejects(
      manager.streams.add({ ...wanted, max_bytes: 1000, storage: StorageType.Memory }),
      /insufficient/,
    );
    await Promise.all(connections.map(async (connection) => await connection.close()));
    assert.equal((await service.update(tenant.instance, { plan: 'large' })).status, 200);
    const connection = await open(tenant);
    await (await jetstreamManager(connection)).streams.add(wanted);
    await connection.close();
    await service.delete(tenant.instance);
    const store = join(brokers.folder, 'services/nats/store/jetstream', `a_${shortOf(tenant.instance)}`);
    assert.equal(existsSync(store), false, 'what the streams held is gone');
  });

  it('serves while the broker is killed; killed itself, it comes back with its streams', async () => {
    const tenant = await service.bound('small');
    const connection = await open(tenant);
    await (
      await jetstreamManager(connection)
    ).streams.add({ name: 'orders', subjects: ['orders'], max_bytes: 100_000 });
    await jetstream(connection).publish('orders', 'one');
    const before = pid();
    await brokers.process.signal('SIGKILL');
    await jetstream(connection).publish('orders', 'two');
    await brokers.process.resume();
    assert.equal(pid(), before);
    assert.equal(connection.isClosed(), false);
    process.kill(before, 'SIGKILL');
    await connection.closed();
    await eventually('it is back with what was there', async () => {
      const next = await open(tenant);
      const { state } = await (await jetstreamManager(next)).streams.info('orders');
      await next.close();
      assert.equal(state.messages, 2);
      return pid() !== before;
    });
    await service.delete(tenant.instance);
  });
});
