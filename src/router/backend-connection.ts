import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { BackendFault } from './answers.ts';
import type { Backend, BackendUser } from './backend.ts';
import { type BackendTls, faultOfTls, tlsOptionsFor } from './backend-tls.ts';
import type { Endpoint } from './endpoint.ts';
import { OWN_PIECES, type Pieces, ReadPages, type Write } from './read-pages.ts';
import { INCOMPLETE, MALFORMED } from './request-head.ts';
import { readResponseHead, ResponseHead } from './response-head.ts';
import type { Sweeper, Swept } from './sweeper.ts';

export interface BackendOptions {
  sweeper: Sweeper;
  dial_ms: number;
  tls_handshake_ms: number;
  idle_ms: number;
  probe_ms: number;
  response_head_bytes: number;
  tls: BackendTls;
  now_ms: () => number;
  log: Log;
}

/** A connection to an endpoint, for one request after another; never for two at once. */
export class BackendConnection implements Backend, Swept {
  readonly takesPayload = false;
  readonly endpoint: Endpoint;
  readonly socket: Socket;
  isReady = false;
  served = 0;
  /** Set for upgraded connections: bytes are not HTTP any more. */
  isTunnel = false;
  readonly #options: BackendOptions;
  readonly #pieces: Pieces;
  #user: BackendUser | undefined;
  #isInHead = true;
  #partial = '';
  #deadline_ms: number;
  #fault: BackendFault = 'dial';
  #isOver = false;
  #hasEnded = false;

  constructor(endpoint: Endpoint, user: BackendUser, options: BackendOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    this.#user = user;
    this.#deadline_ms = options.now_ms() + options.dial_ms;
    const pages = endpoint.isTls ? undefined : new ReadPages();
    this.#pieces = pages ?? OWN_PIECES;
    this.socket = pages === undefined ? this.#dialTls() : this.#dialPlain(pages);
    this.socket.on('end', () => this.#onEnd());
    this.socket.on('error', (error) => this.#onError(error));
    this.socket.on('close', () => this.#onClose());
    this.socket.on('drain', () => this.#user?.onBackendDrain());
    options.sweeper.add(this);
  }

  /** Hands the connection, which was quiet, to the next request. */
  take(user: BackendUser): void {
    this.#user = user;
    this.#deadline_ms = Number.POSITIVE_INFINITY;
    this.#fault = 'reset';
    this.#isInHead = true;
  }

  release(): boolean {
    this.#user = undefined;
    this.served++;
    this.#pieces.expectLong(false);
    if (this.#isOver || this.#hasEnded || this.#partial !== '' || this.socket.writableLength > 0) return false;
    this.#deadline_ms = this.#options.now_ms() + this.#options.idle_ms;
    return true;
  }

  get isUsable(): boolean {
    return !this.#isOver && !this.#hasEnded && this.socket.writable;
  }

  get unsent_bytes(): number {
    return this.socket.writableLength;
  }

  sendHead(text: string, body: string, hasMore: boolean): void {
    // What follows at once goes out together with the head.
    if (hasMore) {
      this.socket.cork();
      process.nextTick(() => this.socket.uncork());
    }
    this.socket.write(text + body, 'latin1');
  }

  sendBody(bytes: Buffer, onSent?: () => void): void {
    this.socket.write(bytes, onSent);
  }

  endBody(tail: string): void {
    if (tail !== '') this.socket.write(tail, 'latin1');
  }

  expectLong(): void {
    this.#pieces.expectLong(true);
  }

  passOn(write: Write, bytes: Buffer): void {
    this.#pieces.passOn(write, bytes);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.#user = undefined;
    this.#isOver = true;
    this.#options.sweeper.delete(this);
    this.socket.destroy();
  }

  sweep(now_ms: number): void {
    if (now_ms < this.#deadline_ms) return;
    if (this.#user !== undefined && !this.isReady && this.#fault === 'dial') this.#fault = 'dial_timeout';
    this.socket.destroy();
  }

  #dialPlain(pages: ReadPages): Socket {
    const { host, port } = this.endpoint;
    const socket = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: this.#options.probe_ms,
      allowHalfOpen: true,
      autoSelectFamily: false,
      onread: {
        buffer: pages.next,
        callback: (count, bytes) => {
          this.#onBytes(bytes as Buffer, count);
          return true;
        },
      },
    });
    socket.once('connect', () => this.#onReady());
    return socket;
  }

  #dialTls(): TLSSocket {
    const socket = connectTls({
      ...tlsOptionsFor(this.endpoint, this.#options.tls),
      host: this.endpoint.host,
      port: this.endpoint.port,
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, this.#options.probe_ms);
    socket.once('connect', () => {
      this.#fault = 'tls_handshake';
      this.#deadline_ms = this.#options.now_ms() + this.#options.tls_handshake_ms;
    });
    socket.once('secureConnect', () => this.#onReady());
    socket.on('data', (bytes: Buffer) => this.#onBytes(bytes, bytes.length));
    return socket;
  }

  #onReady(): void {
    this.isReady = true;
    this.#fault = 'reset';
    this.#deadline_ms = Number.POSITIVE_INFINITY;
    const user = this.#user;
    if (user === undefined) this.socket.destroy();
    else user.onBackendReady(this);
  }

  #onBytes(bytes: Buffer, end: number): void {
    const user = this.#user;
    if (user === undefined) {
      // Nobody asked: an idle connection that speaks is not to be trusted with a request.
      this.destroy();
      return;
    }
    try {
      if (this.#isInHead && !this.isTunnel) this.#readHead(bytes, end, user);
      else user.onBackendBytes(bytes, end);
    } catch (error) {
      // A fault of ours costs the one request that met it, never the process.
      this.#options.log.error(
        { error: describeError(error), address: this.endpoint.address },
        'response failed for a fault of the router',
      );
      this.#breakOff('malformed', user);
    }
  }

  #readHead(bytes: Buffer, end: number, user: BackendUser): void {
    const before = this.#partial.length;
    const text = before === 0 ? bytes.toString('latin1', 0, end) : this.#partial + bytes.toString('latin1', 0, end);
    let from = 0;
    for (;;) {
      const head = new ResponseHead();
      const bodyAt = readResponseHead(text, from, head);
      if (bodyAt === INCOMPLETE) {
        this.#partial = text.slice(from);
        if (this.#partial.length > this.#options.response_head_bytes) this.#breakOff('malformed', user);
        return;
      }
      if (bodyAt === MALFORMED) {
        this.#breakOff('malformed', user);
        return;
      }
      if (head.status >= 200 || head.status === 101) {
        this.#partial = '';
        this.#isInHead = false;
        user.onResponse(head, { text, bodyAt, bytes, byteAt: bodyAt - before, end });
        return;
      }
      user.onInterim(head);
      if (this.#user !== user) return;
      from = bodyAt;
      if (from === text.length) {
        this.#partial = '';
        return;
      }
    }
  }

  #breakOff(fault: BackendFault, user: BackendUser): void {
    this.destroy();
    user.onBackendClosed(this, fault, false);
  }

  #onEnd(): void {
    this.#hasEnded = true;
    const user = this.#user;
    if (user === undefined) this.socket.destroy();
    else if (!this.isTunnel) {
      this.destroy();
      user.onBackendClosed(this, this.#fault, true);
    } else {
      user.onBackendClosed(this, 'reset', true);
    }
  }

  #onError(error: Error): void {
    if (!this.endpoint.isTls) return;
    const fault = faultOfTls(error, this.#fault);
    // In TLS 1.3 an endpoint says only after the handshake that it wants a certificate.
    if (!this.isReady || fault === 'tls_client_cert_required') this.#fault = fault;
  }

  #onClose(): void {
    this.#isOver = true;
    this.#options.sweeper.delete(this);
    const { idle } = this.endpoint.use;
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
    const user = this.#user;
    this.#user = undefined;
    user?.onBackendClosed(this, this.#fault, false);
  }
}
