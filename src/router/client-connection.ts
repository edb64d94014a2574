/**
 * A client's HTTP/1.x connection: one request after another, each read strictly, answered before the next is looked at. It holds
 * the bytes of the client's side; what becomes of a request is its Exchange's to decide.
 */
import type { Socket } from 'node:net';
import { describeError } from '#kernel/errors.ts';
import { type Answer, answerText, bodyOf, headTimeout, malformed, unknownFailure } from './answers.ts';
import type { ResponsePiece } from './backend.ts';
import { BackendConnection } from './backend-connection.ts';
import { BodyReader, Framing } from './body-reader.ts';
import type { Core } from './core.ts';
import { Exchange, type Front } from './exchange.ts';
import { responseHeadText } from './forward-response.ts';
import { type FoundHead, HeadGatherer } from './head-gatherer.ts';
import { remoteOf } from './remote.ts';
import type { Pieces } from './read-pages.ts';
import type { ResponseHead } from './response-head.ts';
import { type Relayed, ResponseRelay } from './response-relay.ts';
import type { Swept } from './sweeper.ts';
import { MAX_UNSENT_BYTES, Tunnel } from './tunnel.ts';

const State = { head: 0, body: 1, waiting: 2, tunnel: 3, closing: 4 } as const;
type State = (typeof State)[keyof typeof State];

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
  readonly #heads: HeadGatherer;
  readonly #relay: ResponseRelay;
  readonly #pieces: Pieces;
  #state: State = State.head;
  #exchange: Exchange | undefined;
  #tunnel: Tunnel | undefined;
  /** Bytes read and not yet looked at. */
  #held: Buffer = EMPTY;
  #bodyText = '';
  #deadline_ms: number;
  #isReading = false;
  #hasEnded = false;
  #mayContinue = true;
  #lingered_bytes = 0;

  constructor(core: Core, socket: Socket, from: { clientCert: string; pieces: Pieces }) {
    this.#core = core;
    this.#socket = socket;
    this.#pieces = from.pieces;
    this.#heads = new HeadGatherer(core.config.limits.request_head_bytes);
    this.#relay = new ResponseRelay(socket);
    this.isTls = 'encrypted' in socket;
    this.clientCert = from.clientCert;
    ({ remoteAddress: this.remoteAddress, remoteText: this.remoteText } = remoteOf(socket));
    this.#deadline_ms = core.monotonic_ms() + core.config.timeouts.request_head_s * 1000;
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
    return this.#state === State.head && !this.#heads.isMidway;
  }

  /** Ends now if idle, else after the response under way. */
  drain(): void {
    this.#mayContinue = false;
    if (this.isIdle) this.#next();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  sweep(now_ms: number): void {
    const exchange = this.#exchange;
    if (this.#state === State.tunnel) return;
    if (exchange !== undefined && now_ms >= exchange.deadline_ms) return exchange.expire();
    if (now_ms < this.#deadline_ms) return;
    if (this.#state === State.head && this.#heads.isMidway) this.#refuse(headTimeout);
    else if (this.#state === State.body && exchange !== undefined) this.#bodyBroke(headTimeout);
    else if (this.#state !== State.waiting) this.#socket.destroy();
  }

  // --- what the client says

  /** What was read from the socket, by whoever made both. */
  onBytes(bytes: Buffer): void {
    this.#guard(() => this.#onData(bytes));
    if (this.#held.length > 0 && this.#held.buffer === bytes.buffer) this.#held = this.#pieces.keep(this.#held);
  }

  /** A fault of ours costs the one request that met it, never the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#core.log.error({ error: describeError(error) }, 'request failed for a fault of the router');
      const exchange = this.#exchange;
      this.#mayContinue = false;
      this.#isReading = false;
      if (exchange === undefined || exchange.isResponding) this.#socket.destroy();
      else exchange.refuse(unknownFailure);
    }
  }

  #onData(bytes: Buffer): void {
    if (this.#state === State.tunnel) return this.#tunnel?.fromClient(this.#pieces.keep(bytes));
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
    const wasMidway = this.#heads.isMidway;
    const found = this.#heads.read(this.#held);
    if (found !== undefined) {
      this.#begin(found);
      return true;
    }
    this.#held = EMPTY;
    if (this.#heads.refusal !== undefined) this.#refuse(this.#heads.refusal);
    else if (!wasMidway) this.#waitUntil(this.#core.config.timeouts.request_head_s);
    return false;
  }

  #begin({ head, text, textAt, byteAt }: FoundHead): void {
    const request = this.#request;
    this.#bodyText = '';
    let bodyEnd = byteAt;
    if (head.isChunked) request.begin(Framing.chunked, -1, false);
    else if (head.contentLength > 0) {
      const textEnd = textAt + head.contentLength;
      if (textEnd <= text.length) {
        this.#bodyText = text.slice(textAt, textEnd);
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
    const [bytes, request] = [this.#held, this.#request];
    const at = request.read(bytes, 0, bytes.length);
    if (request.fault !== '') return this.#bodyBroke(malformed(400, request.fault));
    const { ranges, tail } = request;
    const send = (piece: Buffer, onSent?: () => void): void => backend.sendBody(piece, onSent);
    for (let r = 0; r < ranges.length; r += 2) this.#pieces.passOn(send, bytes.subarray(ranges[r], ranges[r + 1]));
    exchange.bytesIn = request.payload_bytes;
    this.#held = at === bytes.length ? EMPTY : bytes.subarray(at);
    this.#waitUntil(this.#core.config.timeouts.request_body_idle_s);
    if (request.isDone) {
      backend.endBody(tail);
      this.#pieces.expectLong(false);
      this.#state = State.waiting;
      this.#deadline_ms = Number.POSITIVE_INFINITY;
    } else if (backend.unsent_bytes > MAX_UNSENT_BYTES) this.#socket.pause();
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
    if (this.#heads.isMidway) return this.#refuse(malformed(400, 'head cut short'));
    this.#socket.end();
  }

  #onClose(): void {
    this.#core.sweeper.delete(this);
    if (this.#tunnel !== undefined) this.#tunnel.broke();
    else this.#exchange?.clientGone();
  }

  #onDrain(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.clientDrained();
    this.#exchange?.backend?.resume();
  }

  #waitUntil(seconds: number): void {
    this.#deadline_ms = this.#core.monotonic_ms() + seconds * 1000;
  }

  /** Answers what never became a request, and closes. */
  #refuse(answer: Answer): void {
    const { counters } = this.#core;
    counters.all.requests++;
    counters.rejected++;
    counters.all.responses.count(answer.status);
    this.#mayContinue = false;
    this.#writeAnswer(answer, false);
    this.#next();
  }

  // --- what the exchange has it say

  sendRequest(headText: string): void {
    const backend = this.#exchange?.backend;
    if (backend === undefined) return;
    const hasMore = !this.#request.isDone;
    backend.sendHead(headText, this.#bodyText, hasMore);
    if (!hasMore) return;
    if (backend.takesPayload) this.#request.takePayloadOnly();
    this.#state = State.body;
    this.#pieces.expectLong(true);
    this.#waitUntil(this.#core.config.timeouts.request_body_idle_s);
    this.#pumpBody();
    if (this.#hasEnded && !this.#request.isDone) this.#bodyBroke(malformed(400, 'body cut short'));
    else this.#socket.resume();
  }

  interim(head: ResponseHead): void {
    if (this.#exchange?.head.isHttp10 === true) return;
    this.#socket.write(`HTTP/1.1 ${head.statusText}\r\n${head.kept}\r\n`, 'latin1');
  }

  respond(head: ResponseHead, piece: ResponsePiece): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    if (head.status === 101) return this.#openTunnel(exchange, head, piece);
    this.#relay.isLast = !exchange.head.mayKeepAlive || !this.#mayContinue || this.#hasEnded || this.#core.isDraining;
    this.#relayed(exchange, this.#relay.begin(exchange, head, piece));
  }

  bytes(bytes: Buffer, end: number): void {
    if (this.#tunnel !== undefined) return this.#tunnel.fromBackend(bytes, end);
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#relayed(exchange, this.#relay.pass(exchange, bytes, { start: 0, end }));
  }

  trailers(lines: string): void {
    this.#relay.trailers = lines;
  }

  backendEnded(isClean: boolean): boolean {
    const exchange = this.#exchange;
    if (this.#tunnel !== undefined) {
      if (isClean) this.#tunnel.backendEnded();
      else this.#tunnel.broke();
      return true;
    }
    if (exchange === undefined || !isClean || this.#relay.end() === 'broken') return false;
    this.#relayed(exchange, 'done');
    return true;
  }

  #relayed(exchange: Exchange, relayed: Relayed): void {
    switch (relayed) {
      case 'more':
        if (this.#socket.writableLength > MAX_UNSENT_BYTES) exchange.backend?.pause();
        return;
      case 'done': {
        // A request that was not heard to its end leaves a connection on which nobody knows what comes next.
        const isHeard = this.#request.isDone;
        if (this.#relay.isLast || !isHeard) this.#mayContinue = false;
        exchange.complete(this.#relay.isQuiet && isHeard);
        this.#next();
        return;
      }
      case 'broken':
        exchange.routerError = 'endpoint_failure (malformed HTTP response)';
        exchange.clientGone();
        this.#socket.destroy();
        return;
      default:
        relayed satisfies never;
    }
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
    const mayAsk = this.#mayContinue && this.#request.isDone && !this.#hasEnded && !this.#core.isDraining;
    const isLast = !mayAsk || exchange?.head.mayKeepAlive !== true;
    if (isLast) this.#mayContinue = false;
    const connection = isLast ? 'Connection: close\r\n' : exchange.head.isHttp10 ? 'Connection: keep-alive\r\n' : '';
    this.#socket.write(answerText(answer, { requestId: exchange?.requestId, connection, isHead }), 'latin1');
  }

  /** After a response: ready for the next request, or closing. */
  #next(): void {
    this.#exchange = undefined;
    this.#bodyText = '';
    if (this.#mayContinue && !(this.#hasEnded && this.#held.length === 0)) {
      this.#state = State.head;
      this.#waitUntil(this.#core.config.timeouts.frontend_idle_s);
      if (this.#socket.isPaused()) this.#socket.resume();
      if (this.#held.length > 0) this.#readOn();
      return;
    }
    this.#state = State.closing;
    this.#held = EMPTY;
    this.#heads.clear();
    this.#waitUntil(this.#core.config.timeouts.linger_s);
    this.#socket.end();
    // Unread bytes would turn the close into a reset, which can overtake the response.
    this.#socket.resume();
    if (this.#hasEnded) this.#socket.destroySoon();
  }

  #openTunnel(exchange: Exchange, head: ResponseHead, piece: ResponsePiece): void {
    const backend = exchange.backend;
    if (!(backend instanceof BackendConnection)) return exchange.fail('upgrade');
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
    tunnel.begin(this.#held, piece);
    this.#held = EMPTY;
    if (this.#hasEnded) tunnel.clientEnded();
  }
}
