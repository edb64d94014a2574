import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestService } from './osb-testing.ts';
import { shortOf } from './short-name.ts';
import { TestBrokers } from './testing.ts';

describe('the broker of volumes', () => {
  let brokers: TestBrokers;
  let service: TestService;
  before(async () => {
    const plans = [{ name: 'small', description: 'small', size_mb: 16 }];
    brokers = await TestBrokers.start({ volume: { disk_mb: 40, plans } });
    service = new TestService(brokers, 'volume');
  });
  after(async () => await brokers[Symbol.asyncDispose]());
  /** By the id that a binding has, which is all that a DEA goes by. */
  const imageOf = (volume_id: string): string => join(brokers.folder, 'services/volume', `${volume_id}.img`);
  const volumeOf = async (instance: string): Promise<string> => {
    const { body } = await service.bind(instance, randomUUID());
    return (body['volume_mounts'] as [{ device: { volume_id: string } }])[0].device.volume_id;
  };

  it('makes a whole file system of the size of the plan, vcap being its owner, as long as there is room', async () => {
    const [one, other] = [await service.bound('small'), await service.bound('small')];
    const image = imageOf(await volumeOf(one.instance));
    assert.equal(statSync(image).size, 16 * 1024 * 1024);
    execFileSync('e2fsck', ['-fn', image], { stdio: 'ignore' });
    const root = execFileSync('debugfs', ['-R', 'stat <2>', image], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.match(root.toString(), /User: +2000 +Group: +2000/);
    const full = await service.create(randomUUID(), 'small');
    assert.equal(full.status, 503);
    assert.match(String(full.body['description']), /no room/);
    assert.equal((await service.delete(one.instance)).status, 200);
    assert.equal(existsSync(image), false);
    await service.delete(other.instance);
  });

  it('says where a container has it, as the binding asked', async () => {
    const { instance } = await service.bound('small');
    const volume_id = await volumeOf(instance);
    assert.ok(!volume_id.includes(shortOf(instance)), 'who knows the instance does not know the volume');
    const folder = `/home/vcap/data/${shortOf(instance)}`;
    const first = await service.bind(instance, randomUUID());
    assert.deepEqual(first.body, {
      credentials: { path: folder },
      volume_mounts: [
        {
          driver: 'ingot-volume',
          container_dir: folder,
          mode: 'rw',
          device_type: 'shared',
          device: { volume_id, mount_config: {} },
        },
      ],
    });
    const chosen = await service.bind(instance, randomUUID(), { mount: '/data/files', readonly: true });
    const [mount] = chosen.body['volume_mounts'] as { container_dir: string; mode: string }[];
    assert.deepEqual([mount?.container_dir, mount?.mode], ['/data/files', 'r']);
    for (const mount of ['/etc', '/data/../etc', '/mnt/.', 'data'])
      assert.equal((await service.bind(instance, randomUUID(), { mount })).status, 400, mount);
    await service.delete(instance);
  });
});
