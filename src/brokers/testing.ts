import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { ComponentProcess } from '#testing/component-process.ts';
import { freePort } from '#testing/free-port.ts';
import { TestNats } from '#testing/nats.ts';
import { TestPostgres } from '#testing/postgres.ts';

export const LOGIN = { user: 'broker', password: 'the-password-of-the-broker' };

export interface OsbAnswer {
  status: number;
  body: Record<string, unknown>;
}

export interface Ask {
  method?: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  query?: Record<string, string>;
  json?: unknown;
  headers?: Record<string, string | undefined>;
}

/** The brokers in a process of their own that can be killed, with all that they need; spoken to as a platform speaks. */
export class TestBrokers implements AsyncDisposable {
  readonly folder: string;
  readonly process: ComponentProcess;
  readonly #port: number;
  readonly #stack: AsyncDisposableStack;

  private constructor(given: { folder: string; process: ComponentProcess; port: number; stack: AsyncDisposableStack }) {
    this.folder = given.folder;
    this.process = given.process;
    this.#port = given.port;
    this.#stack = given.stack;
  }

  /** `services` is what the configuration says of each service. */
  static async start(services: object): Promise<TestBrokers> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'ingot-brokers-'));
    // The services run as another user, who must be able to reach their folders.
    await chmod(folder, 0o711);
    stack.defer(async () => await rm(folder, { recursive: true, force: true }));
    const postgres = stack.use(await TestPostgres.start());
    const nats = stack.use(await TestNats.start());
    const port = await freePort();
    const config = {
      nats_servers: [nats.url],
      status: { user: 'status', password: 'status' },
      listen: { port },
      login: LOGIN,
      database: { url: await postgres.createDatabase() },
      credential_key: 'a-key-of-the-tests-own-32-characters',
      address: '127.0.0.1',
      client_network: '127.0.0.0/8',
      state_folder: join(folder, 'services'),
      cgroup: `ingot-test-${port}`,
      blobstore: { kind: 'folder', folder: join(folder, 'blobs'), min_free_mb: 0 },
      ...services,
    };
    const process = stack.use(
      await ComponentProcess.start({ room: 'brokers', schema: 'BrokersConfig', config, folder }),
    );
    return new TestBrokers({ folder, process, port, stack: stack.move() });
  }

  async ask(path: string, { method = 'GET', query = {}, json, headers = {} }: Ask = {}): Promise<OsbAnswer> {
    const url = new URL(`http://127.0.0.1:${this.#port}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const all = {
      authorization: basicAuthHeader(LOGIN),
      'x-broker-api-version': '2.17',
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    };
    const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >;
    const response = await request(url, {
      method,
      headers: given,
      reset: true,
      ...(json !== undefined && { body: JSON.stringify(json) }),
    });
    const text = await response.body.text();
    return { status: response.statusCode, body: JSON.parse(text) as Record<string, unknown> };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
