import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { test } from 'node:test';
import { ConfigError, loadConfig, parseConfig } from '#kernel/config.ts';
import { WardenConfig } from './config.ts';

test('the example configuration is what the schema takes, and says the defaults', () => {
  const example = loadConfig(WardenConfig, join(import.meta.dirname, '../../config/warden.example.yml'));
  const { socket_path, depot, stacks, reports } = example;
  assert.deepEqual(WardenConfig.parse({ socket_path, depot, stacks, reports }), example);
});

test('a configuration that makes no sense is refused by the name of its key', () => {
  const good = 'socket_path: /s\ndepot: /d\nstacks: {}\n';
  for (const [line, key] of [
    ['network_pool: 10.0.0.0', 'network_pool'],
    ['name: Warden', 'name'],
    ['allow_host_access: ["192.0.2.1"]', 'allow_host_access'],
    ['host_port_pool: { first: 9, last: 8 }', 'host_port_pool'],
    ['disk: 3', 'disk'],
  ] as const) {
    assert.throws(
      () => parseConfig(WardenConfig, `${good}${line}`, 'test'),
      (error) => error instanceof ConfigError && error.message.includes(key),
    );
  }
});
