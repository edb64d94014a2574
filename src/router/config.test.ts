import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError, loadConfig, parseConfig } from '#kernel/config.ts';
import { RouterConfig } from './config.ts';

describe("the router's configuration", () => {
  it('is what the example shows, default by default', () => {
    const shown = loadConfig(RouterConfig, join(import.meta.dirname, '../../config/router.example.yml'));
    const { tls, tcp, nats_servers, status, ...rest } = shown;
    const least = RouterConfig.parse({ nats_servers, status: { user: status.user, password: status.password } });
    assert.deepEqual({ ...least, nats_servers: [], status }, { ...rest, nats_servers: [], status });
    assert.deepEqual([tls?.port, tcp?.reservable_ports], [443, '1024-1123']);
  });

  it('refuses keys that it does not know, and intervals that make no sense', () => {
    const text = 'nats_servers: [nats://x]\nstatus: {user: a, password: b}\n';
    assert.throws(() => parseConfig(RouterConfig, `${text}prot: 80\n`, 'test'), ConfigError);
    assert.throws(
      () => parseConfig(RouterConfig, `${text}prune_interval_s: 200\n`, 'test'),
      /prune_interval_s must be below/,
    );
  });
});
