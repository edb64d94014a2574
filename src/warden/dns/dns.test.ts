import { strict as assert } from 'node:assert';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Resolver } from 'node:dns/promises';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { createLog } from '#kernel/log.ts';
import { parseCidr } from '../address.ts';
import { answer, NotAQuestion, RCODE, readQuestion } from './message.ts';
import { lookUp, nameserversIn, shuffled, type Zone } from './names.ts';
import { DnsServer } from './server.ts';
import type { Upstreams } from './upstream.ts';

const many = Array.from({ length: 200 }, (_, index) => ({ index, address: `10.254.1.${index}` }));
const zone: Zone = {
  routes: new Map([
    [
      'web.apps.internal',
      [
        { index: 0, address: '10.254.0.2' },
        { index: 1, address: '10.254.0.6' },
      ],
    ],
    ['many.apps.internal', many],
    ['db.other.test', [{ index: 0, address: '10.254.0.10' }]],
  ]),
  internal_domains: ['apps.internal'],
  pool: parseCidr('10.254.0.0/18') ?? { first: 0, last: 0 },
};
const log = createLog({ component: 'test', level: 'silent' });

test('a name is answered here, refused here, or asked of the world', () => {
  for (const [name, found] of [
    ['web.apps.internal', { addresses: ['10.254.0.2', '10.254.0.6'] }],
    ['1.web.apps.internal', { addresses: ['10.254.0.6'] }],
    ['2.web.apps.internal', 'no_such_name'],
    ['x.web.apps.internal', 'no_such_name'],
    ['apps.internal', 'no_such_name'],
    ['nothing.apps.internal', 'no_such_name'],
    ['db.other.test', { addresses: ['10.254.0.10'] }],
    ['7.db.other.test', 'no_such_name'],
    ['other.test', 'not_ours'],
    ['fakeapps.internal', 'not_ours'],
    ['', 'not_ours'],
    ['constructor', 'not_ours'],
    ['2.0.254.10.in-addr.arpa', 'no_such_name'],
    ['2.0.0.10.in-addr.arpa', 'not_ours'],
  ] as const) {
    assert.deepEqual(lookUp(name, zone), found, name);
  }
});

test("the host's resolvers are read from its resolv.conf, those of its loopback too", () => {
  assert.deepEqual(nameserversIn('# x\nnameserver 127.0.0.53\nsearch a\n nameserver 192.0.2.1 \nnameserver ::1\n'), [
    '127.0.0.53',
    '192.0.2.1',
  ]);
});

const ordered = (items: readonly number[]) => items.toSorted((a, b) => a - b);

test('an order is mixed, and nothing lost', () => {
  fc.assert(fc.property(fc.array(fc.integer()), (items) => assert.deepEqual(ordered(shuffled(items)), ordered(items))));
});

test('no bytes make the reader of questions do anything but read or refuse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const message = Buffer.from(bytes);
      try {
        const question = readQuestion(message);
        const reply = answer(question, { rcode: RCODE.ok, addresses: ['1.2.3.4'], max_bytes: 512 });
        assert.equal(reply.readUInt16BE(0), message.readUInt16BE(0));
      } catch (error) {
        assert.ok(error instanceof NotAQuestion);
      }
    }),
    { numRuns: 2000 },
  );
});

describe('the name server of containers', () => {
  let server: DnsServer;
  /** A name server of the world, which answers every name with its own address, but for silent.example. */
  let world: ReturnType<typeof createSocket>;
  const heard: string[] = [];
  let upstreams: Upstreams = { nameservers: [] };
  const resolver = new Resolver({ timeout: 4000, tries: 1 });

  before(async () => {
    world = createSocket('udp4');
    world.on('message', (message, from) => {
      const question = readQuestion(message);
      heard.push(question.name);
      if (question.name === 'silent.example') return;
      world.send(
        answer(question, { rcode: RCODE.ok, addresses: ['192.0.2.80'], max_bytes: 512 }),
        from.port,
        from.address,
      );
    });
    world.bind(0, '127.0.0.1');
    await once(world, 'listening');
    upstreams = { nameservers: ['127.0.0.1'], port: world.address().port };
    server = await DnsServer.open({ port: undefined, zone: () => zone, upstreams: () => upstreams, log });
    resolver.setServers([`127.0.0.1:${server.port}`]);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    world.close();
  });

  test('answers internal routes and lets the world answer the rest', async () => {
    assert.deepEqual((await resolver.resolve4('WEB.apps.internal')).toSorted(), ['10.254.0.2', '10.254.0.6']);
    assert.deepEqual(await resolver.resolve4('1.web.apps.internal', { ttl: true }), [
      { address: '10.254.0.6', ttl: 0 },
    ]);
    assert.deepEqual(await resolver.resolve4('www.example.com'), ['192.0.2.80']);
    await assert.rejects(resolver.resolve6('web.apps.internal'), { code: 'ENODATA' });
    await assert.rejects(resolver.resolve4('no.apps.internal'), { code: 'ENOTFOUND' });
    await assert.rejects(resolver.reverse('10.254.0.2'), { code: 'ENOTFOUND' });
    assert.deepEqual(heard, ['www.example.com'], 'internal names do not go out');
  });

  test('gives as many addresses as a datagram takes, and all of them by TCP', async () => {
    const question = Buffer.from('beef01000001000000000000046d616e79046170707308696e7465726e616c0000010001', 'hex');
    const asker = createSocket('udp4');
    asker.send(question, server.port, '127.0.0.1');
    const [reply] = (await once(asker, 'message')) as [Buffer];
    asker.close();
    assert.ok(reply.length <= 512 && reply.readUInt16BE(6) > 20, `${reply.readUInt16BE(6)} in ${reply.length} bytes`);
    const socket = connect(server.port, '127.0.0.1');
    socket.write(Buffer.concat([Buffer.from([0, question.length]), question]));
    let bytes = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) break;
    }
    assert.equal(bytes.readUInt16BE(2 + 6), many.length);
  });

  test('says that it failed while the world does not answer, and answers internal routes meanwhile', async () => {
    const before = upstreams;
    upstreams = { nameservers: [] };
    await assert.rejects(resolver.resolve4('www.example.com'), { code: 'ESERVFAIL' });
    upstreams = before;
    const slow = resolver.resolve4('silent.example');
    slow.catch(() => {});
    assert.equal((await resolver.resolve4('db.other.test')).length, 1);
    await assert.rejects(slow);
  });

  test('takes the port that it had, or another when that one is taken', async () => {
    const options = { zone: () => zone, upstreams: () => upstreams, log };
    await using other = await DnsServer.open({ ...options, port: server.port });
    assert.notEqual(other.port, server.port);
  });
});
