/** For the router's own tests: a router on a real bus, backends that answer raw bytes, and a client that says raw bytes. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Bus } from '#bus/bus.ts';
import { routerRegister, routerUnregister, type RouteMessage } from '#contracts/router.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import { systemClock } from '#kernel/clock.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { RouterConfig } from './config.ts';
import { start } from './main.ts';

export const STATUS_USER = { user: 'status', password: 'secret' };

/** A router with a bus of its own. */
export class TestRouter implements AsyncDisposable {
  readonly bus: Bus;
  readonly nats: TestNats;
  readonly addresses: Readonly<Record<string, string>>;
  readonly #running: RunningComponent;

  private constructor(nats: TestNats, bus: Bus, running: RunningComponent) {
    this.nats = nats;
    this.bus = bus;
    this.#running = running;
    this.addresses = running.addresses;
  }

  static async start(overrides: object = {}, context: Partial<ComponentContext> = {}): Promise<TestRouter> {
    const nats = await TestNats.start();
    try {
      const bus = await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog });
      const config = RouterConfig.parse({
        host: '127.0.0.1',
        port: 0,
        nats_servers: [nats.url],
        status: { port: 0, ...STATUS_USER },
        start_response_delay_s: 0,
        drain: { wait_s: 0, timeout_s: 1 },
        ...overrides,
      });
      return new TestRouter(nats, bus, await start(config, { log: silentLog, clock: systemClock, ...context }));
    } catch (error) {
      await nats[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return portOf(this.addresses['http'] ?? '');
  }

  /** Registers and waits until the route is in use. */
  async register(message: RouteMessage): Promise<void> {
    this.bus.publish(routerRegister, message);
    await this.settle();
  }

  async unregister(message: RouteMessage): Promise<void> {
    this.bus.publish(routerUnregister, message);
    await this.settle();
  }

  /** Resolves when the router has heard everything said so far. */
  async settle(): Promise<void> {
    await this.bus.flush();
    const uri = `settled-${Math.random().toString(36).slice(2)}.test`;
    this.bus.publish(routerRegister, { host: '127.0.0.1', port: 1, uris: [uri] });
    await eventually(
      'the router heard',
      async () =>
        !(await talk(this.port, `HEAD / HTTP/1.1\r\nHost: ${uri}\r\nConnection: close\r\n\r\n`)).startsWith(
          'HTTP/1.1 404',
        ),
    );
    this.bus.publish(routerUnregister, { host: '127.0.0.1', port: 1, uris: [uri] });
  }

  async status(path: string): Promise<{ status: number; text: string }> {
    const authorization = `Basic ${Buffer.from(`${STATUS_USER.user}:${STATUS_USER.password}`).toString('base64')}`;
    const response = await fetch(`http://${this.addresses['status']}${path}`, { headers: { authorization } });
    return { status: response.status, text: await response.text() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]();
    await this.bus[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
  }
}

export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** A backend on a plain socket: `onData` gets all bytes heard so far on a connection each time more come. */
export class RawBackend implements AsyncDisposable {
  readonly port: number;
  /** Everything heard, one text a connection. */
  readonly heard: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(
    onData: (socket: Socket, soFar: string, newest: string) => void,
    onConnection?: (socket: Socket) => void,
  ): Promise<RawBackend> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const backend = new RawBackend(server);
    server.on('connection', (socket: Socket) => {
      const index = backend.heard.push('') - 1;
      backend.sockets.add(socket);
      socket.on('close', () => backend.sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      socket.on('end', () => socket.end());
      socket.on('data', (bytes) => {
        const newest = bytes.toString('latin1');
        backend.heard[index] += newest;
        onData(socket, backend.heard[index] ?? '', newest);
      });
      onConnection?.(socket);
    });
    return backend;
  }

  /** Answers each complete head with this text, on a connection that stays. */
  static async answering(response: string): Promise<RawBackend> {
    return await RawBackend.start((socket, _soFar, newest) => {
      const heads = newest.split('\r\n\r\n').length - 1;
      for (let i = 0; i < heads; i++) socket.write(response, 'latin1');
    });
  }

  get text(): string {
    return this.heard.join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Says these bytes and resolves with all that comes back until the router closes. */
export async function talk(port: number, ...says: string[]): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let heard = '';
  socket.on('data', (bytes) => (heard += bytes.toString('latin1')));
  const over = new Promise<void>((resolve) => {
    socket.on('error', () => resolve());
    socket.on('end', resolve);
    socket.on('close', () => resolve());
  });
  for (const text of says) {
    socket.write(text, 'latin1');
    await new Promise((resolve) => setImmediate(resolve));
  }
  await over;
  socket.destroy();
  return heard;
}

/** A client that goes on: says bytes, and waits for what it hears to fit. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  heard = '';
  isOver = false;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (bytes) => (this.heard += bytes.toString('latin1')));
    this.socket.on('end', () => (this.isOver = true));
    this.socket.on('close', () => (this.isOver = true));
    this.socket.on('error', () => this.socket.destroy());
  }

  say(text: string): void {
    this.socket.write(text, 'latin1');
  }

  async hears(what: string | RegExp): Promise<string> {
    return await eventually(
      `hearing ${what} (heard ${JSON.stringify(this.heard)})`,
      () => (typeof what === 'string' ? this.heard.includes(what) : what.test(this.heard)) && this.heard,
    );
  }

  async ends(): Promise<string> {
    await eventually('the end', () => this.isOver);
    return this.heard;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
