/** Requests to an endpoint that speaks HTTP/2 (gRPC): a stream each, on one session an endpoint. */
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type BackendFault, reasonOf } from './answers.ts';
import type { Backend, BackendUser } from './backend.ts';
import type { BackendOptions } from './backend-connection.ts';
import { faultOfTls, tlsOptionsFor } from './backend-tls.ts';
import type { Endpoint } from './endpoint.ts';
import { linesOf } from './http2-fields.ts';
import { readLength } from './request-head.ts';
import type { Write } from './read-pages.ts';
import { ResponseHead } from './response-head.ts';

const EMPTY = Buffer.alloc(0);

/** A session to an endpoint, shared by the requests to it. */
export class Http2Session {
  readonly session: ClientHttp2Session;
  isReady = false;
  fault: BackendFault = 'dial';
  readonly #waiting = new Set<(isReady: boolean) => void>();

  constructor(endpoint: Endpoint, options: BackendOptions) {
    const { host, port } = endpoint;
    const socket = endpoint.isTls
      ? connectTls({ ...tlsOptionsFor(endpoint, options.tls), host, port })
      : connectTcp({ host, port, noDelay: true });
    socket.setKeepAlive(true, options.probe_ms);
    const timer = setTimeout(
      () => {
        this.fault = 'dial_timeout';
        socket.destroy();
      },
      options.dial_ms + (endpoint.isTls ? options.tls_handshake_ms : 0),
    );
    socket.once('error', (error) => {
      if (endpoint.isTls && !this.isReady) this.fault = faultOfTls(error, 'tls_handshake');
    });
    this.session = connect(`${endpoint.isTls ? 'https' : 'http'}://${endpoint.address}`, {
      createConnection: () => socket,
    });
    this.session.on('error', () => undefined);
    this.session.once('connect', () => {
      clearTimeout(timer);
      this.isReady = true;
      this.fault = 'reset';
      this.#tell(true);
    });
    this.session.once('close', () => {
      clearTimeout(timer);
      if (endpoint.use.http2 === this) endpoint.use.http2 = undefined;
      this.#tell(false);
    });
    this.session.setTimeout(options.idle_ms, () => this.session.close());
  }

  get isUsable(): boolean {
    return !this.session.closed && !this.session.destroyed;
  }

  whenReady(tell: (isReady: boolean) => void): void {
    if (this.isReady) tell(this.isUsable);
    else this.#waiting.add(tell);
  }

  destroy(): void {
    this.session.destroy();
  }

  #tell(isReady: boolean): void {
    for (const tell of this.#waiting) tell(isReady);
    this.#waiting.clear();
  }
}

export class Http2Backend implements Backend {
  readonly endpoint: Endpoint;
  readonly served: number;
  readonly takesPayload = true;
  isReady = false;
  readonly #session: Http2Session;
  readonly #log: Log;
  #user: BackendUser | undefined;
  #stream: ClientHttp2Stream | undefined;
  #hasResponse = false;

  constructor(endpoint: Endpoint, user: BackendUser, options: BackendOptions) {
    this.endpoint = endpoint;
    this.#user = user;
    this.#log = options.log;
    const kept = endpoint.use.http2?.isUsable === true ? endpoint.use.http2 : undefined;
    this.served = kept?.isReady === true ? 1 : 0;
    this.#session = kept ?? (endpoint.use.http2 = new Http2Session(endpoint, options));
    // Told in a later turn: whoever makes a backend is not ready for its answer yet.
    setImmediate(() =>
      this.#session.whenReady((isReady) => {
        this.isReady = isReady;
        if (isReady) this.#user?.onBackendReady(this);
        else this.#closed(this.#session.fault, false);
      }),
    );
  }

  get unsent_bytes(): number {
    return this.#stream?.writableLength ?? 0;
  }

  sendHead(text: string, body: string, hasMore: boolean): void {
    const stream = this.#session.session.request(requestFields(text, this.endpoint.isTls), {
      endStream: body === '' && !hasMore,
    });
    this.#stream = stream;
    stream.on('headers', (headers) => this.#guard(() => this.#user?.onInterim(headOf(headers))));
    stream.on('response', (headers, flags) =>
      this.#guard(() => this.#onResponse(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0)),
    );
    stream.on('data', (bytes: Buffer) => this.#guard(() => this.#user?.onBackendBytes(bytes, bytes.length)));
    stream.on('trailers', (headers) => this.#user?.onBackendTrailers(linesOf(headers)));
    stream.on('drain', () => this.#user?.onBackendDrain());
    stream.on('end', () => this.#hasResponse && this.#closed('reset', true));
    stream.on('error', () => undefined);
    stream.on('close', () => this.#closed('reset', false));
    if (body !== '') stream.end(Buffer.from(body, 'latin1'));
  }

  sendBody(bytes: Buffer, onSent?: () => void): void {
    this.#stream?.write(bytes, onSent);
  }

  endBody(): void {
    this.#stream?.end();
  }

  expectLong(): void {
    // Every piece has memory of its own.
  }

  passOn(write: Write, bytes: Buffer): void {
    write(bytes);
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  release(): boolean {
    this.#user = undefined;
    // What is left of the stream (trailers nobody asked for) is let run out.
    this.#stream?.resume();
    return false;
  }

  destroy(): void {
    this.#user = undefined;
    if (this.#stream !== undefined && !this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /** A fault of ours costs the one request that met it, never the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log.error(
        { error: describeError(error), address: this.endpoint.address },
        'response failed for a fault of the router',
      );
      const user = this.#user;
      this.destroy();
      user?.onBackendClosed(this, 'malformed', false);
    }
  }

  #onResponse(headers: IncomingHttpHeaders & IncomingHttpStatusHeader, isEnd: boolean): void {
    this.#hasResponse = true;
    const head = headOf(headers);
    head.isBodyless = isEnd;
    if (isEnd) head.contentLength = 0;
    this.#user?.onResponse(head, { text: '', bodyAt: 0, bytes: EMPTY, byteAt: 0, end: 0 });
  }

  #closed(fault: BackendFault, isClean: boolean): void {
    const user = this.#user;
    this.#user = undefined;
    user?.onBackendClosed(this, fault, isClean);
  }
}

function headOf(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): ResponseHead {
  const head = new ResponseHead();
  head.status = headers[':status'] ?? 502;
  head.statusText = `${head.status} ${reasonOf(head.status)}`;
  head.kept = linesOf(headers);
  head.hasRequestId = headers['x-vcap-request-id'] !== undefined;
  head.setCookies = headers['set-cookie'];
  const length = headers['content-length'] ?? '';
  head.contentLength = readLength(length, 0, length.length);
  return head;
}

/** The fields of a head in HTTP/1.1 form, without what HTTP/2 has no use for. */
function requestFields(text: string, isTls: boolean): Record<string, string | string[]> {
  const [requestLine = '', ...lines] = text.split('\r\n');
  const [method = 'GET', path = '/'] = requestLine.split(' ');
  const fields: Record<string, string | string[]> = {
    ':method': method,
    ':path': path,
    ':scheme': isTls ? 'https' : 'http',
  };
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'host') fields[':authority'] = value;
    else if (name !== 'connection' && name !== 'transfer-encoding' && name !== 'upgrade') {
      const before = fields[name];
      fields[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
    }
  }
  return fields;
}
