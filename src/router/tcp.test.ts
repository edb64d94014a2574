import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { RawBackend, RawClient, TestRouter } from './testing.ts';

describe('a TCP route', () => {
  let router: TestRouter;
  let port: number;
  let backend: RawBackend;
  before(async () => {
    port = await freePort();
    router = await TestRouter.start({ tcp: { reservable_ports: `${port},${port + 1}` } });
    backend = await RawBackend.start((socket, _soFar, newest) => socket.write(`you said ${newest}`));
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    await router[Symbol.asyncDispose]();
  });

  const isOpen = async (at: number): Promise<boolean> => {
    using client = new RawClient(at);
    client.say('anything');
    return await eventually('an answer or the end', () => (client.heard === '' ? client.isOver && 'no' : 'yes')).then(
      (answer) => answer === 'yes',
    );
  };

  it('is listened on while it has an endpoint; bytes and their end are carried to one that lives', async () => {
    assert.equal(await isOpen(port), false);
    const dead = { host: '127.0.0.1', port: await freePort(), uris: [`tcp.test:${port}`] };
    const alive = { host: '127.0.0.1', port: backend.port, uris: [`TCP.test:${port}`] };
    await router.register(dead);
    await router.register(alive);
    for (let n = 0; n < 3; n++) {
      using client = new RawClient(port);
      client.say('anything');
      await client.hears('you said anything');
      client.socket.end();
      await client.ends();
    }
    using stays = new RawClient(port);
    stays.say('first');
    await stays.hears('you said first');
    await router.unregister(dead);
    await router.unregister(alive);
    assert.equal(await isOpen(port), false);
    stays.say('last');
    await stays.hears('you said last');
  });

  it('is not served on a port that is not reservable, or is taken, until it is free', async () => {
    const strange = await freePort();
    await router.register({ host: '127.0.0.1', port: backend.port, uris: [`tcp.test:${strange}`] });
    assert.equal(await isOpen(strange), false);
    const squatter = createServer((socket) => socket.end('taken')).listen(port + 1, '127.0.0.1');
    const route = { host: '127.0.0.1', port: backend.port, uris: [`tcp.test:${port + 1}`] };
    await router.register(route);
    await new Promise((resolve) => squatter.close(resolve));
    await router.register(route);
    await eventually('the port', async () => await isOpen(port + 1));
    await router.unregister(route);
  });
});
