import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '#kernel/config.ts';
import { UaaConfig } from './config.ts';

describe("the UAA's configuration", () => {
  it('has an example that it takes', () => {
    const example = resolve(import.meta.dirname, '../../config/uaa.example.yml');
    const config = loadConfig(UaaConfig, example);
    assert.equal(config.issuer, 'http://uaa.cf.localhost/oauth/token');
    assert.equal(config.clients['my-dashboard']?.access_token_validity, 600);
  });

  it('refuses a key that it does not know and an administrator without a password', () => {
    const least = {
      hosts: { uaa: 'uaa.x', login: 'login.x' },
      database: { url: 'postgres://x' },
      nats_servers: ['nats://x'],
      status: { password: 'x' },
      admin: { password: 'x' },
    };
    assert.equal(UaaConfig.safeParse(least).success, true);
    assert.equal(UaaConfig.safeParse({ ...least, port: 1 }).success, false);
    assert.equal(UaaConfig.safeParse({ ...least, admin: {} }).success, false);
  });
});
