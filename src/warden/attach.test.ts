import { strict as assert } from 'node:assert';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { type AttachRequest, FRAME, type FrameKind } from '#contracts/attach.ts';
import { encodeFrame, FrameReader, framesOf } from '#http/frames.ts';
import { WardenError } from '#http/warden-client.ts';
import { eventually } from '#testing/eventually.ts';
import { TestWarden } from '#testing/warden.ts';

const MB = 1024 * 1024;
const LIMITS = { memory_in_bytes: 64 * MB, disk_in_bytes: 32 * MB };

/** Holds one attached process and what it has said. */
class Held {
  readonly socket: Socket;
  out = '';
  err = '';
  end: { exit_status?: number; code?: string; message?: string } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {}); // some tests break off in the middle of a write
    void (async () => {
      for await (const { kind, payload } of framesOf(socket)) {
        if (kind === FRAME.data) this.out += payload.toString();
        if (kind === FRAME.stderr) this.err += payload.toString();
        if (kind === FRAME.exit || kind === FRAME.error) this.end = JSON.parse(payload.toString()) as Held['end'];
      }
    })().catch(() => {});
  }

  send(kind: FrameKind, payload?: Buffer | object): void {
    this.socket.write(encodeFrame(kind, payload));
  }

  async ended() {
    return await eventually('its end', () => this.end);
  }

  async says(what: RegExp): Promise<void> {
    await eventually(String(what), () => what.test(this.out));
  }
}

describe('an attached process', () => {
  let warden: TestWarden;
  let handle: string;
  before(async () => {
    warden = await TestWarden.start();
    ({ handle } = await warden.client.create({ stack: 'test', limits: LIMITS }));
  });
  after(async () => {
    await warden[Symbol.asyncDispose]();
  });

  async function hold(request: AttachRequest): Promise<Held> {
    const held = new Held(await warden.client.attach(handle));
    held.send(FRAME.start, request);
    return held;
  }
  const sh = (script: string): AttachRequest => ({ args: ['/bin/sh', '-c', script] });
  const processes = async (): Promise<number> => (await warden.client.info(handle)).pids;

  test('has its three streams and its exit status carried to and fro', async () => {
    const held = await hold(sh('id -un; cat; echo oops >&2; exit 7'));
    held.send(FRAME.data, Buffer.from('what it reads\n'));
    held.send(FRAME.eof);
    assert.deepEqual(await held.ended(), { exit_status: 7 });
    assert.equal(held.out, 'vcap\nwhat it reads\n');
    assert.equal(held.err, 'oops\n');
  });

  test('carries much through a slow reader without losing any of it', async () => {
    const socket = await warden.client.attach(handle);
    socket.write(encodeFrame(FRAME.start, sh('head -c 20000000 /dev/zero')));
    let bytes = 0;
    for await (const { kind, payload } of framesOf(socket)) {
      if (kind !== FRAME.data) continue;
      if (bytes % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      bytes += payload.length;
    }
    assert.equal(bytes, 20_000_000);
  });

  test('has a terminal with a size that changes, and its keys mean something', async () => {
    const held = await hold({ args: ['/bin/sh'], tty: { columns: 91, rows: 33 } });
    held.send(FRAME.data, Buffer.from('stty size; tty\n'));
    await held.says(/33 91[\s\S]*\/dev\/pts\//);
    held.send(FRAME.resize, { columns: 100, rows: 40 });
    await eventually('the new size', () => {
      held.send(FRAME.data, Buffer.from('stty size\n'));
      return held.out.includes('40 100');
    });
    held.send(FRAME.data, Buffer.from('sleep 1000\n'));
    await eventually('the sleep', async () => (await processes()) >= 3);
    held.send(FRAME.data, Buffer.from('\x03'));
    held.send(FRAME.data, Buffer.from('echo interrupted $((6*7))\n'));
    await held.says(/interrupted 42/);
    held.send(FRAME.data, Buffer.from('exit 5\n'));
    assert.deepEqual(await held.ended(), { exit_status: 5 });
  });

  test('does not hold up the daemon when it reads nothing of what is typed', async () => {
    const held = await hold({
      args: ['/bin/sh', '-c', 'stty raw; echo ready; sleep 1000'],
      tty: { columns: 80, rows: 24 },
    });
    await held.says(/ready/);
    for (let n = 0; n < 20; n++) held.send(FRAME.data, Buffer.alloc(65_536, 'x'));
    for (let n = 0; n < 20; n++) await warden.client.ping();
    held.socket.destroy();
    await eventually('gone', async () => (await processes()) === 1);
  });

  test('gets signals', async () => {
    const held = await hold(sh('trap "echo got it; exit 3" USR1; echo ready; while :; do sleep 0.05; done'));
    await held.says(/ready/);
    held.send(FRAME.signal, { signal: 'USR1' });
    assert.deepEqual(await held.ended(), { exit_status: 3 });
    assert.match(held.out, /got it/);
  });

  for (const [what, request] of [
    ['without a terminal', sh('trap "" HUP; echo ready; sleep 1000; sleep 1000')],
    ['on a terminal', { ...sh('echo ready; sleep 1000'), tty: { columns: 80, rows: 24 } }],
  ] as const) {
    test(`is gone when its caller is, ${what}`, async () => {
      const held = await hold(request);
      await held.says(/ready/);
      held.socket.destroy();
      await eventually('nothing left of it', async () => (await processes()) === 1);
    });
  }

  test('is refused with the reason when it cannot be', async () => {
    const none = await hold({ args: [] });
    assert.equal((await none.ended()).code, 'invalid_request');
    const missing = await hold({ args: ['/no/such/program'] });
    assert.notEqual((await missing.ended()).exit_status, 0);
    assert.match(missing.err, /no such/i);
    const rubbish = new Held(await warden.client.attach(handle));
    rubbish.socket.write(Buffer.alloc(100, 0xff));
    assert.match((await rubbish.ended()).message ?? '', /no frame of kind 255/);
    const refused = (error: unknown): boolean => error instanceof WardenError && error.code === 'container_not_found';
    await assert.rejects(warden.client.attach('nobody'), refused);
  });

  test('reaches a port of the loopback inside the container, and nothing of the host by it', async () => {
    await warden.client.spawn(handle, {
      args: ['/usr/bin/python3', '-c', SERVER],
    });
    const socket = await eventually('the port open', async () => {
      return await warden.client.dial(handle, { host: 'localhost', port: 9977 }).catch(() => undefined);
    });
    socket.end('hello');
    assert.equal(await text(socket), 'HELLO');
    const nobody = warden.client.dial(handle, { host: '127.0.0.1', port: 9978 });
    await assert.rejects(nobody, (error: unknown) => error instanceof WardenError && error.code === 'path_not_found');
  });
});

const SERVER = `
import socket
s = socket.create_server(('127.0.0.1', 9977))
c, _ = s.accept()
data = b''
while True:
    part = c.recv(100)
    if not part: break
    data += part
c.sendall(data.upper())
`;

test('frames come out of any chunks as they went in', async () => {
  const { default: fc } = await import('fast-check');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...Object.values(FRAME)), fc.uint8Array({ maxLength: 20 }))),
      fc.array(fc.nat({ max: 9 }), { minLength: 1 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(([kind, payload]) => encodeFrame(kind, Buffer.from(payload))));
        const reader = new FrameReader();
        const seen: [FrameKind, Uint8Array][] = [];
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = (cuts[n % cuts.length] ?? 0) + 1;
          reader.add(bytes.subarray(at, at + size));
          at += size;
          for (let frame = reader.next(); frame; frame = reader.next()) {
            seen.push([frame.kind, new Uint8Array(frame.payload)]);
          }
        }
        assert.deepEqual(
          seen,
          frames.map(([kind, payload]) => [kind, new Uint8Array(payload)]),
        );
      },
    ),
  );
});
