import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '#kernel/config.ts';
import { parseUser } from './authenticate.ts';
import { SshProxyConfig } from './config.ts';

describe('the configuration of the ssh proxy', () => {
  it('has an example that says the defaults', () => {
    const example = loadConfig(SshProxyConfig, resolve(import.meta.dirname, '../../config/ssh-proxy.example.yml'));
    const { host_key, nats_servers, uaa, cc_url } = example;
    const minimal = SshProxyConfig.parse({
      listen: {},
      host_key,
      nats_servers,
      uaa: { url: uaa.url, client_secret: uaa.client_secret },
      cc_url,
    });
    assert.deepEqual({ ...example, status: undefined }, { ...minimal, status: undefined });
  });
});

describe('a user name', () => {
  for (const [name, target] of [
    ['cf:8a3e-1/3', { process_guid: '8a3e-1', index: 3 }],
    ['cf:8a3e-1', { process_guid: '8a3e-1', index: 0 }],
    ['root', undefined],
    ['cf:', undefined],
    ['cf:../x/0', undefined],
    ['cf:8a3e-1/-1', undefined],
    ['cf:8a3e-1/0/0', undefined],
    ['diego:8a3e-1/0', undefined],
  ] as const) {
    it(`${name} names ${target ? 'an instance' : 'nothing'}`, () => assert.deepEqual(parseUser(name), target));
  }
});
