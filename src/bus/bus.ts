import { connect, headers, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import type { z } from 'zod';
import type { Exchange, Topic } from '#contracts/topic.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { ownWork, REQUEST_ID_HEADER, requestHeaders, type RequestScope, TRACE_HEADER } from '#kernel/request-scope.ts';
import { inSpan } from '#kernel/trace.ts';

export class BusUnavailable extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('bus_unavailable', message, options);
  }
}

/** Nobody answered within the time given, or nobody listens on the subject. */
export class NoReply extends AppError {
  constructor(subject: string, options?: ErrorOptions) {
    super('no_reply', `no reply on ${subject}`, options);
  }
}

export interface BusOptions {
  /** `nats://[user:password@]host:port`, any of which will do; the first one's user is everybody's. */
  servers: readonly string[];
  /** Shown in the server's connection list. */
  name: string;
  log: Log;
}

export interface SubscribeOptions {
  /** Of all subscribers with the same queue name one gets each message. */
  queue?: string;
}

/**
 * The only door to NATS. It connects for ever: when no server is there it tries again until it is closed, at start as well
 * as later, so that the order in which components start does not matter. What does not fit its schema is logged and dropped.
 * A message that is said for a request carries its id, and who hears it works for that request.
 */
export class Bus implements AsyncDisposable {
  readonly #connection: NatsConnection;
  readonly #log: Log;
  /** Whose bus it is, for traces. */
  readonly #component: string;
  #isConnected = true;
  #disconnectedAt_ms: number | undefined;
  readonly #onConnect = new Set<() => void>();
  readonly #onDisconnect = new Set<() => void>();

  private constructor(connection: NatsConnection, { log, name }: BusOptions) {
    this.#connection = connection;
    this.#log = log;
    this.#component = name.replace(/-\d+$/, '');
    void this.#watch();
  }

  /** Resolves once a server answered for the first time. Errors: BusUnavailable when it refuses our credentials. */
  static async connect(options: BusOptions): Promise<Bus> {
    const urls = options.servers.map((server) => new URL(server));
    const user = urls[0]?.username ?? '';
    try {
      const connection = await connect({
        servers: urls.map((url) => url.host),
        name: options.name,
        maxReconnectAttempts: -1,
        waitOnFirstConnect: true,
        reconnectTimeWait: 250,
        reconnectJitter: 100,
        pingInterval: 5_000,
        maxPingOut: 2,
        ...(user !== '' && { user: decodeURIComponent(user), pass: decodeURIComponent(urls[0]?.password ?? '') }),
      });
      return new Bus(connection, options);
    } catch (error) {
      throw new BusUnavailable(`the message bus at ${urls.map((url) => url.host).join(', ')} refused us`, {
        cause: error,
      });
    }
  }

  /** For the other files of this room, which speak JetStream over it. */
  get connection(): NatsConnection {
    return this.#connection;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** How long the bus has been away, in ms; undefined while it is there. */
  get awayFor_ms(): number | undefined {
    return this.#disconnectedAt_ms === undefined ? undefined : performance.now() - this.#disconnectedAt_ms;
  }

  /** Called after each reconnect: the moment to announce again what may have been missed. Dispose to forget. */
  onReconnect(listener: () => void): Disposable {
    this.#onConnect.add(listener);
    return { [Symbol.dispose]: () => this.#onConnect.delete(listener) };
  }

  onDisconnect(listener: () => void): Disposable {
    this.#onDisconnect.add(listener);
    return { [Symbol.dispose]: () => this.#onDisconnect.delete(listener) };
  }

  /**
   * Says a message. While the bus is away it is dropped and false returned, since everything said here is either repeated
   * or kept by its sender; a backlog of stale beats would do harm when the bus returns.
   */
  publish<Message extends z.ZodType>(topic: Topic<Message>, message: z.input<Message>): boolean {
    if (!this.#isConnected || this.#connection.isClosed()) return false;
    this.#connection.publish(topic.subject, JSON.stringify(message), scopeOptions());
    return true;
  }

  /** Hears a subject. `subject` in the handler is the one actually used, for topics with wildcards. */
  subscribe<Message extends z.ZodType>(
    topic: Topic<Message>,
    handler: (message: z.output<Message>, subject: string) => void | Promise<void>,
    options: SubscribeOptions = {},
  ): Disposable {
    return this.#listen(topic.subject, options, async (received) => {
      const message = this.#parse(topic.message, received);
      if (message.ok) await handler(message.value, received.subject);
    });
  }

  /** Answers a subject. A handler that throws is logged, and the asker is left to its time-out. */
  reply<Message extends z.ZodType, Reply extends z.ZodType>(
    exchange: Exchange<Message, Reply>,
    handler: (message: z.output<Message>) => z.input<Reply> | undefined | Promise<z.input<Reply> | undefined>,
    options: SubscribeOptions = {},
  ): Disposable {
    return this.#listen(exchange.subject, options, async (received) => {
      const message = this.#parse(exchange.message, received);
      if (!message.ok) return;
      const answer = await handler(message.value);
      if (answer !== undefined && received.reply !== undefined && received.reply !== '') {
        received.respond(JSON.stringify(answer));
      }
    });
  }

  /** Asks one. Errors: NoReply, BusUnavailable (also for an answer that does not fit its schema). */
  async request<Message extends z.ZodType, Reply extends z.ZodType>(
    exchange: Exchange<Message, Reply>,
    message: z.input<Message>,
    options: { timeout_ms: number },
  ): Promise<z.output<Reply>> {
    if (!this.#isConnected) throw new BusUnavailable('the message bus is away');
    let answer: Msg;
    try {
      answer = await this.#connection.request(exchange.subject, JSON.stringify(message), {
        timeout: options.timeout_ms,
        ...scopeOptions(),
      });
    } catch (error) {
      throw new NoReply(exchange.subject, { cause: error });
    }
    const parsed = exchange.reply.safeParse(jsonOf(answer));
    if (!parsed.success)
      throw new BusUnavailable(`the reply on ${exchange.subject} is malformed`, { cause: parsed.error });
    return parsed.data;
  }

  /** Asks all and gathers what comes within the time. Errors: BusUnavailable. */
  async gather<Message extends z.ZodType, Reply extends z.ZodType>(
    exchange: Exchange<Message, Reply>,
    message: z.input<Message>,
    options: { timeout_ms: number },
  ): Promise<z.output<Reply>[]> {
    if (!this.#isConnected) throw new BusUnavailable('the message bus is away');
    const replies: z.output<Reply>[] = [];
    const answers = await this.#connection.requestMany(exchange.subject, JSON.stringify(message), {
      maxWait: options.timeout_ms,
      strategy: 'timer',
    });
    try {
      for await (const answer of answers) {
        const parsed = exchange.reply.safeParse(jsonOf(answer));
        if (parsed.success) replies.push(parsed.data);
      }
    } catch (error) {
      // Nobody listens at all: an empty answer, not a fault.
      this.#log.debug({ subject: exchange.subject, error: describeError(error) }, 'gathered no replies');
    }
    return replies;
  }

  /** Resolves when the server has everything said so far. */
  async flush(): Promise<void> {
    if (this.#isConnected) await this.#connection.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#connection.isClosed()) return;
    // Draining waits for a server that may be away for good; then closing is all that can be done.
    if (this.#isConnected) await this.#connection.drain().catch(() => this.#connection.close());
    else await this.#connection.close();
  }

  #listen(subject: string, options: SubscribeOptions, handle: (received: Msg) => Promise<void>): Disposable {
    const subscription = this.#connection.subscribe(subject, {
      ...(options.queue !== undefined && { queue: options.queue }),
      callback: (error, received) => {
        if (error) {
          this.#log.error({ subject, error: describeError(error) }, 'subscription failed');
          return;
        }
        this.#traced(received, handle).catch((error: unknown) => {
          this.#log.error({ subject: received.subject, error: describeError(error) }, 'message handler failed');
        });
      },
    });
    return {
      [Symbol.dispose]: () => {
        if (!subscription.isClosed()) subscription.unsubscribe();
      },
    };
  }

  /** Handles a message for the request that it was said for, or as work of our own. */
  async #traced(received: Msg, handle: (received: Msg) => Promise<void>): Promise<void> {
    const { subject } = received;
    const about = {
      component: this.#component,
      kind: 'consumer',
      // Spans of one kind have one name, whichever DEA it was.
      name: subject.replaceAll(GUID, '*'),
      attributes: { 'messaging.system': 'nats', 'messaging.destination.name': subject },
    } as const;
    await inSpan(scopeOf(received) ?? ownWork(), about, async () => await handle(received));
  }

  #parse<Schema extends z.ZodType>(
    schema: Schema,
    received: Msg,
  ): { ok: true; value: z.output<Schema> } | { ok: false } {
    const parsed = schema.safeParse(jsonOf(received));
    if (parsed.success) return { ok: true, value: parsed.data };
    this.#log.warn({ subject: received.subject, error: describeError(parsed.error) }, 'malformed message dropped');
    return { ok: false };
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect') {
        if (!this.#isConnected) continue;
        this.#isConnected = false;
        this.#disconnectedAt_ms = performance.now();
        this.#log.warn({}, 'message bus lost');
        for (const listener of this.#onDisconnect) listener();
      } else if (status.type === 'reconnect') {
        this.#isConnected = true;
        this.#disconnectedAt_ms = undefined;
        this.#log.info({}, 'message bus back');
        for (const listener of this.#onConnect) listener();
      }
    }
  }
}

const GUID = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g;

/** The request that a message is said for, if any. */
function scopeOptions(): { headers?: MsgHdrs } {
  const carried = Object.entries(requestHeaders());
  if (carried.length === 0) return {};
  const said = headers();
  for (const [name, value] of carried) said.set(name, value);
  return { headers: said };
}

function scopeOf({ headers: said }: Msg): RequestScope | undefined {
  const request_id = said?.get(REQUEST_ID_HEADER);
  if (request_id === undefined || request_id === '') return undefined;
  const traceparent = said?.get(TRACE_HEADER);
  return { request_id, ...(traceparent !== undefined && traceparent !== '' && { traceparent }) };
}

/** The message's JSON; undefined for an empty or broken one, which the schema then judges. */
function jsonOf(received: Msg): unknown {
  const text = received.string();
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
