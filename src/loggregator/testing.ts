import { createServer, type Server } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { systemClock } from '#kernel/clock.ts';
import type { RunningComponent } from '#kernel/component.ts';
import { silentLog } from '#kernel/log.ts';
import { TestNats } from '#testing/nats.ts';
import type { Entry, Origin } from './chunk.ts';
import { LoggregatorConfig } from './config.ts';
import { start } from './main.ts';

/** A simulator of the UAA's keys and of the cloud controller's internal face, on one socket. */
class FakeNeighbours implements AsyncDisposable {
  readonly issuer = 'http://uaa.test/oauth/token';
  readonly #server: Server;
  readonly #key: CryptoKey;
  /** Whose token may read which apps, and all that was asked. */
  readonly grants = new Map<string, Set<string>>();
  readonly asked: string[] = [];
  isCloudControllerAway = false;
  drains: unknown = { results: [], next_id: null };

  private constructor(server: Server, key: CryptoKey) {
    this.#server = server;
    this.#key = key;
  }

  static async start(): Promise<FakeNeighbours> {
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }] });
    const server = createServer((request, response) => {
      const { status, body } = fake.#answer(request.url ?? '', request.headers.authorization ?? '', keys);
      response.writeHead(status).end(body);
    });
    const fake = new FakeNeighbours(server, privateKey);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    const address = this.#server.address();
    return typeof address === 'object' && address ? `http://127.0.0.1:${address.port}` : '';
  }

  /** `Authorization` of a user with these scopes who may read these apps. */
  async bearer(user: string, scope: string[], apps: string[] = []): Promise<string> {
    const claims = { jti: user, client_id: 'cf', scope };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
      .setSubject(user)
      .setIssuer(this.issuer)
      .setAudience(['cf', 'cloud_controller'])
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(this.#key);
    this.grants.set(`bearer ${token}`, new Set(apps));
    return `bearer ${token}`;
  }

  #answer(url: string, authorization: string, keys: string): { status: number; body?: string } {
    if (url === '/token_keys') return { status: 200, body: keys };
    this.asked.push(url);
    if (this.isCloudControllerAway) return { status: 503 };
    if (url.startsWith('/internal/v5/syslog_drain_urls')) return { status: 200, body: JSON.stringify(this.drains) };
    const app = /^\/internal\/v4\/log_access\/(.+)$/.exec(url)?.[1] ?? '';
    return { status: this.grants.get(authorization)?.has(app) ? 200 : 404 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The loggregator as it runs, with a real bus, a folder of its own, and simulated neighbours. */
export class TestLoggregator implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly emitter: LogEmitter;
  readonly neighbours: FakeNeighbours;
  readonly config: LoggregatorConfig;
  #running: RunningComponent | undefined;

  private constructor(parts: {
    stack: AsyncDisposableStack;
    nats: TestNats;
    bus: Bus;
    emitter: LogEmitter;
    neighbours: FakeNeighbours;
    config: LoggregatorConfig;
  }) {
    this.#stack = parts.stack;
    this.nats = parts.nats;
    this.bus = parts.bus;
    this.emitter = parts.emitter;
    this.neighbours = parts.neighbours;
    this.config = parts.config;
  }

  static async start(limits: Partial<LoggregatorConfig['limits']> = {}): Promise<TestLoggregator> {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await TestNats.start());
    const neighbours = stack.use(await FakeNeighbours.start());
    const folder = await mkdtemp(join(tmpdir(), 'ingot-loggregator-'));
    stack.defer(async () => await rm(folder, { recursive: true, force: true }));
    const bus = stack.use(await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog }));
    const emitter = stack.use(new LogEmitter({ publisher: bus, batch_interval_ms: 5 }));
    const config = LoggregatorConfig.parse({
      listen: { port: 0 },
      hosts: { log_cache: 'log-cache.test', log_stream: 'log-stream.test' },
      nats_servers: [nats.url],
      status: { user: 'varz', password: 'secret' },
      uaa: { url: neighbours.url, issuer: neighbours.issuer },
      cc_url: neighbours.url,
      internal_api: { user: 'internal', password: 'secret' },
      store: { folder },
      limits,
    });
    const test = new TestLoggregator({ stack: stack.move(), nats, bus, emitter, neighbours, config });
    await test.resume();
    return test;
  }

  get url(): string {
    return this.#running?.addresses['http'] ?? '';
  }

  get statusUrl(): string {
    return this.#running?.addresses['status'] ?? '';
  }

  async get(path: string, authorization?: string): Promise<Response> {
    return await fetch(`${this.url}${path}`, { headers: authorization === undefined ? {} : { authorization } });
  }

  async stop(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
    this.#running = undefined;
  }

  async resume(): Promise<void> {
    this.#running = await start(this.config, { log: silentLog, clock: systemClock });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#stack.disposeAsync();
  }
}

/** Whence the entries of tests come. */
export const web: Origin = { instance_id: '0', tags: { source_type: 'APP/PROC/WEB', process_id: 'p' } };

export function line(timestamp: bigint | number, text = `line ${timestamp}`, origin = web): Entry {
  return { timestamp: BigInt(timestamp), kind: 'OUT', origin, payload: Buffer.from(text) };
}

export function gauge(timestamp: bigint | number, name: string, value: number): Entry {
  const payload = Buffer.from(JSON.stringify({ metrics: { [name]: { unit: '', value } } }));
  return { timestamp: BigInt(timestamp), kind: 'GAUGE', origin: web, payload };
}
