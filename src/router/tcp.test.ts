import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freePort } from '#testing/free-port.ts';
import { portOf, RawBackend, RawClient, TestRouter } from './testing.ts';

describe('a TCP route', () => {
  it('carries bytes to an endpoint that lives, and their end', async () => {
    await using router = await TestRouter.start({ tcp: [{ port: 0, name: 'tcp.test:1024' }] });
    await using backend = await RawBackend.start((socket, _soFar, newest) => socket.write(`you said ${newest}`));
    const dead = await freePort();
    await router.register({ host: '127.0.0.1', port: dead, uris: ['tcp.test:1024'] });
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['tcp.test:1024'] });
    const port = portOf(router.addresses['tcp.test:1024'] ?? '');
    for (let n = 0; n < 3; n++) {
      using client = new RawClient(port);
      client.say('anything');
      await client.hears('you said anything');
      client.socket.end();
      await client.ends();
    }
    await router.unregister({ host: '127.0.0.1', port: dead, uris: ['tcp.test:1024'] });
    await router.unregister({ host: '127.0.0.1', port: backend.port, uris: ['tcp.test:1024'] });
    using refused = new RawClient(port);
    assert.equal(await refused.ends(), '');
  });
});
