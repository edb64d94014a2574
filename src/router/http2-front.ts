/** A request that came over HTTP/2: read as the HTTP/1.1 head that it would have been, by the same strict reader. */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type Answer, bodyOf, malformed } from './answers.ts';
import type { ResponsePiece } from './backend.ts';
import { BodyReader, Framing } from './body-reader.ts';
import type { Core } from './core.ts';
import { Exchange, type Front } from './exchange.ts';
import { addedLines } from './forward-response.ts';
import { fieldsOf, linesOf } from './http2-fields.ts';
import { readRequestHead, RequestHead } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';
import type { Swept } from './sweeper.ts';
import { MAX_UNSENT_BYTES } from './tunnel.ts';

export interface Http2Peer {
  remoteAddress: string;
  remoteText: string;
  clientCert: string;
}

export class Http2Front implements Front, Swept {
  readonly remoteAddress: string;
  readonly remoteText: string;
  readonly clientCert: string;
  readonly protocol = 'HTTP/2.0';
  readonly isTls = true;
  readonly #core: Core;
  readonly #stream: ServerHttp2Stream;
  readonly #exchange: Exchange;
  readonly #response = new BodyReader();
  #hasWholeBody: boolean;
  #isChunked = false;
  #trailers = '';
  #mayKeepBackend = false;
  #bodyDeadline_ms = Number.POSITIVE_INFINITY;

  constructor(
    core: Core,
    stream: ServerHttp2Stream,
    options: { peer: Http2Peer; headers: IncomingHttpHeaders; isEnd: boolean },
  ) {
    const { peer, headers, isEnd } = options;
    this.#core = core;
    this.#stream = stream;
    this.remoteAddress = peer.remoteAddress;
    this.remoteText = peer.remoteText;
    this.clientCert = peer.clientCert;
    this.#hasWholeBody = isEnd;
    const head = new RequestHead();
    const isRead = readHead(head, headers, isEnd);
    this.#exchange = new Exchange(core, this, head);
    stream.on('error', () => undefined);
    stream.on('close', () => this.#onClose());
    stream.on('drain', () => this.#exchange.backend?.resume());
    core.sweeper.add(this);
    this.#isChunked = head.isChunked;
    if (isRead) this.#exchange.start();
    else this.#exchange.reject(malformed(head.faultStatus, head.fault));
  }

  get hasWholeBody(): boolean {
    return this.#hasWholeBody;
  }

  sweep(now_ms: number): void {
    if (now_ms >= this.#exchange.deadline_ms) this.#exchange.expire();
    else if (now_ms >= this.#bodyDeadline_ms) this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  sendRequest(headText: string): void {
    const backend = this.#exchange.backend;
    if (backend === undefined) return;
    backend.sendHead(headText, '', !this.#hasWholeBody);
    if (this.#hasWholeBody) return;
    const isFramed = this.#isChunked && !backend.takesPayload;
    this.#waitForBody();
    this.#stream.on('data', (bytes: Buffer) => {
      this.#waitForBody();
      this.#exchange.bytesIn += bytes.length;
      if (bytes.length === 0) return;
      if (isFramed)
        backend.sendBody(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]));
      else backend.sendBody(bytes);
      if (backend.unsent_bytes > MAX_UNSENT_BYTES) this.#stream.pause();
    });
    this.#stream.on('end', () => {
      this.#hasWholeBody = true;
      this.#bodyDeadline_ms = Number.POSITIVE_INFINITY;
      if (!this.#exchange.isOver) backend.endBody(isFramed ? '0\r\n\r\n' : '');
    });
  }

  interim(head: ResponseHead): void {
    if (head.status !== 101 && !this.#stream.headersSent)
      this.#stream.additionalHeaders({ ...fieldsOf(head.kept), ':status': head.status });
  }

  respond(head: ResponseHead, piece: ResponsePiece): void {
    const exchange = this.#exchange;
    const { contentLength } = head;
    const hasBody =
      exchange.head.method !== 'HEAD' &&
      head.status !== 204 &&
      head.status !== 304 &&
      !head.isBodyless &&
      (contentLength !== 0 || head.isChunked);
    if (head.isChunked) this.#response.begin(Framing.chunked, -1, true);
    else if (contentLength >= 0) this.#response.begin(Framing.length, contentLength, true);
    else this.#response.begin(Framing.untilClose, -1, true);
    const fields = { ...fieldsOf(head.kept + addedLines(exchange, head)), ':status': head.status };
    if (head.status === 204) delete (fields as Record<string, unknown>)['content-length'];
    this.#stream.respond(fields, { endStream: !hasBody, waitForTrailers: hasBody });
    if (!hasBody) return exchange.complete(head.mayKeepAlive && piece.byteAt === piece.end && this.#hasWholeBody);
    this.#stream.on('wantTrailers', () =>
      this.#trailers === '' ? this.#stream.close() : this.#stream.sendTrailers(fieldsOf(this.#trailers)),
    );
    this.#mayKeepBackend = head.mayKeepAlive;
    if (piece.byteAt < piece.end) this.#pass(piece.bytes, piece.byteAt, piece.end);
  }

  bytes(bytes: Buffer, end: number): void {
    this.#pass(bytes, 0, end);
  }

  trailers(lines: string): void {
    this.#trailers = lines;
  }

  backendEnded(isClean: boolean): boolean {
    if (!isClean || this.#response.framing !== Framing.untilClose) return false;
    this.#stream.end();
    this.#exchange.complete(false);
    return true;
  }

  backendDrained(): void {
    this.#stream.resume();
  }

  answer(answer: Answer): void {
    // Nobody is left to hear it when the client reset the stream.
    if (this.#stream.headersSent || this.#stream.destroyed) return;
    const isHead = this.#exchange.head.method === 'HEAD';
    const body = bodyOf(answer);
    const lines = `${answer.fields ?? ''}${answer.routerError === undefined ? '' : `X-Cf-RouterError: ${answer.routerError}\r\n`}`;
    this.#stream.respond(
      {
        ...fieldsOf(lines),
        ':status': answer.status,
        'content-type': 'text/plain; charset=utf-8',
        'content-length': Buffer.byteLength(body),
        'x-content-type-options': 'nosniff',
      },
      { endStream: isHead },
    );
    if (!isHead) this.#stream.end(body);
  }

  cut(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  #pass(bytes: Buffer, start: number, end: number): void {
    const response = this.#response;
    const exchange = this.#exchange;
    const at = response.read(bytes, start, end);
    if (response.fault !== '') {
      exchange.routerError = 'endpoint_failure (malformed HTTP response)';
      exchange.clientGone();
      return this.cut();
    }
    const { ranges } = response;
    for (let r = 0; r < ranges.length; r += 2)
      this.#stream.write(Buffer.from(bytes.subarray(ranges[r], ranges[r + 1])));
    exchange.bytesOut = response.payload_bytes;
    if (response.isDone) {
      this.#trailers = response.trailers;
      this.#stream.end();
      exchange.complete(this.#mayKeepBackend && at === end && this.#hasWholeBody);
    } else if (this.#stream.writableLength > MAX_UNSENT_BYTES) exchange.backend?.pause();
  }

  #waitForBody(): void {
    this.#bodyDeadline_ms = this.#core.monotonic_ms() + this.#core.config.timeouts.request_body_idle_s * 1000;
  }

  #onClose(): void {
    this.#core.sweeper.delete(this);
    this.#exchange.clientGone();
  }
}

function readHead(head: RequestHead, headers: IncomingHttpHeaders, isEnd: boolean): boolean {
  const host = headers[':authority'] ?? headers.host;
  const { host: _host, ...rest } = headers;
  const framing = isEnd || headers['content-length'] !== undefined ? '' : 'Transfer-Encoding: chunked\r\n';
  const hostLine = host === undefined ? '' : `Host: ${host}\r\n`;
  // Should the two names of the host disagree, nobody can tell which one a backend would believe.
  if (headers[':authority'] !== undefined && _host !== undefined && _host !== headers[':authority']) {
    head.fault = 'authority and Host disagree';
    return false;
  }
  const text = `${headers[':method']} ${headers[':path']} HTTP/1.1\r\n${hostLine}${linesOf(rest)}${framing}\r\n`;
  return readRequestHead(text, 0, head) === text.length;
}
