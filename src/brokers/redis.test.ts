import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { TestService } from './osb-testing.ts';
import { redis, type RedisLogin } from './redis/client.ts';
import { shortOf } from './short-name.ts';
import { TestBrokers } from './testing.ts';

describe('the broker of Redis', () => {
  let brokers: TestBrokers;
  let service: TestService;
  before(async () => {
    const first = await freePort();
    const plans = [
      { name: 'small', description: 'small', memory_mb: 8, clients: 20 },
      { name: 'large', description: 'large', memory_mb: 32, clients: 40 },
    ];
    brokers = await TestBrokers.start({ redis: { ports: { first, last: first + 1 }, plans } });
    service = new TestService(brokers, 'redis');
  });
  after(async () => await brokers[Symbol.asyncDispose]());

  const loginOf = ({ credentials }: { credentials: Record<string, unknown> }): RedisLogin =>
    credentials as unknown as RedisLogin;
  const pidOf = (instance: string): number => {
    const file = join(brokers.folder, 'services/run', `redis-${shortOf(instance)}.json`);
    return (JSON.parse(readFileSync(file, 'utf8')) as { pid: number }).pid;
  };

  it('gives each instance a server of its own, each binding a user, and takes both away', async () => {
    const [one, other] = [await service.bound('small'), await service.bound('small')];
    assert.notEqual(one.credentials['port'], other.credentials['port']);
    await redis(loginOf(one), ['SET', 'a', '1']);
    assert.deepEqual(await redis(loginOf(other), ['GET', 'a']), ['']);
    await assert.rejects(redis({ ...loginOf(other), password: loginOf(one).password }, ['PING']), /WRONGPASS/);
    const second = randomUUID();
    const { body } = await service.bind(one.instance, second);
    assert.equal((await service.unbind(one.instance, one.binding)).status, 200);
    await assert.rejects(redis(loginOf(one), ['PING']), /WRONGPASS/);
    assert.deepEqual(await redis(loginOf(body as { credentials: Record<string, unknown> }), ['GET', 'a']), ['1']);
    assert.equal((await service.create(randomUUID(), 'small')).status, 500, 'all ports are taken');
    for (const { instance } of [one, other]) assert.equal((await service.delete(instance)).status, 200);
    assert.deepEqual(readdirSync(join(brokers.folder, 'services/redis')), []);
    assert.equal(existsSync(join(brokers.folder, 'services/run', `redis-${shortOf(one.instance)}.json`)), false);
  });

  it('lets tenants do what they came for, and nothing to the server', async () => {
    const tenant = await service.bound('small');
    const login = loginOf(tenant);
    await redis(login, ['LPUSH', 'l', '1'], ['EVAL', 'return redis.call("get", "a")', '0'], ['FLUSHALL'], ['INFO']);
    for (const forbidden of [
      'CONFIG GET dir',
      'ACL LIST',
      'DEBUG SLEEP 0',
      'SHUTDOWN',
      'REPLICAOF 1.2.3.4 1',
      'MONITOR',
      'MODULE LIST',
      'SAVE',
    ])
      await assert.rejects(redis(login, forbidden.split(' ')), /NOPERM|not allowed/, forbidden);
    await service.delete(tenant.instance);
  });

  it('holds what the plan says, and more when that is changed, without a restart', async () => {
    const tenant = await service.bound('small');
    const login = loginOf(tenant);
    const fill = async (): Promise<unknown> =>
      await redis(login, ...Array.from({ length: 12 }, (_, n) => ['SET', `k${n}`, 'x'.repeat(1024 * 1024)]));
    await assert.rejects(fill(), /OOM/);
    const pid = pidOf(tenant.instance);
    assert.equal((await service.update(tenant.instance, { plan: 'large' })).status, 200);
    await fill();
    assert.equal(pidOf(tenant.instance), pid);
    const policy = { 'maxmemory-policy': 'allkeys-lru' };
    assert.equal((await service.update(tenant.instance, { parameters: policy })).status, 200);
    const { body } = await service.fetch(tenant.instance);
    const told = body['parameters'] as Record<string, unknown>;
    assert.deepEqual([told['maxmemory-policy'], told['memory_mb']], ['allkeys-lru', 32]);
    await service.delete(tenant.instance);
  });

  it('serves while the broker is killed; killed itself, it comes back with what it holds and who may log in', async () => {
    const tenant = await service.bound('small');
    const login = loginOf(tenant);
    await redis(login, ['SET', 'kept', 'yes']);
    const pid = pidOf(tenant.instance);
    await brokers.process.signal('SIGKILL');
    assert.deepEqual(await redis(login, ['GET', 'kept']), ['yes']);
    await brokers.process.resume();
    assert.equal(pidOf(tenant.instance), pid);
    // Redis writes its file once a second.
    await eventually('it is on disk', async () =>
      (await redis(login, ['INFO', 'persistence']))[0]?.includes('aof_pending_bio_fsync:0'),
    );
    process.kill(pid, 'SIGKILL');
    await eventually('it is back', async () => {
      assert.deepEqual(await redis(login, ['GET', 'kept']), ['yes']);
      return pidOf(tenant.instance) !== pid;
    });
    await service.delete(tenant.instance);
  });
});
