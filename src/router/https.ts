import { performServerHandshake, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { AppError } from '#kernel/errors.ts';
import type { Certificates } from './certificates.ts';
import { ClientConnection } from './client-connection.ts';
import type { RouterConfig } from './config.ts';
import type { Core } from './core.ts';
import { Http2Front } from './http2-front.ts';
import { OWN_PIECES } from './read-pages.ts';
import { remoteOf } from './remote.ts';

const MAX_STREAMS = 256;
/** Streams that a client opens and resets at once cost us work and it nothing: above this pace it is shut out. */
const MAX_RESETS_PER_S = 200;

/** The HTTPS listener: certificates by SNI, HTTP/2 or HTTP/1.1 by ALPN. */
export class HttpsListener implements AsyncDisposable {
  readonly #server: Server;
  readonly #core: Core;
  readonly #connections = new Set<ClientConnection>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<TLSSocket>();

  private constructor(core: Core, config: NonNullable<RouterConfig['tls']>, certificates: Certificates) {
    this.#core = core;
    this.#server = createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      handshakeTimeout: core.config.timeouts.tls_handshake_s * 1000,
      minVersion: config.min_version,
      ALPNProtocols: config.has_http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
      SNICallback: (name, done) => done(null, certificates.contextFor(name)),
      ...certificates.first,
      ...(config.client_ca_file !== undefined && { requestCert: true, rejectUnauthorized: false }),
    });
    certificates.onChange = () => this.#server.setSecureContext(certificates.first);
    this.#server.maxConnections = core.config.limits.max_connections;
    this.#server.on('secureConnection', (socket) => this.#onConnection(socket));
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Errors: AppError `listen_failed`. */
  static async start(
    core: Core,
    config: NonNullable<RouterConfig['tls']>,
    certificates: Certificates,
  ): Promise<HttpsListener> {
    const listener = new HttpsListener(core, config, certificates);
    await new Promise<void>((resolve, reject) => {
      listener.#server.once('error', (error) =>
        reject(new AppError('listen_failed', `cannot listen on ${core.config.host}:${config.port}`, { cause: error })),
      );
      listener.#server.listen(
        { host: core.config.host, port: config.port, reusePort: core.config.reuse_port, backlog: 4096 },
        resolve,
      );
    });
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  stopAccepting(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.drain();
    for (const session of this.#sessions) session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.listening ? this.#server.close(() => resolve()) : resolve(),
    );
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #onConnection(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    const clientCert = socket.authorized ? (socket.getPeerX509Certificate()?.raw.toString('base64') ?? '') : '';
    if (socket.alpnProtocol === 'h2') return this.#onSession(socket, clientCert);
    const connection = new ClientConnection(this.#core, socket, { clientCert, pieces: OWN_PIECES });
    socket.on('data', (bytes: Buffer) => connection.onBytes(bytes));
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
  }

  #onSession(socket: TLSSocket, clientCert: string): void {
    const session = performServerHandshake(socket, {
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: this.#core.config.limits.request_head_bytes },
      streamResetBurst: MAX_RESETS_PER_S * 5,
      streamResetRate: MAX_RESETS_PER_S,
    });
    const peer = { ...remoteOf(socket), clientCert };
    this.#sessions.add(session);
    session.on('close', () => this.#sessions.delete(session));
    session.on('error', () => socket.destroy());
    // Half an HTTP/2 connection is none: without this the session waits for as long as it may idle.
    socket.on('end', () => session.destroy());
    session.setTimeout(this.#core.config.timeouts.frontend_idle_s * 1000, () => session.close());
    session.on('stream', (stream, headers, flags) => {
      // The lowest flag of a HEADERS frame says that no body follows.
      void new Http2Front(this.#core, stream, { peer, headers, isEnd: (flags & 1) === 1 });
    });
  }
}
