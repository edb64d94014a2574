/**
 * A client's HTTP/1.x connection: one request after another, each read strictly, answered before the next is looked at. It holds
 * the bytes of the client's side; what becomes of a request is its Exchange's to decide.
 */
import type { Socket } from 'node:net';
import { type Answer, bodyOf, headTimeout, headTooLarge, malformed, reasonOf } from './answers.ts';
import type { ResponsePiece } from './backend-connection.ts';
import { BodyReader, Framing } from './body-reader.ts';
import type { Core } from './core.ts';
import { Exchange, type Front } from './exchange.ts';
import { responseHeadText, type BodyForm } from './forward-response.ts';
import { INCOMPLETE, MALFORMED, readRequestHead, RequestHead } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';
import type { Swept } from './sweeper.ts';
import { MAX_UNSENT_BYTES, Tunnel } from './tunnel.ts';

const State = { head: 0, body: 1, waiting: 2, tunnel: 3, closing: 4 } as const;
type State = (typeof State)[keyof typeof State];

/** A first look goes no further: what is behind is most likely a body. */
const FIRST_LOOK_BYTES = 16_384;
const MAX_HELD_BYTES = 65_536;
/** What a client may still send of a request that was answered early, before it is cut off. */
const MAX_LINGER_BYTES = 1_048_576;
const EMPTY = Buffer.alloc(0);

export class ClientConnection implements Front, Swept {
  readonly remoteAddress: string;
  readonly remoteText: string;
  readonly isTls: boolean;
  readonly clientCert: string;
  readonly #core: Core;
  readonly #socket: Socket;
  readonly #request = new BodyReader();
  readonly #response = new BodyReader();
  #state: State = State.head;
  #exchange: Exchange | undefined;
  #form: BodyForm = 'none';
  #tunnel: Tunnel | undefined;
  /** Bytes read and not yet looked at. */
  #held: Buffer = EMPTY;
  /** The beginning of a head that is not complete, and up to where it was searched for its end. */
  #partial = '';
  #nextLook = 0;
  #bodyText = '';
  #deadline_ms: number;
  #isReading = false;
  #hasEnded = false;
  #mayContinue = true;
  #lingered_bytes = 0;

  constructor(core: Core, socket: Socket, clientCert: string) {
    this.#core = core;
    this.#socket = socket;
    this.isTls = 'encrypted' in socket;
    this.clientCert = clientCert;
    const address = socket.remoteAddress ?? '';
    this.remoteAddress = address.startsWith('::ffff:') ? address.slice(7) : address;
    this.remoteText = `${this.remoteAddress}:${socket.remotePort ?? 0}`;
    this.#deadline_ms = core.monotonic_ms() + core.config.timeouts.request_head_s * 1000;
    socket.on('data', (bytes: Buffer) => this.#onData(bytes));
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose());
    socket.on('drain', () => this.#onDrain());
    core.sweeper.add(this);
  }

  get protocol(): string {
    return this.#exchange?.head.isHttp10 === true ? 'HTTP/1.0' : 'HTTP/1.1';
  }

  get hasWholeBody(): boolean {
    return this.#request.isDone;
  }

  get isIdle(): boolean {
    return this.#state === State.head && this.#partial === '';
  }

  /** Ends now if idle, else after the response under way. */
  drain(): void {
    this.#mayContinue = false;
    if (this.isIdle) this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  sweep(now_ms: number): void {
    const exchange = this.#exchange;
    if (this.#state === State.tunnel) return;
    if (exchange !== undefined && now_ms >= exchange.deadline_ms) return exchange.expire();
    if (now_ms < this.#deadline_ms) return;
    if (this.#state === State.head && this.#partial !== '') this.#refuse(headTimeout);
    else if (this.#state === State.body && exchange !== undefined) this.#bodyBroke(headTimeout);
    else if (this.#state !== State.waiting) this.#socket.destroy();
  }

  // --- what the client says

  #onData(bytes: Buffer): void {
    if (this.#state === State.tunnel) return this.#tunnel?.fromClient(bytes);
    if (this.#state === State.closing) {
      this.#lingered_bytes += bytes.length;
      if (this.#lingered_bytes > MAX_LINGER_BYTES) this.#socket.destroy();
      return;
    }
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#readOn();
  }

  /** Looks at what is held as far as the state allows. Answers that come at once would otherwise call it from within itself. */
  #readOn(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    let before = -1;
    while (this.#held.length > 0 && this.#held.length !== before) {
      before = this.#held.length;
      if (this.#state === State.head) {
        if (!this.#readHead()) break;
      } else if (this.#state === State.body) this.#pumpBody();
      else break;
    }
    this.#isReading = false;
    if (this.#state === State.waiting && this.#held.length > MAX_HELD_BYTES) this.#socket.pause();
  }

  /** Returns whether a request was found. */
  #readHead(): boolean {
    const bytes = this.#held;
    const before = this.#partial.length;
    let text = this.#partial + bytes.toString('latin1', 0, Math.min(bytes.length, FIRST_LOOK_BYTES));
    if (before > 0 && text.length < this.#nextLook && !text.includes('\r\n\r\n', Math.max(0, before - 3))) {
      return this.#keepPartial(text, bytes);
    }
    let head = new RequestHead();
    let bodyAt = readRequestHead(text, 0, head);
    if (bodyAt === INCOMPLETE && bytes.length > FIRST_LOOK_BYTES) {
      text =
        this.#partial +
        bytes.toString('latin1', 0, Math.min(bytes.length, this.#core.config.limits.request_head_bytes + 1));
      head = new RequestHead();
      bodyAt = readRequestHead(text, 0, head);
    }
    if (bodyAt === INCOMPLETE) {
      // Each look at a growing head waits until it has doubled, or a trickle of bytes would be read over and over.
      this.#nextLook = text.length * 2;
      return this.#keepPartial(text, bytes);
    }
    if (bodyAt === MALFORMED) {
      this.#refuse(malformed(head.faultStatus, head.fault));
      return false;
    }
    if (bodyAt > this.#core.config.limits.request_head_bytes) {
      this.#refuse(headTooLarge);
      return false;
    }
    this.#partial = '';
    this.#begin(head, text, { textAt: bodyAt, byteAt: bodyAt - before });
    return true;
  }

  #keepPartial(text: string, bytes: Buffer): boolean {
    if (this.#partial === '')
      this.#deadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.request_head_s * 1000;
    this.#partial =
      this.#partial.length + bytes.length === text.length ? text : this.#partial + bytes.toString('latin1');
    this.#held = EMPTY;
    if (this.#partial.length > this.#core.config.limits.request_head_bytes) this.#refuse(headTooLarge);
    return false;
  }

  #begin(head: RequestHead, text: string, body: { textAt: number; byteAt: number }): void {
    const request = this.#request;
    this.#bodyText = '';
    let bodyEnd = body.byteAt;
    if (head.isChunked) request.begin(Framing.chunked, -1, false);
    else if (head.contentLength > 0) {
      const textEnd = body.textAt + head.contentLength;
      if (textEnd <= text.length) {
        this.#bodyText = text.slice(body.textAt, textEnd);
        bodyEnd += head.contentLength;
        request.begin(Framing.none, -1, false);
      } else request.begin(Framing.length, head.contentLength, false);
    } else request.begin(Framing.none, -1, false);
    this.#held = bodyEnd === this.#held.length ? EMPTY : this.#held.subarray(bodyEnd);
    this.#state = State.waiting;
    this.#deadline_ms = Number.POSITIVE_INFINITY;
    const exchange = new Exchange(this.#core, this, head);
    exchange.bytesIn = this.#bodyText.length;
    this.#exchange = exchange;
    exchange.start();
  }

  #pumpBody(): void {
    const exchange = this.#exchange;
    const backend = exchange?.backend;
    if (exchange === undefined || backend === undefined) return;
    const bytes = this.#held;
    const request = this.#request;
    const at = request.read(bytes, 0, bytes.length);
    if (request.fault !== '') return this.#bodyBroke(malformed(400, request.fault));
    const { ranges, tail } = request;
    for (let r = 0; r < ranges.length; r += 2) {
      const start = ranges[r] ?? 0;
      const end = ranges[r + 1] ?? 0;
      backend.socket.write(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    }
    exchange.bytesIn = request.payload_bytes;
    this.#held = at === bytes.length ? EMPTY : bytes.subarray(at);
    this.#deadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.request_body_idle_s * 1000;
    if (request.isDone) {
      if (tail !== '') backend.socket.write(tail, 'latin1');
      this.#state = State.waiting;
      this.#deadline_ms = Number.POSITIVE_INFINITY;
    } else if (backend.socket.writableLength > MAX_UNSENT_BYTES) this.#socket.pause();
  }

  /** The rest of the body will not come, or not as it should: the backend must not take what it has for the whole. */
  #bodyBroke(answer: Answer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    exchange.backend?.destroy();
    this.#mayContinue = false;
    if (exchange.isResponding) {
      exchange.clientGone();
      this.#socket.destroy();
    } else exchange.refuse(answer);
  }

  #onEnd(): void {
    this.#hasEnded = true;
    if (this.#state === State.tunnel) return this.#tunnel?.clientEnded();
    if (this.#state === State.waiting) return;
    if (this.#state === State.body) return this.#bodyBroke(malformed(400, 'body cut short'));
    if (this.#partial !== '') return this.#refuse(malformed(400, 'head cut short'));
    this.#socket.end();
  }

  #onClose(): void {
    this.#core.sweeper.delete(this);
    if (this.#tunnel !== undefined) this.#tunnel.broke();
    else this.#exchange?.clientGone();
  }

  #onDrain(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.clientDrained();
    this.#exchange?.backend?.socket.resume();
  }

  /** Answers what never became a request, and closes. */
  #refuse(answer: Answer): void {
    this.#core.counters.requests++;
    this.#core.counters.rejected++;
    this.#core.counters.countResponse(answer.status, '');
    this.#mayContinue = false;
    this.#writeAnswer(answer, false);
    this.#next();
  }

  // --- what the exchange has it say

  sendRequest(headText: string): void {
    const backend = this.#exchange?.backend;
    if (backend === undefined) return;
    if (this.#request.isDone) {
      backend.socket.write(headText + this.#bodyText, 'latin1');
      return;
    }
    backend.socket.cork();
    backend.socket.write(headText, 'latin1');
    this.#state = State.body;
    this.#deadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.request_body_idle_s * 1000;
    this.#readOn();
    backend.socket.uncork();
    if (this.#hasEnded && this.#state === State.body) this.#bodyBroke(malformed(400, 'body cut short'));
    else this.#socket.resume();
  }

  interim(head: ResponseHead): void {
    if (this.#exchange?.head.isHttp10 === true) return;
    this.#socket.write(`HTTP/1.1 ${head.statusText}\r\n${head.kept}\r\n`, 'latin1');
  }

  respond(head: ResponseHead, piece: ResponsePiece): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const request = exchange.head;
    if (head.status === 101) return this.#openTunnel(exchange, head, piece);
    const hasBody = request.method !== 'HEAD' && head.status !== 204 && head.status !== 304;
    const isLast = !request.mayKeepAlive || !this.#mayContinue || this.#hasEnded || this.#core.isDraining;
    if (!hasBody || (head.contentLength === 0 && !head.isChunked)) {
      this.#form = 'none';
      this.#response.begin(Framing.none, -1, false);
      this.#socket.write(responseHeadText(exchange, head, hasBody ? 'as_is' : 'none', isLast), 'latin1');
      return this.#completeResponse(isLast, head.mayKeepAlive && piece.byteAt === piece.end);
    }
    this.#mayReuseBackend = head.mayKeepAlive;
    const available = piece.end - piece.byteAt;
    if (head.contentLength > 0 && head.contentLength <= available) {
      this.#form = 'as_is';
      const bodyEnd = piece.bodyAt + head.contentLength;
      const body =
        bodyEnd === piece.text.length ? piece.text.slice(piece.bodyAt) : piece.text.slice(piece.bodyAt, bodyEnd);
      this.#socket.write(responseHeadText(exchange, head, 'as_is', isLast) + body, 'latin1');
      exchange.bytesOut = head.contentLength;
      return this.#completeResponse(isLast, head.mayKeepAlive && head.contentLength === available);
    }
    this.#beginBody(exchange, head, isLast);
    this.#isLast = isLast || this.#form === 'until_close';
    this.#socket.cork();
    this.#socket.write(responseHeadText(exchange, head, this.#form, this.#isLast), 'latin1');
    if (available > 0) this.#passBody(exchange, piece.bytes, piece.byteAt, piece.end);
    this.#socket.uncork();
  }

  #mayReuseBackend = false;
  #isLast = false;

  #beginBody(exchange: Exchange, head: ResponseHead, _isLast: boolean): void {
    const isHttp10 = exchange.head.isHttp10;
    if (head.isChunked) {
      this.#form = isHttp10 ? 'until_close' : 'as_is';
      this.#response.begin(Framing.chunked, -1, isHttp10);
    } else if (head.contentLength > 0) {
      this.#form = 'as_is';
      this.#response.begin(Framing.length, head.contentLength, false);
    } else {
      this.#form = isHttp10 ? 'until_close' : 'chunk';
      this.#response.begin(Framing.untilClose, -1, false);
    }
  }

  bytes(bytes: Buffer, end: number): void {
    if (this.#tunnel !== undefined) return this.#tunnel.fromBackend(bytes, end);
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#passBody(exchange, bytes, 0, end);
  }

  #passBody(exchange: Exchange, bytes: Buffer, start: number, end: number): void {
    const response = this.#response;
    const socket = this.#socket;
    const at = response.read(bytes, start, end);
    if (response.fault !== '') {
      exchange.backend?.destroy();
      exchange.routerError = 'endpoint_failure (malformed HTTP response)';
      exchange.clientGone();
      this.#socket.destroy();
      return;
    }
    const { ranges } = response;
    for (let r = 0; r < ranges.length; r += 2) {
      const from = ranges[r] ?? 0;
      const to = ranges[r + 1] ?? 0;
      // The read buffer is used again by the next read, the socket may hold on to what it is given.
      const copy = Buffer.from(bytes.subarray(from, to));
      if (this.#form === 'chunk') {
        socket.cork();
        socket.write(`${(to - from).toString(16)}\r\n`, 'latin1');
        socket.write(copy);
        socket.write('\r\n', 'latin1');
        socket.uncork();
      } else socket.write(copy);
    }
    exchange.bytesOut = response.payload_bytes;
    if (response.isDone) {
      if (response.tail !== '') socket.write(response.tail, 'latin1');
      this.#completeResponse(this.#isLast, this.#mayReuseBackend && at === end);
    } else if (socket.writableLength > MAX_UNSENT_BYTES) exchange.backend?.socket.pause();
  }

  backendEnded(isClean: boolean): boolean {
    const exchange = this.#exchange;
    if (this.#tunnel !== undefined) {
      if (isClean) this.#tunnel.backendEnded();
      else this.#tunnel.broke();
      return true;
    }
    if (exchange === undefined || !isClean || this.#response.framing !== Framing.untilClose) return false;
    if (this.#form === 'chunk') this.#socket.write('0\r\n\r\n', 'latin1');
    this.#completeResponse(this.#isLast, false);
    return true;
  }

  backendDrained(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.backendDrained();
    this.#socket.resume();
  }

  answer(answer: Answer): void {
    const exchange = this.#exchange;
    this.#writeAnswer(answer, exchange?.head.method === 'HEAD');
    if (exchange !== undefined) exchange.bytesOut = bodyOf(answer).length;
    this.#next();
  }

  cut(): void {
    this.#exchange = undefined;
    this.#socket.destroy();
  }

  #writeAnswer(answer: Answer, isHead: boolean): void {
    const exchange = this.#exchange;
    const isLast =
      !this.#mayContinue ||
      !this.#request.isDone ||
      exchange === undefined ||
      !exchange.head.mayKeepAlive ||
      this.#hasEnded ||
      this.#core.isDraining;
    if (isLast) this.#mayContinue = false;
    const body = bodyOf(answer);
    const error = answer.routerError === undefined ? '' : `X-Cf-RouterError: ${answer.routerError}\r\n`;
    const requestId = exchange === undefined ? '' : `X-Vcap-Request-Id: ${exchange.requestId}\r\n`;
    const connection = isLast
      ? 'Connection: close\r\n'
      : exchange?.head.isHttp10 === true
        ? 'Connection: keep-alive\r\n'
        : '';
    this.#socket.write(
      `HTTP/1.1 ${answer.status} ${reasonOf(answer.status)}\r\n${answer.fields ?? ''}Content-Length: ${Buffer.byteLength(body)}\r\n` +
        `Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n${error}${requestId}${connection}\r\n${isHead ? '' : body}`,
      'latin1',
    );
  }

  #completeResponse(isLast: boolean, mayReuseBackend: boolean): void {
    const exchange = this.#exchange;
    // A request that was not heard to its end leaves a connection on which nobody knows what comes next.
    const isHeard = this.#request.isDone;
    if (isLast || !isHeard) this.#mayContinue = false;
    exchange?.complete(mayReuseBackend && isHeard);
    this.#next();
  }

  /** After a response: ready for the next request, or closing. */
  #next(): void {
    this.#exchange = undefined;
    this.#bodyText = '';
    if (this.#mayContinue && !(this.#hasEnded && this.#held.length === 0)) {
      this.#state = State.head;
      this.#deadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.frontend_idle_s * 1000;
      if (this.#socket.isPaused()) this.#socket.resume();
      if (this.#held.length > 0) this.#readOn();
      return;
    }
    this.#state = State.closing;
    this.#held = EMPTY;
    this.#partial = '';
    this.#deadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.linger_s * 1000;
    this.#socket.end();
    // Unread bytes would turn the close into a reset, which can overtake the response.
    this.#socket.resume();
    if (this.#hasEnded) this.#socket.destroySoon();
  }

  #openTunnel(exchange: Exchange, head: ResponseHead, piece: ResponsePiece): void {
    const backend = exchange.backend;
    if (backend === undefined) return;
    backend.isTunnel = true;
    this.#core.counters.websocketUpgrades++;
    this.#state = State.tunnel;
    const tunnel = new Tunnel(this.#socket, backend.socket, () => {
      exchange.bytesIn = tunnel.bytesIn;
      exchange.bytesOut = tunnel.bytesOut;
      exchange.complete(false);
      this.#socket.destroySoon();
    });
    this.#tunnel = tunnel;
    this.#socket.write(responseHeadText(exchange, head, 'tunnel', false), 'latin1');
    if (piece.byteAt < piece.end) tunnel.fromBackend(piece.bytes.subarray(piece.byteAt), piece.end - piece.byteAt);
    const held = this.#held;
    this.#held = EMPTY;
    if (held.length > 0) tunnel.fromClient(held);
    this.#socket.resume();
    if (this.#hasEnded) tunnel.clientEnded();
  }
}
