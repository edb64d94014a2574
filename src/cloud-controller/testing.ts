import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';
import { Database } from '#db/database.ts';
import { systemClock } from '#kernel/clock.ts';
import { createLog, silentLog } from '#kernel/log.ts';
import { freePort } from '#testing/free-port.ts';
import { TestNats } from '#testing/nats.ts';
import { TestPostgres } from '#testing/postgres.ts';
import { CloudControllerConfig } from './config.ts';
import { start } from './main.ts';
import type { CcTables } from './tables.ts';

/** A UAA that speaks the contract: keys, our client's token, look-up of users. Its users are those that tests make. */
export class FakeUaa implements AsyncDisposable {
  readonly users: { id: string; userName: string; origin: string }[] = [];
  readonly clients = new Map<string, Record<string, unknown>>();
  readonly #server: Server;
  readonly #privateKey: CryptoKey;
  #url = '';

  private constructor(jwk: JWK, privateKey: CryptoKey) {
    this.#privateKey = privateKey;
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://uaa');
      void text(request).then((body) => {
        const isClients = url.pathname.startsWith('/oauth/clients/');
        const { status, answer } = isClients
          ? this.#answerOfClients(url.pathname.slice('/oauth/clients/'.length), body)
          : { status: 200, answer: this.#answer(url, jwk) };
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      });
    });
  }

  static async start(): Promise<FakeUaa> {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: 'test', alg: 'RS256', use: 'sig' };
    const uaa = new FakeUaa(jwk, privateKey);
    await new Promise<void>((resolve) => uaa.#server.listen(0, '127.0.0.1', resolve));
    const address = uaa.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no address');
    uaa.#url = `http://127.0.0.1:${address.port}`;
    return uaa;
  }

  get url(): string {
    return this.#url;
  }

  get issuer(): string {
    return `${this.#url}/oauth/token`;
  }

  async token(user: {
    guid: string;
    username: string;
    scopes: readonly string[];
    audience?: string[];
  }): Promise<string> {
    const claims = {
      jti: randomUUID(),
      client_id: 'cf',
      scope: user.scopes,
      user_id: user.guid,
      user_name: user.username,
      email: user.username,
      origin: 'uaa',
      grant_type: 'password',
    };
    return await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'test' })
      .setSubject(user.guid)
      .setIssuer(this.issuer)
      .setAudience(user.audience ?? ['cloud_controller', 'cf'])
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(this.#privateKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answerOfClients(path: string, body: string): { status: number; answer: unknown } {
    if (path !== 'tx/modify') {
      const found = this.clients.get(decodeURIComponent(path));
      return found ? { status: 200, answer: found } : { status: 404, answer: { error: 'not_found' } };
    }
    for (const { action, ...client } of JSON.parse(body) as { action: string; client_id: string }[]) {
      if ((action === 'add') === this.clients.has(client.client_id)) return { status: 409, answer: {} };
      if (action === 'delete') this.clients.delete(client.client_id);
      else this.clients.set(client.client_id, client);
    }
    return { status: 200, answer: [] };
  }

  #answer(url: URL, jwk: JWK): unknown {
    if (url.pathname === '/token_keys') return { keys: [jwk] };
    if (url.pathname === '/oauth/token') return { access_token: 'client', token_type: 'bearer', expires_in: 600 };
    if (url.pathname !== '/ids/Users' && url.pathname !== '/Users') return {};
    const filter = url.searchParams.get('filter') ?? '';
    const values = [...filter.matchAll(/(\w+) eq ("(?:[^"\\]|\\.)*")/g)].map(([, name, value]) => ({
      name: name?.toLowerCase(),
      value: String(JSON.parse(value ?? '""')),
    }));
    const ids = values.filter(({ name }) => name === 'id').map(({ value }) => value);
    const name = values.find((one) => one.name === 'username')?.value.toLowerCase();
    const origin = values.find((one) => one.name === 'origin')?.value;
    const resources = this.users.filter((user) =>
      ids.length > 0
        ? ids.includes(user.id)
        : user.userName.toLowerCase() === name && (origin === undefined || user.origin === origin),
    );
    return { resources, startIndex: 1, itemsPerPage: resources.length, totalResults: resources.length };
  }
}

/** An answer whose JSON is read by paths: `answer.at('resources.0.name')`. */
export class Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: unknown;

  constructor(response: Response, text: string) {
    this.status = response.status;
    this.headers = response.headers;
    this.text = text;
    this.body = (response.headers.get('content-type') ?? '').includes('json') ? JSON.parse(text) : undefined;
  }

  /** What is at a path of keys and indices; undefined when there is no such. */
  at(path: string): unknown {
    return path.split('.').reduce<unknown>((value, key) => {
      return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
    }, this.body);
  }

  /** As `at`, for what must be a string. */
  string(path: string): string {
    const found = this.at(path);
    if (typeof found !== 'string') throw new Error(`no string at ${path} of ${this.status} ${this.text}`);
    return found;
  }

  get guid(): string {
    return this.string('guid');
  }

  /** Of a list: one field of each resource. */
  each(field: string): unknown[] {
    const list = this.at('resources');
    if (!Array.isArray(list)) throw new Error(`no list: ${this.status} ${this.text}`);
    return list.map((_, index) => this.at(`resources.${index}.${field}`));
  }

  /** The status with the first error's text, for comparison. */
  get error(): [number, unknown] {
    return [this.status, this.at('errors.0.detail')];
  }
}

/** A user of the API under test. */
export class TestUser {
  readonly guid: string;
  readonly username: string;
  readonly #base: string;
  readonly #token: string;

  constructor(options: { guid: string; username: string; base: string; token: string }) {
    this.guid = options.guid;
    this.username = options.username;
    this.#base = options.base;
    this.#token = options.token;
  }

  get token(): string {
    return this.#token;
  }

  async request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const url = path.startsWith('http') ? path : this.#base + path;
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      // As the cf CLI does, also without a body.
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        authorization: `bearer ${this.#token}`,
        ...headers,
      },
      ...(body !== undefined && { body: isRaw(body) ? body : JSON.stringify(body) }),
    });
    return new Answer(response, await response.text());
  }

  async get(path: string): Promise<Answer> {
    return await this.request('GET', path);
  }
  async post(path: string, body?: unknown): Promise<Answer> {
    return await this.request('POST', path, body);
  }
  async patch(path: string, body?: unknown): Promise<Answer> {
    return await this.request('PATCH', path, body);
  }
  async delete(path: string, body?: unknown): Promise<Answer> {
    return await this.request('DELETE', path, body);
  }

  /** Follows the job of a 202 to its end, as the cf CLI does. */
  async job(accepted: Answer): Promise<Answer> {
    if (accepted.status !== 202) throw new Error(`not accepted: ${accepted.status} ${accepted.text}`);
    const path = new URL(accepted.headers.get('location') ?? '').pathname;
    for (let tries = 0; tries < 1500; tries++) {
      const job = await this.get(path);
      const state = job.at('state');
      if (state === 'COMPLETE' || state === 'FAILED') return job;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`job ${path} does not end`);
  }
}

/** A request that fails with 500 says why in the test's output. */
const faults = createLog({ component: 'cloud-controller', level: 'error' });

/** A cloud controller under test on a PostgreSQL and a nats-server of its own, with a simulated UAA. */
export class TestCloudController implements AsyncDisposable {
  readonly url: string;
  readonly config: CloudControllerConfig;
  readonly uaa: FakeUaa;
  readonly nats: TestNats;
  /** The same database, for looking at what was written. */
  readonly database: Database<CcTables>;
  /** All SQL that the component ran, its background work's too; tests empty it and count. */
  readonly statements: string[];
  readonly admin: TestUser;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    url: string;
    config: CloudControllerConfig;
    uaa: FakeUaa;
    nats: TestNats;
    database: Database<CcTables>;
    statements: string[];
    admin: TestUser;
    stack: AsyncDisposableStack;
  }) {
    this.url = parts.url;
    this.config = parts.config;
    this.uaa = parts.uaa;
    this.nats = parts.nats;
    this.database = parts.database;
    this.statements = parts.statements;
    this.admin = parts.admin;
    this.#stack = parts.stack;
  }

  static async start(change: Record<string, unknown> = {}): Promise<TestCloudController> {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await TestPostgres.start());
    const nats = stack.use(await TestNats.start());
    const uaa = stack.use(await FakeUaa.start());
    const url = await postgres.createDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'ingot-cc-blobs-'));
    stack.defer(async () => await rm(folder, { recursive: true }));
    const internal_port = await freePort();
    const config = CloudControllerConfig.parse({
      external: { port: 0 },
      internal: { port: internal_port },
      internal_api: { user: 'internal', password: 'secret' },
      internal_url: `http://127.0.0.1:${internal_port}`,
      blobstore: { kind: 'folder', folder, min_free_mb: 0 },
      database: { url, max_connections: 5 },
      nats: { servers: [nats.url] },
      system_domain: 'cf.localhost',
      app_domains: ['apps.localhost'],
      urls: {
        api: 'http://api.cf.localhost',
        uaa: 'http://uaa.cf.localhost',
        login: 'http://login.cf.localhost',
        log_cache: 'http://log-cache.cf.localhost',
      },
      encryption_key: 'for tests, of 32 characters here',
      uaa: {
        url: uaa.url,
        issuer: uaa.issuer,
        client: { id: 'lookup', secret: 'secret' },
        dashboards_client: { id: 'dashboards', secret: 'secret' },
      },
      ...change,
    });
    const statements: string[] = [];
    const onStatement = (text: string): void => void statements.push(text);
    const running = stack.use(await start(config, { log: faults, clock: systemClock, onStatement }));
    const database = stack.use(
      new Database<CcTables>({ url, max_connections: 2, application_name: 'test', log: silentLog }),
    );
    const base = running.addresses['external'] ?? '';
    const scopes = ['cloud_controller.admin', 'cloud_controller.read', 'cloud_controller.write'];
    const admin = await makeUser(uaa, { base, username: 'admin', scopes });
    return new TestCloudController({
      url: base,
      config,
      uaa,
      nats,
      database,
      statements,
      admin,
      stack: stack.move(),
    });
  }

  /** A new user whose token has these scopes (by default those of every user), with the roles given by `grant`. */
  async user(
    username: string,
    scopes: readonly string[] = ['cloud_controller.read', 'cloud_controller.write'],
  ): Promise<TestUser> {
    return await makeUser(this.uaa, { base: this.url, username, scopes });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function makeUser(
  uaa: FakeUaa,
  options: { base: string; username: string; scopes: readonly string[] },
): Promise<TestUser> {
  const guid = randomUUID();
  uaa.users.push({ id: guid, userName: options.username, origin: 'uaa' });
  const token = await uaa.token({ guid, username: options.username, scopes: options.scopes });
  return new TestUser({ guid, username: options.username, base: options.base, token });
}

function isRaw(body: unknown): body is string | Uint8Array<ArrayBuffer> {
  return typeof body === 'string' || body instanceof Uint8Array;
}
