import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket as Connection } from 'node:net';
import { describeError, systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { readFrames, toFrame } from './frames.ts';
import { answer, NotAQuestion, PLAIN_UDP_SIZE, RCODE, readQuestion, refusal, TYPE_A } from './message.ts';
import { lookUp, shuffled, type Zone } from './names.ts';
import { askUpstream, type Upstreams } from './upstream.ts';

const HOST = '127.0.0.1';
const TCP_MAX_BYTES = 65_535;
/** Ports of the host and memory are everybody's: so many questions of one container, and of all, may wait for the world. */
const MAX_WAITING_EACH = 64;
const MAX_WAITING = 1024;
const TRIES = 20;
const IDLE_MS = 10_000;

export interface DnsOptions {
  zone: () => Zone;
  upstreams: () => Upstreams;
  log: Log;
}

/**
 * The name server of all containers. It listens on the host's loopback, where the firewall leads what they send to port 53 of their
 * gateways; nobody else is led there. It keeps nothing: what the world says is the host's resolvers' to keep.
 */
export class DnsServer implements AsyncDisposable {
  readonly port: number;
  readonly #options: DnsOptions;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #connections = new Set<Connection>();
  readonly #waiting = new Map<string, number>();
  #waitingInAll = 0;

  private constructor(udp: Socket, tcp: Server, options: DnsOptions) {
    this.#options = options;
    this.#udp = udp;
    this.#tcp = tcp;
    this.port = udp.address().port;
    udp.on('message', (message, from) => void this.#answerDatagram(message, from));
    udp.on('error', (error) => options.log.error({ error: describeError(error) }, 'name server failed'));
    tcp.on('connection', (socket) => void this.#serve(socket));
  }

  /** On the port that it had before, so that what containers have open goes on; on any other when that one is taken. */
  static async open(options: DnsOptions & { port: number | undefined }): Promise<DnsServer> {
    // The kernel chooses a port that is free for one protocol, and may be taken for the other.
    for (const port of [options.port ?? 0, ...Array.from({ length: TRIES }, () => 0)]) {
      const opened = await bind(port);
      if (opened) return new DnsServer(opened.udp, opened.tcp, options);
    }
    throw new Error('no port for the name server of containers');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')];
    this.#udp.close();
    this.#tcp.close();
    for (const socket of this.#connections) socket.destroy();
    await Promise.all(closed);
  }

  async #answerDatagram(message: Buffer, from: RemoteInfo): Promise<void> {
    try {
      const reply = await this.#reply(message, { protocol: 'udp', who: from.address });
      if (!reply) return;
      this.#udp.send(reply, from.port, from.address);
    } catch (error) {
      this.#options.log.debug({ error: describeError(error) }, 'answer not sent');
    }
  }

  async #serve(socket: Connection): Promise<void> {
    this.#connections.add(socket);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    try {
      for await (const message of readFrames(socket)) {
        const reply = await this.#reply(message, { protocol: 'tcp', who: socket.remoteAddress ?? '' });
        if (!reply) break;
        socket.write(toFrame(reply));
      }
    } catch {
      // It is the asker's to ask again.
    } finally {
      this.#connections.delete(socket);
      socket.destroy();
    }
  }

  async #reply(message: Buffer, from: { protocol: 'udp' | 'tcp'; who: string }): Promise<Buffer | undefined> {
    try {
      const question = readQuestion(message);
      const max_bytes = from.protocol === 'tcp' ? TCP_MAX_BYTES : (question.udp_size ?? PLAIN_UDP_SIZE);
      const found = lookUp(question.name, this.#options.zone());
      if (found === 'not_ours') {
        const reply = await this.#forward(message, from);
        return reply ?? answer(question, { rcode: RCODE.server_failure, addresses: [], max_bytes });
      }
      if (found === 'no_such_name') return answer(question, { rcode: RCODE.no_such_name, addresses: [], max_bytes });
      const addresses = question.type === TYPE_A ? shuffled(found.addresses) : [];
      return answer(question, { rcode: RCODE.ok, addresses, max_bytes });
    } catch (error) {
      if (!(error instanceof NotAQuestion)) throw error;
      return refusal(message, error.rcode);
    }
  }

  async #forward(message: Buffer, from: { protocol: 'udp' | 'tcp'; who: string }): Promise<Buffer | undefined> {
    const waiting = this.#waiting.get(from.who) ?? 0;
    if (waiting >= MAX_WAITING_EACH || this.#waitingInAll >= MAX_WAITING) return undefined;
    this.#waiting.set(from.who, waiting + 1);
    this.#waitingInAll++;
    try {
      return await askUpstream(message, from.protocol, this.#options.upstreams());
    } finally {
      this.#waitingInAll--;
      const left = (this.#waiting.get(from.who) ?? 1) - 1;
      if (left > 0) this.#waiting.set(from.who, left);
      else this.#waiting.delete(from.who);
    }
  }
}

/** Both on one port; undefined when it is taken. */
async function bind(port: number): Promise<{ udp: Socket; tcp: Server } | undefined> {
  const udp = createSocket('udp4');
  const tcp = createServer();
  try {
    const bound = once(udp, 'listening');
    udp.bind(port, HOST);
    await bound;
    const listening = once(tcp, 'listening');
    tcp.listen(udp.address().port, HOST);
    await listening;
    return { udp, tcp };
  } catch (error) {
    udp.close();
    if (systemErrorCode(error) !== 'EADDRINUSE') throw error;
    return undefined;
  }
}
