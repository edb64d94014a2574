import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type BlockList, connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { guardedLookup, isBlocked } from '#http/guarded-lookup.ts';
import { AppError } from '#kernel/errors.ts';
import type { DrainTarget } from './drain-list.ts';
import { countOctets } from './syslog-format.ts';

/** The drain's URL is none that we drain to. */
export class DrainInvalid extends AppError {
  constructor(why: string) {
    super('drain_invalid', `the syslog drain is invalid: ${why}`);
  }
}

export class DrainUnreachable extends AppError {
  constructor(why: string, options?: ErrorOptions) {
    super('drain_unreachable', `the syslog drain is not reachable: ${why}`, options);
  }
}

/** A way to a drain. `send` resolves when the messages were handed over; after an error the connection is of no more use. */
export interface DrainConnection extends Disposable {
  /** Messages are handed over together up to this size; at least one. */
  readonly batch_bytes: number;
  send(messages: readonly Buffer[]): Promise<void>;
  /** Gives up what is under way. */
  abort(): void;
}

export interface ConnectOptions {
  target: DrainTarget;
  /** Networks that no drain may lead to. */
  blocked: BlockList;
  timeout_ms: number;
}

/** Errors: DrainInvalid, DrainUnreachable. */
export async function connectDrain(options: ConnectOptions): Promise<DrainConnection> {
  const url = drainUrl(options.target.url);
  if (url.protocol === 'https:' || url.protocol === 'http:') return httpConnection(url, options);
  return await SyslogConnection.open(url, options);
}

/** Errors: DrainInvalid. */
export function drainUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new DrainInvalid('it is no URL');
  }
  if (!['syslog:', 'syslog-tls:', 'https:', 'http:'].includes(url.protocol)) {
    throw new DrainInvalid(`its scheme is ${url.protocol.replace(':', '')}, not syslog, syslog-tls or https`);
  }
  if (url.hostname === '') throw new DrainInvalid('it names no host');
  return url;
}

/** One TCP or TLS connection, messages with their octets counted. */
class SyslogConnection implements DrainConnection {
  readonly batch_bytes = 64 * 1024;
  readonly #socket: Socket;
  readonly #timeout_ms: number;
  #failure: Error | undefined;

  private constructor(socket: Socket, timeout_ms: number) {
    this.#socket = socket;
    this.#timeout_ms = timeout_ms;
    socket.on('error', (error) => (this.#failure ??= error));
    socket.on('close', () => (this.#failure ??= new Error('it closed the connection')));
    // A receiver that has had enough says so by ending its side; what it says otherwise is of no interest.
    socket.on('end', () => socket.destroy());
    socket.resume();
  }

  static async open(url: URL, { target, blocked, timeout_ms }: ConnectOptions): Promise<SyslogConnection> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const isTls = url.protocol === 'syslog-tls:';
    const port = Number(url.port || (isTls ? 6514 : 514));
    refuseBlocked(host, blocked);
    const at = { host, port, lookup: guardedLookup(blocked, refusal) };
    const socket = isTls
      ? connectTls({ ...at, ...tlsOf(target), ...(isIP(host) === 0 && { servername: host }) })
      : connectTcp(at);
    try {
      await settled(socket, isTls ? 'secureConnect' : 'connect', timeout_ms);
    } catch (error) {
      socket.destroy();
      throw new DrainUnreachable(`${host}:${port}`, { cause: error });
    }
    socket.setKeepAlive(true, 30_000);
    return new SyslogConnection(socket, timeout_ms);
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    if (this.#failure) throw new DrainUnreachable('the connection is lost', { cause: this.#failure });
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string, cause?: unknown): void => {
        clearTimeout(timer);
        this.#socket.destroy();
        reject(new DrainUnreachable(why, { cause }));
      };
      const timer = setTimeout(() => fail('it takes no more'), this.#timeout_ms);
      const closed = (): void => fail('the connection is lost', this.#failure);
      this.#socket.once('close', closed);
      this.#socket.write(Buffer.concat(messages.map(countOctets)), (error) => {
        this.#socket.off('close', closed);
        if (error) return fail('the connection is lost', error);
        clearTimeout(timer);
        return resolve();
      });
    });
  }

  abort(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    // What was handed over still goes out; a receiver that never takes it must not hold us.
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), 1_000);
    this.#socket.once('close', () => clearTimeout(timer));
  }
}

/** One POST for each message, over connections that are kept. */
function httpConnection(url: URL, { target, blocked, timeout_ms }: ConnectOptions): DrainConnection {
  refuseBlocked(url.hostname.replace(/^\[|\]$/g, ''), blocked);
  const isTls = url.protocol === 'https:';
  const agentOptions = { keepAlive: true, maxSockets: 1 };
  const agent = isTls ? new HttpsAgent({ ...agentOptions, ...tlsOf(target) }) : new HttpAgent(agentOptions);
  const post = async (message: Buffer): Promise<void> =>
    await new Promise((resolve, reject) => {
      const request = (isTls ? httpsRequest : httpRequest)(
        url,
        {
          method: 'POST',
          agent,
          lookup: guardedLookup(blocked, refusal),
          headers: { 'Content-Type': 'text/plain', 'Content-Length': message.length },
          signal: AbortSignal.timeout(timeout_ms),
        },
        (response) => {
          response.resume();
          response.once('error', reject);
          response.once('end', () => {
            const status = response.statusCode ?? 0;
            if (status >= 200 && status < 300) resolve();
            else reject(new DrainUnreachable(`it answered ${status}`));
          });
        },
      );
      request.once('error', (error) => reject(new DrainUnreachable(url.host, { cause: error })));
      request.end(message);
    });
  return {
    // One by one, or those before a failure would come again.
    batch_bytes: 1,
    send: async (messages) => {
      for (const message of messages) await post(message);
    },
    abort: () => agent.destroy(),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function tlsOf({ cert, key, ca }: DrainTarget): { cert?: string; key?: string; ca?: string } {
  return { ...(cert !== '' && { cert }), ...(key !== '' && { key }), ...(ca !== '' && { ca }) };
}

function refuseBlocked(address: string, blocked: BlockList): void {
  if (isBlocked(address, blocked)) throw refusal(address);
}

const refusal = (address: string): DrainInvalid =>
  new DrainInvalid(`it leads to ${address}, where drains may not lead`);

async function settled(socket: Socket, event: string, timeout_ms: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no connection within ${timeout_ms} ms`)), timeout_ms);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.off('error', reject);
      resolve();
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
