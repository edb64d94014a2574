import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A call as the broker got it. */
export interface BrokerCall {
  method: string;
  path: string;
  query: Readonly<Record<string, string>>;
  headers: IncomingMessage['headers'];
  body: Record<string, unknown>;
}

/** What an answer is, when it is not the usual one. `hangs`: there is none. `drops`: the connection is cut. */
export type BrokerAnswer =
  | { status: number; body?: unknown; text?: string; headers?: Record<string, string> }
  | 'hangs'
  | 'drops';

export type BrokerVerb =
  | 'catalog'
  | 'provision'
  | 'update'
  | 'deprovision'
  | 'bind'
  | 'unbind'
  | 'last_operation'
  | 'fetch_instance'
  | 'fetch_binding';

interface Thing {
  parameters: unknown;
  credentials: Record<string, unknown>;
}

/**
 * A service broker for tests, over real HTTP: it keeps instances and bindings, counts what it is asked, answers at once or
 * later, and misbehaves as it is told, once or for good.
 */
export class OsbBroker implements AsyncDisposable {
  readonly calls: BrokerCall[] = [];
  readonly instances = new Map<string, Thing>();
  readonly bindings = new Map<string, Thing>();
  /** How often each instance or binding was really made, and not just confirmed. */
  readonly made = new Map<string, number>();
  catalog: unknown;
  username = 'broker';
  password = 'secret';
  /** Operations are accepted, and end when `last_operation` has been asked for so often. */
  asynchronous: false | { polls: number; end?: 'succeeded' | 'failed' } = false;
  /** Of bindings. */
  extras: Record<string, unknown> = {};
  readonly #server: Server;
  readonly #script = new Map<BrokerVerb, { answers: BrokerAnswer[]; forever: BrokerAnswer | undefined }>();
  readonly #pending = new Map<string, { polls: number; end: () => void }>();
  readonly #waiting = new Map<BrokerVerb, PromiseWithResolvers<void>>();

  private constructor(catalog: unknown) {
    this.catalog = catalog;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(catalog: unknown = CATALOG): Promise<OsbBroker> {
    const broker = new OsbBroker(catalog);
    await new Promise<void>((resolve) => broker.#server.listen(0, '127.0.0.1', resolve));
    return broker;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next calls of that kind get these answers instead. */
  next(verb: BrokerVerb, ...answers: BrokerAnswer[]): void {
    this.#scriptOf(verb).answers.push(...answers);
  }

  /** All calls of that kind get this answer, until told otherwise. */
  always(verb: BrokerVerb, answer: BrokerAnswer | undefined): void {
    this.#scriptOf(verb).forever = answer;
  }

  /** Holds answers to calls of that kind back, although what they ask for is done, until the returned function is called. */
  hold(verb: BrokerVerb): () => void {
    const held = Promise.withResolvers<void>();
    this.#waiting.set(verb, held);
    return () => {
      this.#waiting.delete(verb);
      held.resolve();
    };
  }

  countOf(verb: BrokerVerb): number {
    return this.callsOf(verb).length;
  }

  callsOf(verb: BrokerVerb): BrokerCall[] {
    return this.calls.filter((call) => verbOf(call.method, call.path) === verb);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const held of this.#waiting.values()) held.resolve();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #scriptOf(verb: BrokerVerb): { answers: BrokerAnswer[]; forever: BrokerAnswer | undefined } {
    const script = this.#script.get(verb) ?? { answers: [], forever: undefined };
    this.#script.set(verb, script);
    return script;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://broker');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const call: BrokerCall = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
    this.calls.push(call);
    const verb = verbOf(call.method, call.path);
    const script = verb && this.#script.get(verb);
    const answer = script?.answers.shift() ?? script?.forever ?? this.#answer(verb, call);
    if (answer === 'hangs') return;
    if (answer === 'drops') {
      request.socket.destroy();
      return;
    }
    if (verb) await this.#waiting.get(verb)?.promise;
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(answer.text ?? JSON.stringify(answer.body ?? {}));
  }

  #answer(verb: BrokerVerb | undefined, call: BrokerCall): Exclude<BrokerAnswer, string> {
    const expected = `Basic ${Buffer.from(`${this.username}:${this.password}`).toString('base64')}`;
    if (call.headers.authorization !== expected) return { status: 401 };
    if (call.headers['x-broker-api-version'] === undefined) return { status: 412 };
    const { key, things } = this.#thingOf(call);
    switch (verb) {
      case 'catalog':
        return { status: 200, body: this.catalog };
      case 'provision':
      case 'bind':
        return this.#make(verb, key, call);
      case 'update':
        return this.#change(key, call);
      case 'deprovision':
      case 'unbind':
        return this.#remove(key, things);
      case 'last_operation':
        return this.#lastOperation(key, things);
      case 'fetch_instance':
      case 'fetch_binding': {
        const thing = things.get(key);
        if (!thing) return { status: 404 };
        return { status: 200, body: { ...thing, ...(verb === 'fetch_binding' && this.extras) } };
      }
      case undefined:
        return { status: 404, body: { description: 'no such path' } };
      default:
        return verb satisfies never;
    }
  }

  #thingOf(call: BrokerCall): { key: string; things: Map<string, Thing> } {
    const [, , , instance = '', , binding] = call.path.split('/');
    const isBinding = binding !== undefined;
    return { key: isBinding ? binding : instance, things: isBinding ? this.bindings : this.instances };
  }

  #make(verb: 'provision' | 'bind', key: string, call: BrokerCall): Exclude<BrokerAnswer, string> {
    const things = verb === 'bind' ? this.bindings : this.instances;
    const { parameters } = call.body;
    const body =
      verb === 'bind'
        ? { credentials: { password: `of ${key}` }, ...this.extras }
        : { dashboard_url: `https://dash/${key}` };
    if (things.has(key)) return { status: 200, body };
    if (this.#pending.has(key)) return { status: 202, body: { operation: `make ${key}` } };
    const make = (): void => {
      this.made.set(key, (this.made.get(key) ?? 0) + 1);
      things.set(key, { parameters, credentials: { password: `of ${key}` } });
    };
    if (this.asynchronous === false) {
      make();
      return { status: 201, body };
    }
    this.#pending.set(key, { polls: this.asynchronous.polls, end: make });
    return { status: 202, body: { operation: `make ${key}`, ...(verb === 'provision' && body) } };
  }

  #change(key: string, call: BrokerCall): Exclude<BrokerAnswer, string> {
    const thing = this.instances.get(key);
    if (!thing) return { status: 404 };
    const change = (): void => {
      thing.parameters = call.body['parameters'] ?? thing.parameters;
    };
    if (this.asynchronous === false) {
      change();
      return { status: 200 };
    }
    this.#pending.set(key, { polls: this.asynchronous.polls, end: change });
    return { status: 202, body: { operation: `change ${key}` } };
  }

  #remove(key: string, things: Map<string, Thing>): Exclude<BrokerAnswer, string> {
    this.#pending.delete(key);
    if (!things.has(key)) return { status: 410 };
    if (this.asynchronous === false) {
      things.delete(key);
      return { status: 200 };
    }
    this.#pending.set(key, { polls: this.asynchronous.polls, end: () => things.delete(key) });
    return { status: 202, body: { operation: `remove ${key}` } };
  }

  #lastOperation(key: string, things: Map<string, Thing>): Exclude<BrokerAnswer, string> {
    const pending = this.#pending.get(key);
    if (!pending) return things.has(key) ? { status: 200, body: { state: 'succeeded' } } : { status: 410 };
    pending.polls -= 1;
    if (pending.polls > 0) return { status: 200, body: { state: 'in progress', description: `${pending.polls} left` } };
    this.#pending.delete(key);
    if (this.asynchronous !== false && this.asynchronous.end === 'failed') {
      return { status: 200, body: { state: 'failed', description: 'out of disks' } };
    }
    pending.end();
    return { status: 200, body: { state: 'succeeded', description: 'there you are' } };
  }
}

function verbOf(method: string, path: string): BrokerVerb | undefined {
  if (path === '/v2/catalog') return 'catalog';
  if (path.endsWith('/last_operation')) return 'last_operation';
  const isBinding = path.includes('/service_bindings/');
  switch (method) {
    case 'PUT':
      return isBinding ? 'bind' : 'provision';
    case 'PATCH':
      return 'update';
    case 'DELETE':
      return isBinding ? 'unbind' : 'deprovision';
    case 'GET':
      return isBinding ? 'fetch_binding' : 'fetch_instance';
    default:
      return undefined;
  }
}

/** One service with two plans. */
export const CATALOG = {
  services: [
    {
      id: 'postgres-id',
      name: 'postgres',
      description: 'Databases',
      bindable: true,
      plan_updateable: true,
      instances_retrievable: true,
      bindings_retrievable: true,
      tags: ['sql'],
      metadata: { shareable: true, documentationUrl: 'https://docs.example.org' },
      plans: [
        {
          id: 'small-id',
          name: 'small',
          description: 'A small one',
          maintenance_info: { version: '1.0.0' },
          metadata: { costs: [{ amount: { usd: 9.5 }, unit: 'MONTHLY' }] },
        },
        { id: 'large-id', name: 'large', description: 'A large one', free: false },
      ],
    },
  ],
};
