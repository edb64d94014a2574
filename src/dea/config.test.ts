import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError, loadConfig, parseConfig } from '#kernel/config.ts';
import { DeaConfig } from './config.ts';

const MINIMAL = `
base_dir: /tmp/dea
nats_servers: ["nats://127.0.0.1:4222"]
warden_socket: /tmp/warden.sock
ip: 127.0.0.1
cc_url: http://127.0.0.1:1
internal_api: { user: a, password: b }
stacks: [cflinuxfs4]
resources: { memory_mb: 1024, disk_mb: 1024 }
`;

describe("the DEA's configuration", () => {
  it('has an example that says the defaults', () => {
    const example = loadConfig(DeaConfig, resolve(import.meta.dirname, '../../config/dea.example.yml'));
    const minimal = parseConfig(DeaConfig, MINIMAL, 'minimal');
    for (const part of [
      'intervals',
      'staging',
      'instance',
      'droplet_cache_mb',
      'buildpack_cache_mb',
      'version',
    ] as const) {
      assert.deepEqual(example[part], minimal[part], part);
    }
  });

  it('refuses keys that it does not know, and what contradicts itself', () => {
    assert.throws(() => parseConfig(DeaConfig, `${MINIMAL}\nmemory: 1`, 'x'), ConfigError);
    assert.throws(
      () => parseConfig(DeaConfig, `${MINIMAL}\ninstance: { min_cpu_shares: 300 }`, 'x'),
      /min_cpu_shares must not be above/,
    );
  });
});
