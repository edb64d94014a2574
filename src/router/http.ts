import { createServer, type Server, type Socket } from 'node:net';
import { AppError } from '#kernel/errors.ts';
import { ClientConnection } from './client-connection.ts';
import type { Core } from './core.ts';
import { intoPages, OWN_PIECES, ReadPages } from './read-pages.ts';

const KEEP_ALIVE_PROBE_MS = 60_000;

/** The plain HTTP/1.x listener and the connections that came by it. */
export class HttpListener implements AsyncDisposable {
  readonly #server: Server;
  readonly #connections = new Set<ClientConnection>();

  private constructor(core: Core) {
    this.#server = createServer(
      {
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
        pauseOnConnect: true,
      },
      (accepted: Socket) => this.#onConnection(core, accepted),
    );
    this.#server.maxConnections = core.config.limits.max_connections;
  }

  /** Errors: AppError `listen_failed` with the system's reason. */
  static async start(core: Core, at: { host: string; port: number; reuse_port: boolean }): Promise<HttpListener> {
    const listener = new HttpListener(core);
    await new Promise<void>((resolve, reject) => {
      listener.#server.once('error', (error) =>
        reject(new AppError('listen_failed', `cannot listen on ${at.host}:${at.port}`, { cause: error })),
      );
      listener.#server.listen({ host: at.host, port: at.port, reusePort: at.reuse_port, backlog: 4096 }, resolve);
    });
    return listener;
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Takes no new connections; lets those that are there finish what they are at. */
  stopAccepting(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.drain();
  }

  #onConnection(core: Core, accepted: Socket): void {
    const pages = new ReadPages();
    const onBytes = (bytes: Buffer): void => connection.onBytes(bytes);
    const fast = intoPages(accepted, pages, onBytes);
    const socket = fast ?? accepted;
    const connection = new ClientConnection(core, socket, {
      clientCert: '',
      pieces: fast === undefined ? OWN_PIECES : pages,
    });
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
    if (fast === undefined) accepted.on('data', onBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.listening ? this.#server.close(() => resolve()) : resolve(),
    );
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }
}
