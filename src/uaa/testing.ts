import { silentLog, type Log } from '#kernel/log.ts';
import { systemClock, type Clock } from '#kernel/clock.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { Bus } from '#bus/bus.ts';
import { TestNats } from '#testing/nats.ts';
import { TestPostgres } from '#testing/postgres.ts';
import type { RunningComponent } from '#kernel/component.ts';
import { UaaConfig } from './config.ts';
import { createUaaServer } from './http.ts';
import { MIGRATIONS, start } from './main.ts';
import type { TokenResponse } from './tokens/endpoints.ts';
import { openUaa } from './uaa.ts';

export const ADMIN_PASSWORD = 'admin-password';
export const RESOURCE_SECRET = 'resource-secret';

/** The wall clock, moved on by the test. */
export class MovedClock implements Clock {
  #ahead_ms = 0;
  now = (): number => Date.now() + this.#ahead_ms;
  monotonic = (): number => performance.now() + this.#ahead_ms;
  sleep: Clock['sleep'] = async (ms, signal) => await systemClock.sleep(ms, signal);
  every: Clock['every'] = (ms, work) => systemClock.every(ms, work);
  forward(seconds: number): void {
    this.#ahead_ms += seconds * 1000;
  }
}

type Input = Parameters<typeof UaaConfig.parse>[0];

/** A whole UAA on a real PostgreSQL and NATS, and the requests that tests make of it. */
export class TestUaa implements AsyncDisposable {
  readonly clock = new MovedClock();
  readonly nats: TestNats;
  readonly database_url: string;
  readonly #postgres: TestPostgres;
  readonly #running: RunningComponent;
  readonly #others: RunningComponent[] = [];
  readonly #chosen: object;

  private constructor(
    parts: { postgres: TestPostgres; nats: TestNats; database_url: string; chosen: object },
    running: RunningComponent,
    clock: MovedClock,
  ) {
    this.#postgres = parts.postgres;
    this.nats = parts.nats;
    this.database_url = parts.database_url;
    this.#chosen = parts.chosen;
    this.#running = running;
    this.clock = clock;
  }

  static async start(chosen: object = {}): Promise<TestUaa> {
    return await TestUaa.startOn(await TestPostgres.start(), chosen);
  }

  /** On a PostgreSQL that the test has in its hands; it goes when the UAA does. */
  static async startOn(postgres: TestPostgres, chosen: object = {}, log: Log = silentLog): Promise<TestUaa> {
    const nats = await TestNats.start();
    const database_url = await postgres.createDatabase();
    const clock = new MovedClock();
    const running = await start(configOf(database_url, nats, chosen), { log, clock });
    return new TestUaa({ postgres, nats, database_url, chosen }, running, clock);
  }

  get url(): string {
    return this.#running.addresses['http'] ?? '';
  }

  /** As it was started with, for others beside it in processes of their own. */
  get configuration(): UaaConfig {
    return configOf(this.database_url, this.nats, this.#chosen);
  }

  /** Another UAA beside this one, perhaps configured differently; its address. */
  async startAnother(more: object = {}): Promise<string> {
    const config = configOf(this.database_url, this.nats, { ...this.#chosen, ...more });
    const other = await start(config, { log: silentLog, clock: this.clock });
    this.#others.push(other);
    return other.addresses['http'] ?? '';
  }

  /** The method and path of each endpoint, as registered. */
  async routes(): Promise<{ method: string; path: string }[]> {
    await using bus = await Bus.connect({ servers: [this.nats.url], name: 'routes', log: silentLog });
    const config = this.configuration;
    await using uaa = await openUaa(config, { log: silentLog, clock: this.clock, bus, migrations: MIGRATIONS });
    const routes: { method: string; path: string }[] = [];
    createUaaServer(uaa, ({ method, url }) => {
      for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, path: url });
    });
    return routes;
  }

  async request(path: string, options: RequestInit & { json?: unknown; token?: string } = {}): Promise<Answer> {
    const { json, token, ...init } = options;
    const headers = new Headers(init.headers);
    if (json !== undefined) headers.set('content-type', 'application/json');
    if (token !== undefined) headers.set('authorization', `bearer ${token}`);
    const body = json === undefined ? init.body : JSON.stringify(json);
    const response = await fetch(path.startsWith('http') ? path : `${this.url}${path}`, {
      redirect: 'manual',
      ...init,
      headers,
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) as never };
  }

  /** A form to the token endpoint as the client given, `cf` with its empty secret by default. */
  async grant(
    form: Record<string, string>,
    client: { user: string; password: string } = { user: 'cf', password: '' },
    query = '',
  ): Promise<Answer> {
    return await this.request(`/oauth/token${query}`, {
      method: 'POST',
      headers: { authorization: basicAuthHeader(client), accept: 'application/json' },
      body: new URLSearchParams(form),
    });
  }

  /** A person's token of a client that may see and change approvals. */
  async personToken(username = 'admin', password = ADMIN_PASSWORD): Promise<string> {
    const client = { user: 'test-person', password: RESOURCE_SECRET };
    const answer = await this.grant({ grant_type: 'password', username, password }, client);
    if (answer.status !== 200) throw new Error(`login: ${answer.status} ${answer.text}`);
    return answer.json<TokenResponse>().access_token;
  }

  async login(username = 'admin', password = ADMIN_PASSWORD): Promise<TokenResponse> {
    const answer = await this.grant({ grant_type: 'password', username, password });
    if (answer.status !== 200) throw new Error(`login: ${answer.status} ${answer.text}`);
    return answer.json();
  }

  /** A token of the client that may do everything in the UAA. */
  async machineToken(user = 'test-admin', password = RESOURCE_SECRET): Promise<string> {
    const answer = await this.grant({ grant_type: 'client_credentials' }, { user, password });
    if (answer.status !== 200) throw new Error(`client credentials: ${answer.status} ${answer.text}`);
    return answer.json<TokenResponse>().access_token;
  }

  /** Adds a user with the password `secret`; the id. */
  async addUser(userName: string, more: object = {}): Promise<string> {
    const json = { userName, password: 'secret', emails: [{ value: `${userName}@example.com` }], ...more };
    const answer = await this.request('/Users', { method: 'POST', json, token: await this.machineToken() });
    if (answer.status !== 201) throw new Error(`add user: ${answer.status} ${answer.text}`);
    return answer.json<{ id: string }>().id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const other of this.#others) await other[Symbol.asyncDispose]();
    await this.#running[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
    await this.#postgres[Symbol.asyncDispose]();
  }
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json<T>(): T;
}

function configOf(url: string, nats: TestNats, chosen: object): UaaConfig {
  const admin_client = {
    secret: RESOURCE_SECRET,
    authorities: [
      'uaa.admin',
      'scim.read',
      'scim.write',
      'clients.admin',
      'clients.read',
      'clients.write',
      'tokens.revoke',
    ],
    authorized_grant_types: ['client_credentials'],
  };
  const person_client = {
    secret: RESOURCE_SECRET,
    scope: ['openid', 'approvals.me', 'cloud_controller.read'],
    authorized_grant_types: ['password'],
  };
  const { clients, ...rest } = chosen as { clients?: object };
  const input: Input = {
    listen: { host: '127.0.0.1', port: 0 },
    hosts: { uaa: 'uaa.test.example', login: 'login.test.example' },
    database: { url, max_connections: 8 },
    nats_servers: [nats.url],
    status: { password: 'status' },
    client_secrets: {
      doppler: RESOURCE_SECRET,
      cloud_controller_username_lookup: RESOURCE_SECRET,
      'ssh-proxy': RESOURCE_SECRET,
    },
    clients: { 'test-admin': admin_client, 'test-person': person_client, ...clients },
    admin: { password: ADMIN_PASSWORD },
    ...rest,
  };
  return UaaConfig.parse(input);
}

/** Signs in as a browser would; the cookies that it has then. */
export async function signInByForm(
  uaa: TestUaa,
  username: string,
  password = ADMIN_PASSWORD,
  at = uaa.url,
): Promise<string> {
  const page = await uaa.request(`${at}/login`, { headers: { accept: 'text/html' } });
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
  const anchor = page.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';')[0])
    .join('; ');
  const body = new URLSearchParams({ username, password, csrf });
  const answer = await uaa.request(`${at}/login.do`, {
    method: 'POST',
    headers: { cookie: anchor, accept: 'text/html' },
    body,
  });
  if (answer.status !== 302) throw new Error(`sign in: ${answer.status}`);
  return [anchor, ...answer.headers.getSetCookie().map((cookie) => cookie.split(';')[0])].join('; ');
}

/** The claims of a token, unchecked. */
export function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
}
